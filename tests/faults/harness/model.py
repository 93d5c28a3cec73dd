"""The reference model: what must be true of a play's calls, by what clients and provider saw.

It knows nothing of the service's code. From the provider's log it computes what each attempt must
have been charged, from the clients' log what they were promised, and says every difference from the
books. A difference that time may still mend (a settle that waits, a lease that runs) is no less
listed; the caller looks again until its patience is over.
"""

from collections.abc import Iterator, Mapping
from uuid import UUID

from harness.billing_log import Told
from harness.books import Attempt, Books
from harness.history import Call, Play
from harness.prices import Cost, cost_of, is_refused, model_of, price_of, was_lost_unanswered
from harness.provider import call_id_in
from harness.servers import is_running
from omni_grpc.simulator import CallRecord


def differences(play: Play, books: Books, *, late: bool = False) -> list[str]:
    """Everything in which the books differ from what was seen; empty if they are right.

    A call whose server was killed may still be open; `late` says that its time is over.
    """
    found = list(play.findings)
    found += _calls(play, books, late)
    found += _billing(play, books)
    found += _totals(play, books)
    return found


# --- chats --------------------------------------------------------------------------------------
def _calls(play: Play, books: Books, late: bool) -> Iterator[str]:
    attempts = books.calls()
    explained: set[UUID] = set()
    for call in play.calls.values():
        records = play.records(call.name)
        ids = {UUID(call_id_in(record)) for record in records}
        if len(ids) > 1 and call.seen.ask.request_id is None:
            yield f"{call.name}: the provider was called under {len(ids)} ids"
        if call.seen.call_id:
            ids.add(UUID(call.seen.call_id))
        explained |= ids
        for call_id in ids:
            mine = [record for record in records if call_id_in(record) == str(call_id)]
            yield from _attempts(call, mine, attempts.get(call_id, {}), late)
        yield from _promises(call, records, ids, attempts)
    for call_id in attempts.keys() - explained:
        for attempt in attempts[call_id].values():
            if attempt.held is not None and is_running(attempt.held.process):
                yield f"call {call_id} is held by a living server, and no client knows of it"
            if late and attempt.kinds == "O":
                yield f"call {call_id} is still open, though its server is long gone"
            if attempt.kinds not in ("V", "O", "U"):
                yield f"call {call_id} was charged ({attempt.kinds}), and no provider called for it"


def _attempts(
    call: Call, records: list[CallRecord], attempts: Mapping[int, Attempt], late: bool
) -> Iterator[str]:
    """Each generated attempt has its one end, and each end its attempt."""
    left = dict(attempts)
    for record in records:
        number = next((n for n in sorted(left) if left[n].model in ("", model_of(record))), None)
        if number is None:
            if not (is_refused(record) or was_lost_unanswered(record)):
                yield f"{call.name}: the books have nothing of {words_of(record)} generated"
            continue
        fault = _end_of(call, record, left.pop(number), late)
        if fault:
            yield f"{call.name} attempt {number}: {fault}"
    for number, attempt in left.items():
        if attempt.kinds in ("O", "U"):
            if call.seen.life.alive or (late and attempt.kinds == "O"):
                yield f"{call.name} attempt {number}: held ({attempt.kinds}) but never dispatched"
        elif attempt.kinds != "V":
            yield f"{call.name} attempt {number}: charged ({attempt.kinds}) but never dispatched"


def _end_of(call: Call, record: CallRecord, attempt: Attempt, late: bool) -> str:
    """What is wrong with the end of one attempt that reached the provider; empty if nothing."""
    if record.outcome == "running":
        return "the provider is still busy with it"
    killed, kinds = not call.seen.life.alive, attempt.kinds
    if kinds in ("O", "U"):
        return _end_not_known(call, kinds, late) if killed else f"its server lives, books: {kinds}"
    if is_refused(record) or was_lost_unanswered(record):
        return "" if kinds == "V" else f"nothing was generated ({words_of(record)}), books: {kinds}"
    if kinds not in ("S", "VS", "SS", "WS"):
        return f"the provider generated {words_of(record)}, books: {kinds}"
    cost, held = cost_of(record), attempt.postings[0].held
    if killed and (attempt.used is None or attempt.used.estimated):
        # What a killed server knew when it died: what its client had read of it, at least.
        read = min(1, call.seen.tokens)
        cost = Cost(price_of(record.prompt_tokens, 0, read, model_of(record)), cost.most)
    if not cost.covers(attempt.cost):
        return _difference(attempt, record, cost)
    if attempt.charged != min(attempt.cost, held) and kinds == "S":
        return f"charged {attempt.charged} of {attempt.cost} with {held} held"
    return ""


def _end_not_known(call: Call, kinds: str, late: bool) -> str:
    """A killed server's call may stay unresolved only if its journal cannot know what came."""
    if late and kinds == "O":
        return "still open, though its server is long gone"
    if late and call.seen.ask.stream and call.seen.tokens:
        return f"unresolved, though its client had read {call.seen.tokens} tokens"
    return ""


def _difference(attempt: Attempt, record: CallRecord, cost: Cost) -> str:
    expected = cost.most if cost.exact else f"{cost.least} to {cost.most}"
    return f"costs {attempt.cost} in the books, {expected} by the provider ({words_of(record)})"


