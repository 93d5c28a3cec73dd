"""Steps that speak to the ledger past the servers, beside their traffic, with outcomes to check."""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import tuple_row

from harness.history import Step
from harness.own_lanes import (
    chat_end,
    chat_hold,
    grant,
    own_lane,
    team_end,
    team_hold,
)
from harness.play import Expected, Play
from harness.points import lock_wallet, unlock
from omni_grpc.billing.operations import Code, Final, HoldOp, Leg
from omni_grpc.core.errors import OmniError
from omni_grpc.core.ids import AccountId, call_id_of

OUTCOME_SECONDS_MAX = 20.0
NOBODY = 7_777_777_777
"""An account that does not exist."""


async def _window(play: Play, limit: int | None) -> int:
    """A budget in the tenant's organisation, whose only window has an account of the same id.

    It is that of no key, so that no call of a server meets it.
    """
    row = await play.world.database.fetch_one(
        "WITH a AS ("
        "  INSERT INTO account (id, kind, org_id, debit_limit)"
        "  VALUES (nextval('account_id'), 2, %s, %s) RETURNING id, org_id),"
        " b AS ("
        "  INSERT INTO budget (id, org_id, subject_kind, subject_id, slug, unit, amount, period)"
        "  SELECT id, org_id, 'k', 0, 'budget-' || id, 'nanousd', 0, 'total' FROM a)"
        " INSERT INTO budget_window (budget_id, start_time, end_time, account_id)"
        " SELECT id, '-infinity', 'infinity', id FROM a RETURNING account_id",
        [play.tenant.org_id, limit],
        row=tuple_row,
    )
    assert row is not None
    return int(row[0])


async def _outcome(future: "asyncio.Future[Any]") -> Any:
    async with asyncio.timeout(OUTCOME_SECONDS_MAX):
        return await future


@dataclass(frozen=True, kw_only=True)
class BudgetRace(Step):
    """Two lanes race for a budget with room for `room` of `holds`; the wallet has room for all."""

    holds: int
    room: int
    amount: int

    async def run(self, play: Play) -> None:
        limit = self.room * self.amount + self.amount // 2
        window = await _window(play, limit)
        legs = (Leg(AccountId(window), self.amount, self.amount),)
        ops = [team_hold(play.tenant, self.amount, legs=legs) for _ in range(self.holds)]
        async with own_lane(play.world) as first, own_lane(play.world) as second:
            lanes = (first, second)
            waiting = [lanes[number % 2].hold(op) for number, op in enumerate(ops)]
            codes = [(await _outcome(each)).code for each in waiting]
            passed = codes.count(Code.DONE)
            if passed != self.room or codes.count(Code.SHORT) != self.holds - self.room:
                play.findings.append(f"{passed} of {self.holds} passed, room was for {self.room}")
            play.overlap("wallet had room, the budget had not", self.holds - passed)
            granted = [op for op, code in zip(ops, codes, strict=True) if code is Code.DONE]
            ends = [
                first.apply(team_end(play.tenant, op, Final.SETTLE if number % 2 else Final.VOID,
                                     self.amount if number % 2 else 0))
                for number, op in enumerate(granted)
            ]  # fmt: skip
            for end in ends:
                await _outcome(end)
        spent = sum(self.amount for number in range(len(granted)) if number % 2)
        await _check_window(play, window, spent, 0)


async def _check_window(play: Play, window: int, posted: int, pending: int) -> None:
    row = await play.world.database.fetch_one(
        "SELECT debits_posted, debits_pending FROM account WHERE id = %s", [window], row=tuple_row
    )
    if row != (posted, pending):
        play.findings.append(f"budget {window} has {row}, expected {(posted, pending)}")


