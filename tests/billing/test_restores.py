"""A database that goes back to an older state while a dead worker's journal is taken over.

What the journal tells is in the books again afterwards, whenever that happens: before its ends are
told, between any two looks, after the last one, and whoever dies over it.
"""

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from ledger_rig import chat_end, chat_key, final_op, hold_op, until
from recovery_house import GRANT, House, Victim, ended

from omni_grpc.billing import LedgerStore, Recovered
from omni_grpc.billing.journal_marks import Mark, marks_in, text_of
from omni_grpc.billing.model import OwnedHold
from omni_grpc.billing.operations import ChatEnd, Code, Final, FinalOp
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.ids import HoldId
from omni_grpc.core.usage import Usage
from omni_grpc.storage import abandoned, take


class Restoring(LedgerStore):
    """Reads the books, and puts them back once at a named moment of a take-over."""

    def __init__(self, house: House, moment: str) -> None:
        super().__init__(house.rig.database)
        self._house = house
        self._moment = moment
        self.looks = 0

    def _at(self, moment: str) -> None:
        if moment == self._moment:
            self._moment = "never again"
            self._house.restore()

    async def open_router_holds(self, owner: str) -> list[OwnedHold]:
        self._at("before the others are looked for")
        found = await super().open_router_holds(owner)
        self._at("after the others are looked for")
        return found

    async def standing(
        self, ends: Mapping[HoldId, bool], believed: Collection[HoldId]
    ) -> tuple[int, list[Mark]]:
        self._at("before the last look")
        self.looks += 1
        found = await super().standing(ends, believed)
        self._at("after the last look")
        return found


MOMENTS = (
    "before the others are looked for",
    "after the others are looked for",
    "before the last look",
    "after the last look",
)


async def dead_with(house: House, costs: tuple[int, ...], *, noted: bool) -> list[FinalOp]:
    """A killed worker whose settles the database has; its journal may be told of that or not."""
    victim = await house.victim()
    settled = [await victim.settle(cost) for cost in costs]
    if noted:
        victim.journal.tidy()
    await victim.die()
    return settled


async def brought_back(house: House, settled: list[FinalOp]) -> None:
    """All is in the books at the latest when the lanes know that their database went away."""
    recovery = house.recovery()
    await house.cut()
    await recovery.recover()
    await recovery.recover()
    assert [house.state(op.id) for op in settled] == [("S", op.cost) for op in settled]
    assert await house.balance() == (GRANT - sum(op.cost for op in settled), 0, 0)
    assert house.names() == ["kept"]


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "unnoted"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_restore_at_any_moment_of_a_take_over_loses_nothing(
    house: House, moment: str, noted: bool
) -> None:
    house.back_up()
    settled = await dead_with(house, (3, 4), noted=noted)
    await house.recovery(store=Restoring(house, moment)).recover()
    await brought_back(house, settled)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_restore_that_leaves_the_older_half_loses_no_newer_one(
    house: House, moment: str
) -> None:
    """The last posting that the restored books have is not the last there was."""
    victim = await house.victim()
    older = [await victim.settle(cost) for cost in (3, 4)]
    house.back_up()
    newer = [await victim.settle(cost) for cost in (5, 6)]
    await victim.die()
    await house.recovery(store=Restoring(house, moment)).recover()
    await brought_back(house, older + newer)


async def test_a_connection_that_was_cut_meanwhile_makes_it_look_again(house: House) -> None:
    """What was lost with it is perhaps not among what is looked for."""

    class Cutting(Restoring):
        async def standing(
            self, ends: Mapping[HoldId, bool], believed: Collection[HoldId]
        ) -> tuple[int, list[Mark]]:
            found = await super().standing(ends, believed)
            if self.looks == 1:
                await house.cut()
            return found

    await dead_with(house, (3,), noted=True)
    store = Cutting(house, "never")
    (found,) = await house.recovery(store=store).recover()
    assert found.known == 1
    assert store.looks == 2


@pytest.mark.parametrize("moment", [MOMENTS[0], MOMENTS[3]])
async def test_a_restore_while_a_journal_is_brought_back_loses_nothing(
    house: House, moment: str
) -> None:
    house.back_up()
    settled = await dead_with(house, (3, 4), noted=False)
    await house.recover()
    house.restore()
    await house.cut()
    await house.recovery(store=Restoring(house, moment)).recover()
    await brought_back(house, settled)