def words_of(record: CallRecord) -> str:
    return (
        f"{record.prompt_tokens}+{record.completion_tokens} tokens of {model_of(record)}, "
        f"{record.outcome}, status {record.status}"
    )


def _promises(
    call: Call,
    records: list[CallRecord],
    ids: set[UUID],
    attempts: Mapping[UUID, Mapping[int, Attempt]],
) -> Iterator[str]:
    """What the client was told is so."""
    seen = call.seen
    mine = [attempt for call_id in ids for attempt in attempts.get(call_id, {}).values()]
    charged = sum(attempt.charged for attempt in mine)
    if seen.status == "running":
        yield f"{call.name}: its client still waits"
    if seen.status == "hung":
        yield f"{call.name}: its client was left without an answer or an error"
    if seen.status == "answered":
        if seen.cost != charged:
            yield f"{call.name}: the client was told a cost of {seen.cost}, the books say {charged}"
        last = records[-1] if records else None
        if last is None:
            yield f"{call.name}: answered without a provider"
        elif last.outcome != "finished":
            yield f"{call.name}: answered as whole, but the provider's answer was {last.outcome}"
        elif seen.tokens != last.completion_tokens:
            sent = last.completion_tokens
            yield f"{call.name}: the client read {seen.tokens} tokens of {sent} as the whole answer"
    if seen.charged is not None and seen.charged != charged:
        yield f"{call.name}: the error told a charge of {seen.charged}, the books say {charged}"
    if seen.status == "refused" and not seen.reason:
        yield f"{call.name}: refused without a reason: {seen.message}"
    if seen.status == "refused" and seen.reason == "INTERNAL":
        yield f"{call.name}: an internal error: {seen.message}"
    if seen.status == "lost" and seen.life.alive:
        yield f"{call.name}: its living server broke the connection: {seen.message}"


# --- billing calls ------------------------------------------------------------------------------
def _billing(play: Play, books: Books) -> Iterator[str]:
    for (_, request_id), told in play.billing.by_request().items():
        answers = {(each.wanted.content, each.answer) for each in told if each.answer is not None}
        if len(answers) > 1:
            yield f"request {request_id} was answered in {len(answers)} ways: {answers}"
        for each in told:
            if each.reason == "INTERNAL":
                yield f"request {request_id}: an internal error: {each.message}"
        if told[0].wanted.verb == "grant" and told[0].wanted.account == play.tenant.slug:
            yield from _grant(request_id, told, books)
    yield from _team_holds(play, books)


def _grant(request_id: str, told: list[Told], books: Books) -> Iterator[str]:
    found = [row for row in books.postings if row.kind == "G" and row.reference == request_id]
    answered = next((each for each in told if each.answer is not None), None)
    if answered is not None:
        if [row.amount for row in found] != [answered.wanted.amount]:
            amounts = [row.amount for row in found]
            yield f"grant {request_id} of {answered.wanted.amount} stands as {amounts}"
    elif len(found) > any(each.is_unknown for each in told):
        yield f"grant {request_id} stands {len(found)} times, and was never granted"


def _team_holds(play: Play, books: Books) -> Iterator[str]:
    """Holds of the API: at most one end each, which is the one that was told."""
    ends: dict[str, set[tuple[object, ...]]] = {}
    for verb in ("settle", "release"):
        for told in play.billing.answered(verb):
            ends.setdefault(told.wanted.hold, set()).add((verb, told.wanted.amount))
    by_name = {f"accounts/{play.tenant.slug}/holds/{row.id}": row for row in books.postings}
    open_names = {f"accounts/{play.tenant.slug}/holds/{row.id}" for row in books.holds}
    for told in play.billing.answered("hold"):
        assert told.answer is not None
        name = str(told.answer[0])
        end = ends.get(name, set())
        if len(end) > 1:
            yield f"hold {name} ended in {len(end)} ways: {end}"
        row = by_name.get(name)
        if end and row is None:
            yield f"hold {name} was told to be {end}, and has no posting"
        if row is None and name not in open_names:
            yield f"hold {name} is gone"
        if row is not None and end:
            verb, amount = next(iter(end))
            expected = ("S", amount) if verb == "settle" else ("V", 0)
            if (row.kind, row.amount) != expected:
                yield f"hold {name} was told to be {end}, and is {row.kind} of {row.amount}"


# --- sums ---------------------------------------------------------------------------------------
def _totals(play: Play, books: Books) -> Iterator[str]:
    granted = sum(row.amount for row in books.postings if row.kind == "G")
    paid = sum(row.amount for row in books.postings if row.kind in "SE")
    refunded = sum(row.amount for row in books.postings if row.kind == "R")
    if books.posted != granted + refunded - paid:
        yield f"the balance is {books.posted}, its entries give {granted + refunded - paid}"
    if books.posted - books.pending < 0:
        yield f"the balance of {books.posted} does not cover the {books.pending} held"
    expected = {
        told.wanted.request_id
        for told in play.billing.answered("grant")
        if told.wanted.account == play.tenant.slug
    }
    stray = [r.reference for r in books.postings if r.kind == "G" and r.reference not in expected]
    unknown = {told.wanted.request_id for told in play.billing.told if told.is_unknown}
    if set(stray) - unknown:
        yield f"grants that nobody was told of: {stray}"