@dataclass(frozen=True, kw_only=True)
class BudgetStory(Step):
    """Holds and ends in a window whose limit changes and which is replaced, told step by step."""

    seed: int
    steps: int

    async def run(self, play: Play) -> None:
        rng = random.Random(self.seed)
        limit = 1_000
        window = await _window(play, limit)
        posted = {window: 0}
        pending = {window: 0}
        open_holds: list[tuple[HoldOp, int, int]] = []
        async with own_lane(play.world) as lane:
            for _ in range(self.steps):
                verb = rng.choice(("hold", "hold", "hold", "end", "end", "limit", "window"))
                if verb == "limit":
                    limit = rng.randrange(2_000)
                    play.overlap("limit lowered below pending", limit < pending[window])
                    await play.world.database.execute(
                        "UPDATE account SET debit_limit = %s WHERE id = %s", [limit, window]
                    )
                elif verb == "window":
                    play.overlap("window changed during a hold", len(open_holds) > 0)
                    limit = rng.randrange(2_000)
                    window = await _window(play, limit)
                    posted[window] = pending[window] = 0
                elif verb == "hold":
                    most, least = sorted((rng.randrange(1, 600), rng.randrange(1, 600)))[::-1]
                    leg = Leg(AccountId(window), least, most)
                    op = team_hold(play.tenant, most, least=least, legs=(leg,))
                    found = await _outcome(lane.hold(op))
                    room = limit - posted[window] - pending[window]
                    expected = min(most, room) if room >= least else None
                    if found.amount != expected:
                        play.findings.append(
                            f"{least} to {most} with room for {room}: granted {found.amount}"
                        )
                    if found.amount is not None:
                        pending[window] += found.amount
                        open_holds.append((op, window, found.amount))
                    play.overlap("wallet had room, the budget had not", found.code is Code.SHORT)
                elif open_holds:
                    op, of, held = open_holds.pop(rng.randrange(len(open_holds)))
                    cost = rng.randrange(held + 1)
                    kind = rng.choice((Final.SETTLE, Final.VOID))
                    cost = cost if kind is Final.SETTLE else 0
                    await _outcome(lane.apply(team_end(play.tenant, op, kind, cost)))
                    pending[of] -= held
                    posted[of] += cost
            for op, of, held in open_holds:
                await _outcome(lane.apply(team_end(play.tenant, op, Final.VOID)))
                pending[of] -= held
        for each, spent in posted.items():
            await _check_window(play, each, spent, pending[each])


@dataclass(frozen=True, kw_only=True)
class OneBatch(Step):
    """{hold, void} and {lease end, settle} in one batch, and an end before its hold is visible."""

    what: str
    tokens: int = 7

    async def run(self, play: Play) -> None:
        version = await play.world.price_version("sim/fast")
        tenant = play.tenant
        op = chat_hold(tenant, self.tokens, version, seconds=1)
        call_id = call_id_of(op.id)
        charged = self.tokens * 150
        async with own_lane(play.world) as lane, own_lane(play.world) as other:
            match self.what:
                case "hold and void":
                    play.expected[call_id] = Expected("V", 0)
                    ends = [lane.hold(op), lane.apply(chat_end(op, Final.VOID))]
                case "lease end and settle":
                    play.expected[call_id] = Expected("S", charged)
                    await _outcome(lane.hold(op))
                    await asyncio.sleep(1.02)
                    settle = chat_end(op, Final.SETTLE, self.tokens)
                    ends = [lane.apply(chat_end(op, Final.LEASE_END)), lane.apply(settle)]
                case _:
                    play.expected[call_id] = Expected("S", charged)
                    lock = await lock_wallet(play.world, tenant)
                    held = lane.hold(op)
                    await asyncio.sleep(0.05)
                    settle = chat_end(op, Final.SETTLE, self.tokens, given=op)
                    ends = [held, other.apply(settle)]
                    await asyncio.sleep(0.05)
                    await unlock(lock)
            outcomes = [await _outcome(end) for end in ends]
        play.overlap(self.what)
        if not outcomes:
            play.findings.append(f"{self.what}: no outcome")


@dataclass(frozen=True, kw_only=True)
class Poison(Step):
    """Operations that can never apply share a batch with good ones; they alone fail."""

    good: int
    poison: str
    tenant: int = 1

    async def run(self, play: Play) -> None:
        tenant = play.tenants[self.tenant]
        async with own_lane(play.world) as lane:
            ops = [team_hold(tenant, 1_000 + number) for number in range(self.good)]
            waiting = [lane.hold(op) for op in ops]
            if self.poison == "unknown account":
                stranger = team_hold(tenant, 5)
                bad = [lane.hold(replace(stranger, wallet=AccountId(NOBODY)))]
            else:
                marks = [play.mark(f"huge-{number}") for number in range(2)]
                play.kept.setdefault("granted past the service", set()).update(marks)
                bad = [lane.apply(grant(tenant, 2**63 - 1, mark)) for mark in marks]
            failed = 0
            for each in bad:
                try:
                    await _outcome(each)
                except OmniError:
                    failed += 1
            if not failed:
                play.findings.append(f"an operation with {self.poison} was applied")
            play.overlap("a poison operation shared a batch", failed)
            for op, future in zip(ops, waiting, strict=True):
                if (await _outcome(future)).code is not Code.DONE:
                    play.findings.append(f"{op.id} failed beside a poison operation")
                await _outcome(lane.apply(team_end(tenant, op, Final.VOID)))