@pytest.mark.parametrize("kind", [Final.SETTLE, Final.UNRESOLVED])
async def test_what_an_heir_tells_again_does_not_stand_for_what_its_journal_alone_knows(
    house: House, kind: Final
) -> None:
    """The heir told the newer end, and tells it again before anybody looks for what is lost."""
    house.back_up()
    victim = await house.victim()
    older = await victim.end(3, kind)
    victim.journal.tidy()
    newer = await victim.end(4, kind)
    await victim.die()
    own = await Victim(house.worker.lane, house.worker.lane._journal).end(5, kind)
    await house.recover()
    lost = {op.id: house.state(op.id) for op in (older, newer, own)}
    house.restore()
    await house.cut()
    await until(lambda: house.state(newer.id) == lost[newer.id])
    await house.recovery().recover()
    assert {op.id: house.state(op.id) for op in (older, newer, own)} == lost


async def test_what_an_heir_brought_in_is_not_lost_with_the_heir(house: House) -> None:
    """The heir stopped, and its own journal with it: it had no call of its own."""
    house.back_up()
    victim = await house.victim()
    hold = await victim.dispatch()
    victim.journal.final(ended(hold, 7))
    await victim.die()
    heir = await house.victim()
    worker = replace(house.worker, lane=heir.lane)
    assert await house.recovery(worker).recover() == [Recovered(victim.lane.owner, settled=1)]
    heir.running.cancel()
    await heir.journal.close()
    assert house.names() == ["kept"]
    house.restore()
    await brought_back(house, [ended(hold, 7)])


async def test_a_journal_that_is_kept_only_after_others_have_looked_is_looked_at_too(
    house: House,
) -> None:
    """Its keeper was slow, and dies before it hears that its database went back."""
    house.back_up()
    settled = await dead_with(house, (3, 4), noted=False)
    other = await house.rig.worker()
    looking = house.recovery(other)

    class Slow(Restoring):
        async def standing(
            self, ends: Mapping[HoldId, bool], believed: Collection[HoldId]
        ) -> tuple[int, list[Mark]]:
            found = await super().standing(ends, believed)
            await house.cut(house.worker, other)
            house.worker.lane.connected_at = before
            assert await looking.recover() == []  # the journal is still in its keeper's hands
            return found

    before = house.worker.lane.connected_at
    keeper = house.recovery(store=Slow(house, "after the last look"))
    (folder,) = abandoned(house.root)
    await keeper._try(folder)  # and no more: it dies before it looks back
    assert house.names() == ["kept"]
    await looking.recover()
    assert [house.state(op.id) for op in settled] == [("S", 3), ("S", 4)]


async def test_a_journal_that_another_worker_has_is_looked_at_again(house: House) -> None:
    """Whoever has it may die over it."""
    house.back_up()
    settled = await dead_with(house, (3, 4), noted=False)
    await house.recover()
    house.restore()
    await house.cut()
    (path,) = house.root.glob("kept-*")
    held = take(path)
    assert held
    recovery = house.recovery()
    await recovery.recover()
    assert house.state(settled[0].id) == ("none", 0)
    held.release()
    await recovery.recover()
    assert [house.state(op.id) for op in settled] == [("S", 3), ("S", 4)]


async def test_an_attempt_that_was_left_unresolved_is_listed_again(house: House) -> None:
    """It led to no posting, and its hold is lost."""
    house.back_up()
    victim = await house.victim()
    hold = await victim.dispatch()
    await victim.die()
    assert (await house.recover()).unresolved == 1
    assert house.names() == ["kept"]
    house.restore()
    await house.cut()
    await house.recovery().recover()
    assert house.state(hold.id) == ("U", 10)


async def test_what_a_stopped_worker_left_unresolved_is_listed_again(house: House) -> None:
    house.back_up()
    victim = await house.victim()
    op = ended(await victim.dispatch(), 0, Final.UNRESOLVED)
    victim.journal.final(op)
    await victim.lane.apply(op)
    victim.running.cancel()
    await victim.journal.close()
    house.restore()
    await house.cut()
    await house.recovery().recover()
    assert house.state(op.id) == ("U", 10)


async def test_a_running_worker_tells_again_what_it_left_unresolved(house: House) -> None:
    """Nothing was posted since, so only that tells that the database went back."""
    house.back_up()
    victim = await house.victim()
    op = ended(await victim.dispatch(), 0, Final.UNRESOLVED)
    victim.journal.final(op)
    await victim.lane.apply(op)
    house.restore()
    await house.cut()
    await until(lambda: house.state(op.id) == ("U", 10))


