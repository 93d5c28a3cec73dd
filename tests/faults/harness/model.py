"""The reference model of chats: what must be true of them, by what clients and provider saw.

It knows nothing of the service's code. From the provider's log it computes what each attempt must
have been charged, from the clients' log what they were promised, and says every difference from the
books. A difference that time may still mend (a settle that waits, a lease that runs) is no less
listed; the caller looks again until its patience is over.
"""

from collections.abc import Iterator, Mapping
from uuid import UUID

from harness.billing_model import billing_differences, sum_differences
from harness.books import Attempt, Books
from harness.play import Call, Play
from harness.prices import (
    Cost,
    cost_of,
    is_refused,
    may_be_unknown,
    model_of,
    price_of,
    was_lost_unanswered,
)
from harness.provider import call_id_in
from omni_grpc.simulator import CallRecord

Attempts = Mapping[int, Attempt]


def differences(play: Play, books: list[Books], *, late: bool = False) -> list[str]:
    """Everything in which the tenants' books differ from what was seen; empty if they are right.

    A call whose server was killed may still be open; `late` says that its time is over.
    """
    found = list(play.findings)
    for tenant, own in enumerate(books):
        found += _calls(play, own, tenant, late)
        found += billing_differences(play, own, play.tenants[tenant])
        found += sum_differences(play, own, play.tenants[tenant])
    return found


def _calls(play: Play, books: Books, tenant: int, late: bool) -> Iterator[str]:
    attempts = books.calls()
    explained: set[UUID] = set(play.expected)
    groups: dict[str, list[Call]] = {}
    for call in play.calls.values():
        if call.tenant == tenant:
            groups.setdefault(call.seen.ask.mark, []).append(call)
    for mark, calls in groups.items():
        group = _Group(play, calls, play.records(mark), attempts, late)
        explained |= group.ids
        yield from group.differences()
    for call_id in attempts.keys() - explained:
        for attempt in attempts[call_id].values():
            if attempt.kinds in ("O", "U") and play.lives(call_id):
                yield f"call {call_id} is held by a living server, and no client knows of it"
            if late and attempt.kinds == "O":
                yield f"call {call_id} is still open, though its server is long gone"
            if attempt.kinds not in ("V", "O", "U"):
                yield f"call {call_id} was charged ({attempt.kinds}), and no provider called for it"
    for call_id, expected in play.expected.items():
        for attempt in attempts.get(call_id, {}).values():
            if (attempt.kinds, attempt.charged) != (expected.kinds, expected.charged):
                yield f"hold of {call_id}: {attempt.kinds} of {attempt.charged}, not {expected}"


