"""Steps of billing calls: each delivered several times, to several replicas, in any order."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import tuple_row

from harness.billing_log import Wanted
from harness.history import Step
from harness.play import Play

SPREAD_SECONDS = 0.004
"""Between two deliveries of one request: about what one takes, so that they overlap."""

_HOLD_OF_CALL = """
SELECT h.id FROM hold h WHERE h.wallet = %s AND h.origin = 'r' AND h.state = 'O'
 ORDER BY h.create_time
"""


def wanted_of(play: Play, step: Any, amount: int) -> Wanted | None:
    """The request of a delivery; None if what it refers to was never made."""
    tenant = play.tenants[step.tenant]
    is_operators = step.verb in ("grant", "refund")
    hold, of = "", ""
    if step.verb in ("settle", "release"):
        made = [
            told
            for told in play.billing.answered("hold")
            if told.wanted.request_id == play.mark(step.of)
        ]
        if not made or made[0].answer is None:
            return None
        hold = str(made[0].answer[0])
    if step.verb == "refund":
        call = play.calls.get(step.of)
        if call is None or not call.seen.call_id:
            return None
        of = call.seen.call_id
        amount = max(1, (call.seen.cost or 0) * amount // 100)
    return Wanted(
        verb=step.verb,
        request_id=play.mark(step.name),
        account=tenant.slug,
        amount=amount,
        hold=hold,
        of=of,
        ttl_s=step.ttl_s,
        caller="" if is_operators else tenant.slug,
    )


@dataclass(frozen=True, kw_only=True)
class Deliver(Step):
    """One billing request, delivered once to each of `replicas`, one shortly after the other.

    `of` names the hold of a settle or release, or the call of a refund, whose `amount` is a
    percentage of its cost. `others` are the amounts of requests that reuse its id.
    """

    verb: str
    name: str
    amount: int = 0
    of: str = ""
    ttl_s: int = 900
    tenant: int = 0
    replicas: tuple[int, ...] = (0,)
    others: tuple[int, ...] = ()

    async def run(self, play: Play) -> None:
        wanted = wanted_of(play, self, self.amount)
        if wanted is None:
            return
        play.kept.setdefault("wanted", {})[self.name] = wanted
        requests = [wanted] * len(self.replicas)
        for place, amount in enumerate(self.others):
            requests.insert(1 + 2 * place, replace(wanted, amount=amount))
        sending = []
        for place, request in enumerate(requests):
            server = play.server(self.replicas[place % len(self.replicas)])
            sending.append(asyncio.create_task(play.bill(request, server)))
            await asyncio.sleep(SPREAD_SECONDS)
        await asyncio.gather(*sending)
        play.overlap("delivered several times", len(self.replicas) > 1)
        play.overlap("reused with other content", len(self.others))


@dataclass(frozen=True, kw_only=True)
class DeliverAgain(Step):
    """An earlier request comes late once more."""

    name: str
    replica: int = 0

    async def run(self, play: Play) -> None:
        wanted = play.kept.get("wanted", {}).get(self.name)
        if wanted is not None:
            await play.bill(wanted, play.server(self.replica))
            play.overlap("delivered late")


@dataclass(frozen=True, kw_only=True)
class Race(Step):
    """Several earlier or new requests at the same moment, to different replicas."""

    deliveries: tuple[Deliver, ...]

    async def run(self, play: Play) -> None:
        await asyncio.gather(*(delivery.run(play) for delivery in self.deliveries))
        play.overlap("raced")


@dataclass(frozen=True, kw_only=True)
class AimAtChat(Step):
    """Another hand tries to end the holds of running chats: it must find none of them."""

    name: str
    verb: str = "release"
    replica: int = 0
    by_another: bool = False

    async def run(self, play: Play) -> None:
        rows = await play.world.database.fetch_all(
            _HOLD_OF_CALL, [play.tenant.account_id], row=tuple_row
        )
        caller = play.tenants[-1] if self.by_another else play.tenant
        for number, (hold_id,) in enumerate(rows):
            wanted = Wanted(
                verb=self.verb,
                request_id=play.mark(f"{self.name}-{number}"),
                account=play.tenant.slug,
                hold=f"accounts/{play.tenant.slug}/holds/{hold_id}",
                caller=caller.slug,
            )
            told = await play.bill(wanted, play.server(self.replica))
            play.overlap(f"aimed {self.verb} at a running chat")
            if told.answer is not None or told.reason not in ("NOT_FOUND", "LEDGER_UNAVAILABLE"):
                play.findings.append(f"{self.verb} of a running chat's hold: {told}")


@dataclass(frozen=True, kw_only=True)
class BadAmounts(Step):
    """Amounts that no request may have, and the largest that it may."""

    name: str
    replica: int = 0

    async def run(self, play: Play) -> None:
        for number, (verb, amount) in enumerate(
            (verb, amount)
            for verb in ("grant", "hold")
            for amount in (0, -1, 10**15 + 1, 2**63 - 1, -(2**63))
        ):
            wanted = Wanted(
                verb=verb,
                request_id=play.mark(f"{self.name}-{number}"),
                account=play.tenant.slug,
                amount=amount,
                caller="" if verb == "grant" else play.tenant.slug,
            )
            told = await play.bill(wanted, play.server(self.replica))
            play.overlap("refused an impossible amount")
            if told.reason != "FIELD_INVALID":
                play.findings.append(f"{verb} of {amount} was not refused: {told}")