async def test_the_event_loop_runs_on_while_a_journal_is_read_again(house: House) -> None:
    """A segment that takes as long as the test wants: a pipe."""
    house.back_up()
    victim = await house.victim()
    settled = [await victim.settle(cost) for cost in (3, 4)]
    pipe = house.folder() / "0000000000.log"
    os.mkfifo(pipe)
    house.restore()
    cutting = asyncio.ensure_future(house.cut(house.worker))
    writer = await asyncio.to_thread(open, pipe, "wb")  # as soon as somebody reads it
    assert not victim.lane.connected  # and this runs meanwhile
    with pytest.raises(LedgerUnavailable):
        victim.lane.hold(hold_op(1))
    writer.close()
    await cutting
    await until(lambda: victim.lane.connected)
    pipe.unlink()
    await until(lambda: [house.state(op.id) for op in settled] == [("S", 3), ("S", 4)])


async def test_a_corrected_charge_is_brought_back_with_its_correction(house: House) -> None:
    """The books have the first word on the hold, and have lost the second."""
    victim = await house.victim()
    hold = await victim.dispatch()
    await victim.lane.apply(final_op(Final.SETTLE, hold.id, 3, is_estimate=True))
    house.back_up()
    victim.journal.final(ended(hold, 7))
    await victim.die()
    assert (await house.recover()).settled == 1
    assert house.state(hold.id) == ("S", 7)
    stranger = await house.rig.worker()
    house.restore()
    assert house.state(hold.id) == ("S", 3)
    await house.cut(stranger)
    await house.recovery(stranger).recover()
    await until(lambda: house.state(hold.id) == ("S", 7))


def test_marks_are_read_from_the_name_that_they_make() -> None:
    one, other, third = (hold_op(1).id for _ in range(3))
    marks = [Mark(one, 1, other), Mark(third), Mark(unresolved=other)]
    for count in range(1, 4):
        assert text_of(marks[:count]).isalnum()
        assert marks_in(text_of(marks[:count])) == marks[:count]
    for text in ("", "s", "x", f"{marks[0].text}sx", f"{marks[0].text}{marks[1].text}"):
        assert marks_in(text) == []


async def test_folders_that_nobody_kept_so_are_passed_over(house: House) -> None:
    for name in ("kept-", "kept-20261121T120000-1-0af3", "kept-x.p7", "kept-x.q0"):
        (house.root / name).mkdir(parents=True)
    assert await house.recovery().recover() == []


async def test_a_hold_that_was_never_granted_in_the_restored_books_is_no_loss(
    house: House,
) -> None:
    """It was never sent; the first time it was voided, the second it is not there."""
    house.back_up()
    victim = await house.victim()
    held = await victim.hold()
    await victim.die()
    store = Restoring(house, "before the last look")
    (found,) = await house.recovery(store=store).recover()
    assert found.voided == 1
    assert house.state(held.id) == ("none", 0)


# --- requests -------------------------------------------------------------------------------------
async def repeat(victim: Victim, request_id: str) -> Code:
    return (await victim.lane.hold(hold_op(10, request=chat_key(request_id)))).code


async def test_the_request_of_a_call_that_is_voided_is_free_at_once(house: House) -> None:
    victim = await house.victim()
    await victim.hold(request=chat_key("silent"))
    failed = await victim.dispatch(request=chat_key("failed"))
    void = replace(final_op(Final.VOID, failed.id), wallet=failed.wallet)
    victim.journal.final(void)
    await victim.lane.apply(void)
    victim.journal.tidy()
    ran = await victim.dispatch(request=chat_key("ran"))
    told = await victim.dispatch(request=chat_key("told"))
    victim.journal.progress(told.id, Usage(prompt=1))
    await victim.die()
    other = await house.victim()
    for request_id in ("silent", "failed", "ran", "told"):
        assert await repeat(other, request_id) is Code.REQUEST_RUNNING
    found = await house.recovery().recover()
    assert found == [Recovered(victim.lane.owner, voided=1, unresolved=1, estimated=1)]
    assert await repeat(other, "silent") is Code.DONE
    assert await repeat(other, "failed") is Code.DONE
    assert await repeat(other, "ran") is Code.REQUEST_INTERRUPTED
    assert await repeat(other, "told") is Code.REQUEST_INTERRUPTED
    assert house.state(ran.id) == ("U", 10)
    await other.die()
    await house.recovery().recover()


async def test_an_answer_that_is_kept_is_kept_through_its_workers_death(house: House) -> None:
    """It cost nothing, and still is no call that failed."""
    victim = await house.victim()
    key = chat_key("free")
    hold = await victim.dispatch(0, request=key)
    ends = chat_end(key, hold.id, ChatEnd.DONE, b"sealed")
    await victim.lane.apply(replace(ended(hold, 0), ends=ends))
    await victim.die()  # before its journal was told of the end
    await house.recovery().recover()
    other = await house.victim()
    assert await repeat(other, "free") is Code.REQUEST_REPEATED