class _Group:
    """The calls of one prompt: one call, or one with a request id and its repeats."""

    def __init__(
        self,
        play: Play,
        calls: list[Call],
        records: list[CallRecord],
        attempts: Mapping[UUID, Attempts],
        late: bool,
    ) -> None:
        self._play = play
        self._calls = calls
        self._records = records
        self._attempts = attempts
        self._late = late
        self._name = calls[0].name
        told = {call.seen.call_id for call in calls} | {call_id_in(record) for record in records}
        self.ids = {UUID(text) for text in told if text}

    def differences(self) -> Iterator[str]:
        generated = {call_id_in(record) for record in self._records}
        if len(generated) > 1 and self._calls[0].seen.ask.request_id is None:
            yield f"{self._name}: the provider was called under {len(generated)} ids"
        for call_id in sorted(self.ids):
            yield from self._ends(call_id)
        for call in self._calls:
            yield from self._promises(call)
        yield from self._once()

    # --- each attempt has its one end, and each end its attempt -----------------------------------
    def _ends(self, call_id: UUID) -> Iterator[str]:
        left = dict(self._attempts.get(call_id, {}))
        for record in self._records:
            if call_id_in(record) != str(call_id):
                continue
            number = next((n for n in sorted(left) if left[n].model in ("", model_of(record))), -1)
            if number < 0:
                if not (is_refused(record) or was_lost_unanswered(record)):
                    words = words_of(record)
                    yield f"{self._name}: the books have nothing of {words} generated"
                continue
            fault = self._end_of(call_id, record, left.pop(number))
            if fault:
                yield f"{self._name} attempt {number}: {fault}"
        for number, attempt in left.items():
            about = f"{self._name} attempt {number} was never dispatched, and is"
            if attempt.kinds in ("O", "U"):
                if self._play.lives(call_id) or (self._late and attempt.kinds == "O"):
                    yield f"{about} held ({attempt.kinds})"
            elif attempt.kinds != "V":
                yield f"{about} charged ({attempt.kinds})"

    def _end_of(self, call_id: UUID, record: CallRecord, attempt: Attempt) -> str:
        """What is wrong with the end of one attempt that reached the provider; or nothing."""
        if record.outcome == "running":
            return "the provider is still busy with it"
        lives, kinds = self._play.lives(call_id), attempt.kinds
        if kinds in ("O", "U"):
            if kinds == "U" and may_be_unknown(record):
                return ""
            return f"its server lives, books: {kinds}" if lives else self._not_known(call_id, kinds)
        if is_refused(record) or was_lost_unanswered(record):
            words = words_of(record)
            return "" if kinds == "V" else f"nothing was generated ({words}), books: {kinds}"
        if kinds not in ("S", "VS", "SS", "WS"):
            return f"the provider generated {words_of(record)}, books: {kinds}"
        prices, held = self._play.world.prices(attempt), attempt.postings[0].held
        cost = cost_of(record, prices)
        prompt = price_of(record.prompt_tokens, 0, 0, prices)
        if attempt.used is not None and attempt.used.estimated:
            if not lives:
                # What a killed server knew when it died: what its client had read, at least.
                least = price_of(record.prompt_tokens, 0, min(1, self._read(call_id)), prices)
                cost = Cost(0 if self._is_damaged(call_id) else least, cost.most)
            elif not record.stream and not self._was_answered(call_id):
                # A plain answer that came in the moment in which it was left: nobody read it.
                cost = Cost(min(prompt, cost.least), cost.most)
        if not cost.covers(attempt.cost):
            return _difference(attempt, record, cost)
        if attempt.charged != min(attempt.cost, held) and kinds == "S":
            return f"charged {attempt.charged} of {attempt.cost} with {held} held"
        return ""

    def _not_known(self, call_id: UUID, kinds: str) -> str:
        """A killed server's call may stay unresolved only if its journal cannot know what came."""
        if not self._late:
            return ""
        if kinds == "O":
            return "still open, though its server is long gone"
        read = self._read(call_id)
        if read and not self._is_damaged(call_id):
            return f"unresolved, though its client had read {read} tokens"
        return ""

    def _read(self, call_id: UUID) -> int:
        """How many tokens of a streamed answer any client read."""
        seen = [call.seen for call in self._calls if call.seen.call_id == str(call_id)]
        return max((one.tokens for one in seen if one.ask.stream), default=0)

    def _was_answered(self, call_id: UUID) -> bool:
        told = [call.seen for call in self._calls if call.seen.call_id == str(call_id)]
        return any(seen.status == "answered" for seen in told)

    def _is_damaged(self, call_id: UUID) -> bool:
        return self._play.owners.get(call_id) in self._play.damaged

    # --- what the clients were told is so ---------------------------------------------------------
    def _promises(self, call: Call) -> Iterator[str]:
        seen, name = call.seen, call.name
        call_id = UUID(seen.call_id) if seen.call_id else None
        mine = self._attempts.get(call_id, {}) if call_id else {}
        charged = sum(attempt.charged for attempt in mine.values())
        is_exact = call_id is None or not self._is_damaged(call_id)
        if seen.status == "running":
            yield f"{name}: its client still waits"
        if seen.status == "hung":
            yield f"{name}: its client was left without an answer or an error"
        if seen.status == "answered":
            if seen.cost != charged and is_exact:
                yield f"{name}: the client was told a cost of {seen.cost}, the books say {charged}"
            yield from self._answer(call)
        # A repeat is told at once that nobody knows yet what the first call comes to.
        is_told = bool(seen.charged) or seen.reason != "INTERRUPTED"
        if seen.charged is not None and seen.charged != charged and is_exact and is_told:
            yield f"{name}: the error told a charge of {seen.charged}, the books say {charged}"
        if seen.status == "refused" and seen.reason in ("", "INTERNAL"):
            yield f"{name}: failed without a reason or by a fault of ours: {seen.message}"
        if seen.status == "lost" and seen.life.alive:
            yield f"{name}: its living server broke the connection: {seen.message}"
        version = self._play.pinned.get(name)
        for attempt in mine.values() if version is not None else ():
            if attempt.used is not None and attempt.used.price_version != version:
                yield f"{name}: charged at price {attempt.used.price_version}, pinned was {version}"

    def _answer(self, call: Call) -> Iterator[str]:
        """An answer that was told as whole is the provider's whole answer."""
        seen = call.seen
        mine = [record for record in self._records if call_id_in(record) == seen.call_id]
        if not mine:
            yield f"{call.name}: answered without a provider"
        elif mine[-1].outcome != "finished":
            yield f"{call.name}: answered as whole, the provider's answer was {mine[-1].outcome}"
        elif seen.tokens != mine[-1].completion_tokens:
            sent = mine[-1].completion_tokens
            yield f"{call.name}: the client read {seen.tokens} tokens of {sent} as the whole answer"

    def _once(self) -> Iterator[str]:
        """A request id never pays twice."""
        if self._calls[0].seen.ask.request_id is None:
            return
        paid = [
            call_id
            for call_id in self.ids
            for attempt in self._attempts.get(call_id, {}).values()
            if attempt.charged or attempt.kinds == "U"
        ]
        if len(set(paid)) > 1:
            yield f"{self._name}: one request id was paid {len(set(paid))} times"


def words_of(record: CallRecord) -> str:
    return (
        f"{record.prompt_tokens}+{record.completion_tokens} tokens of {model_of(record)}, "
        f"{record.outcome}, status {record.status}"
    )


def _difference(attempt: Attempt, record: CallRecord, cost: Cost) -> str:
    expected = cost.most if cost.exact else f"{cost.least} to {cost.most}"
    return f"costs {attempt.cost} in the books, {expected} by the provider ({words_of(record)})"
