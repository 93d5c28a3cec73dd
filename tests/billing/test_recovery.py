"""Recovery: whatever a worker knew when it died is in the books afterwards, once."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO
from uuid import UUID

import msgspec
import pytest
from cut_proxy import Break, CutProxy
from ledger_rig import (
    UNIT_PRICE,
    WALLETS,
    RealClock,
    final_op,
    hold_op,
    resolve_op,
    until,
)
from recovery_house import GRANT, House, Recoveries, ended

from omni_grpc.billing import CallJournal, LedgerStore, Recovered, Recovery
from omni_grpc.billing.journal_records import (
    Acknowledged,
    Dispatched,
    Ended,
    Opened,
    Progress,
    Record,
    decode,
)
from omni_grpc.billing.operations import Final, HoldOp
from omni_grpc.core.ids import AccountId, HoldId
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.usage import Usage
from omni_grpc.storage import (
    Database,
    EmbeddedPostgres,
    JournalFolder,
    SegmentReader,
    migrate,
)

ROOT = Path(__file__).resolve().parents[2]

VICTIM = """
import asyncio, sys
from pathlib import Path
from ledger_rig import UNIT_PRICE, RealClock, Watch, final_op, hold_op, until
from omni_grpc.billing import CallJournal, Lane
from omni_grpc.billing.operations import Final
from omni_grpc.core.usage import Usage
from omni_grpc.storage import connect

async def main(url, root):
    journal = CallJournal(root, RealClock())
    lane = Lane(lambda: connect(url, application_name="victim"), RealClock(), Watch(), journal)
    running = asyncio.gather(lane.run(), journal.run())
    await until(lambda: lane.connected)
    held, sent, told, ended = [hold_op(10) for _ in range(4)]
    for op in (held, sent, told, ended):
        await lane.hold(op)
    for op in (sent, told, ended):
        journal.dispatched(op, 10, UNIT_PRICE)
    journal.progress(told.id, Usage(prompt=1, completion=2))
    journal.final(final_op(Final.SETTLE, ended.id, 3))
    print("ready", flush=True)
    await running

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


BUSY = """
import asyncio, os, random, sys
from dataclasses import replace
from pathlib import Path
from ledger_rig import UNIT_PRICE, RealClock, Watch, final_op, hold_op, until
from omni_grpc.billing import CallJournal, Lane
from omni_grpc.billing.operations import Code, Final
from omni_grpc.core.usage import Usage
from omni_grpc.storage import connect

def say(*words):  # one write, so that a kill leaves whole lines
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def calls(lane, journal):
    while True:
        hold = hold_op(10)
        outcome = await lane.hold(hold)
        if outcome.code is Code.SHORT:
            await asyncio.sleep(0.01)
            continue
        if random.random() < 0.1:
            await lane.apply(replace(final_op(Final.VOID, hold.id), wallet=hold.wallet))
            continue
        journal.dispatched(hold, 10, UNIT_PRICE)
        say("sent", hold.id, 0)
        for tokens in range(random.randrange(4)):
            await asyncio.sleep(random.random() / 500)
            journal.progress(hold.id, Usage(prompt=tokens))
            say("told", hold.id, tokens)
        cost = random.randrange(4, 10)
        op = replace(final_op(Final.SETTLE, hold.id, cost), hold=hold, wallet=hold.wallet)
        journal.final(op)
        say("busy")
        say("ended", hold.id, cost)
        await lane.apply(op)

async def main(url, root):
    journal = CallJournal(root, RealClock(), segment_bytes_max=20_000)
    lane = Lane(lambda: connect(url, application_name="busy"), RealClock(), Watch(), journal)
    running = asyncio.gather(lane.run(), journal.run())
    await until(lambda: lane.connected)
    await asyncio.gather(*[calls(lane, journal) for _ in range(12)])

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


# --- each thing that a journal can know -----------------------------------------------------------
async def test_an_end_that_the_database_never_got_is_exact(house: House) -> None:
    victim = await house.victim()
    hold = await victim.dispatch()
    victim.journal.progress(hold.id, Usage(prompt=1))
    victim.journal.final(ended(hold, 7))
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, settled=1)
    assert house.state(hold.id) == ("S", 7)
    assert house.usage(hold.id) == ("A", False, 7, None, None)
    assert await house.balance() == (GRANT - 7, 0, 0)
    assert house.names() == ["kept"]


async def test_a_call_that_ran_is_charged_what_was_known_of_it_as_an_estimate(house: House) -> None:
    victim = await house.victim()
    hold = await victim.dispatch(markup_ppm=500_000)
    victim.journal.progress(hold.id, Usage(prompt=1), None)
    victim.journal.progress(hold.id, Usage(prompt=1, completion=2), "gen-1")
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, estimated=1)
    assert house.state(hold.id) == ("S", 8)  # (1 + 2 x 2) x 1.5, rounded up
    assert house.usage(hold.id) == ("C", True, 1, 2, "gen-1")


async def test_an_estimate_is_never_above_the_hold(house: House) -> None:
    victim = await house.victim()
    hold = await victim.dispatch(10)
    victim.journal.progress(hold.id, Usage(prompt=25))
    await victim.die()
    await house.recover()
    assert house.state(hold.id) == ("S", 10)


async def test_a_call_that_was_sent_and_told_nothing_stays_reserved(house: House) -> None:
    victim = await house.victim()
    silent, named = await victim.dispatch(), await victim.dispatch(20)
    victim.journal.progress(named.id, None, "gen-2")
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, unresolved=2)
    assert house.state(silent.id) == ("U", 10)
    assert house.state(named.id) == ("U", 20)
    assert await house.balance() == (GRANT, 0, 30)
    found = await house.worker.ledger.unresolved_attempt(named.id)
    assert found.provider_ref == "gen-2"


async def test_usage_that_the_pinned_price_does_not_price_is_left_to_people(house: House) -> None:
    victim = await house.victim()
    hold = await victim.hold()
    prompts_only = Price(1, (Rate(Unit.PROMPT, 0, 1_000_000),))
    victim.journal.dispatched(hold, 10, prompts_only)
    victim.journal.progress(hold.id, Usage(prompt=1, completion=1))
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, unresolved=1)


async def test_a_call_that_was_never_sent_is_free_at_once(house: House) -> None:
    victim = await house.victim()
    hold = await victim.hold()
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, voided=1)
    assert house.state(hold.id) == ("V", 0)
    assert await house.balance() == (GRANT, 0, 0)


async def test_ends_of_every_kind_are_brought_in(house: House) -> None:
    victim = await house.victim()
    kinds = [Final.SETTLE, Final.VOID, Final.UNRESOLVED]
    holds = [await victim.dispatch() for _ in kinds]
    for hold, kind in zip(holds, kinds, strict=True):
        victim.journal.final(ended(hold, 3 if kind is Final.SETTLE else 0, kind))
    await victim.die()
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, settled=1, voided=1, unresolved=1)
    assert [house.state(hold.id)[0] for hold in holds] == ["S", "V", "U"]


async def test_other_workers_holds_are_left_alone(house: House) -> None:
    victim, other = await house.victim(), await house.victim()
    theirs = await other.hold()
    api = await house.worker.ledger.balance(AccountId(WALLETS[0]))
    await victim.hold()
    await victim.die()
    await house.recovery().recover()
    assert house.state(theirs.id) == ("O", 10)
    assert api.posted == GRANT
    await other.lane.apply(final_op(Final.VOID, theirs.id))


# --- a loss of power, a broken disk ---------------------------------------------------------------
async def test_after_a_loss_of_power_only_what_was_synced_is_known(house: House) -> None:
    """What is not in the journal may have been sent all the same."""
    synced = 0

    def sync(file: int) -> None:
        nonlocal synced
        os.fdatasync(file)
        synced = os.fstat(file).st_size

    victim = await house.victim(durable=sync)
    kept = await victim.dispatch()
    victim.journal.final(ended(kept, 7))
    told = await victim.dispatch()
    victim.journal.progress(told.id, Usage(prompt=2))
    victim.journal._writer.sync()()
    victim.journal.final(ended(told, 9))
    lost = await victim.dispatch()
    never_sent = await victim.hold()
    await victim.die()
    power_loss(house, synced)
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, settled=1, estimated=1, unresolved=2)
    assert house.state(kept.id) == ("S", 7)
    assert house.state(told.id) == ("S", 2)
    assert house.state(lost.id) == house.state(never_sent.id) == ("U", 10)
    assert house.names() == ["kept"]


def power_loss(house: House, size: int) -> None:
    """Leaves of the journal what a disk has of it, `size` bytes, in another boot."""
    path = house.folder()
    (segment,) = path.glob("*.log")
    os.truncate(segment, size)
    records = [decode(content) for content in SegmentReader(JournalFolder(path, -1)).records()]
    shutil.rmtree(path)
    house.write(
        [in_another_boot(record) if isinstance(record, Opened) else record for record in records]
    )


def in_another_boot(record: Opened) -> Opened:
    return msgspec.structs.replace(record, boot_id="another boot")


@pytest.mark.parametrize("at", [200, -30])
async def test_beside_a_damaged_record_the_others_count_and_silence_proves_nothing(
    house: House, at: int
) -> None:
    victim = await house.victim()
    first, second = await victim.dispatch(), await victim.dispatch()
    never_sent = await victim.hold()
    victim.journal.final(ended(first, 7))
    victim.journal.final(ended(second, 7))
    await victim.die()
    (segment,) = house.folder().glob("*.log")
    content = bytearray(segment.read_bytes())
    content[at] ^= 0x10
    segment.write_bytes(content)
    found = await house.recover()
    assert found.is_damaged
    assert house.state(first.id) == ("S", 7)
    damaged_last = at < 0
    assert house.state(second.id) == (("U", 10) if damaged_last else ("S", 7))
    assert house.state(never_sent.id)[0] == "U"
    assert house.names() == ["damaged"]
    assert await house.recovery().recover() == []


async def test_a_journal_that_lost_its_owner_s_name_is_brought_in_as_far_as_it_tells(
    house: House,
) -> None:
    victim = await house.victim()
    sent, never_sent = await victim.dispatch(), await victim.hold()
    victim.journal.final(ended(sent))
    await victim.die()
    (segment,) = house.folder().glob("*.log")
    content = bytearray(segment.read_bytes())
    content[30] ^= 0x10
    segment.write_bytes(content)
    assert await house.recover() == Recovered("", settled=1, is_damaged=True)
    assert house.state(never_sent.id) == ("O", 10)  # until its lease ends
    await house.worker.lane.apply(final_op(Final.VOID, never_sent.id))


async def test_progress_whose_dispatch_is_damaged_is_unresolved_and_not_free(house: House) -> None:
    victim = await house.victim()
    hold = await victim.hold()
    await victim.die()
    opened = victim.opened()
    shutil.rmtree(house.folder())
    house.write([opened, Progress(hold.id, Usage(prompt=1), "gen-1")])
    assert await house.recover() == Recovered(victim.lane.owner, unresolved=1)
    assert house.state(hold.id) == ("U", 10)


async def test_a_torn_tail_is_cut_and_what_it_was_for_was_never_sent(house: House) -> None:
    victim = await house.victim()
    ran, torn = await victim.dispatch(), await victim.dispatch()
    await victim.die()
    (segment,) = house.folder().glob("*.log")
    os.truncate(segment, segment.stat().st_size - 5)
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, unresolved=1, voided=1)
    assert house.state(ran.id) == ("U", 10)
    assert house.state(torn.id) == ("V", 0)
    assert house.names() == ["kept"]


async def test_a_record_of_a_newer_version_is_kept_for_people(house: House) -> None:
    victim = await house.victim()
    hold = await victim.hold()
    victim.journal._writer.append(b"\x92\xa1z\x01")
    await victim.die()
    assert (await house.recover()).is_damaged
    assert house.state(hold.id) == ("U", 10)
    assert house.names() == ["damaged"]


async def test_holds_older_than_what_is_left_of_a_journal_are_not_taken_for_unsent(
    house: House,
) -> None:
    """Their records may have been deleted, and their ends lost by the database since."""
    victim = await house.victim()
    old = await victim.hold()
    await asyncio.sleep(0.005)
    young_since = (await victim.hold()).id.int >> 80
    young = await victim.hold()
    await victim.die()
    shutil.rmtree(house.folder())
    house.write([victim.opened(young_since)])
    await house.recover()
    assert house.state(old.id) == ("U", 10)
    assert house.state(young.id) == ("V", 0)


# --- a database that knows more, or less, than the journal ----------------------------------------
async def test_what_the_database_has_acknowledged_is_not_sent_again(house: House) -> None:
    victim = await house.victim()
    for _ in range(20):
        await victim.settle()
    victim.journal.tidy()
    hold = await victim.dispatch()
    await victim.die()
    before = sum(house.worker.watch.batches)
    assert await house.recover() == Recovered(victim.lane.owner, unresolved=1)
    assert sum(house.worker.watch.batches) - before == 2  # the last known end, and the new one
    assert house.state(hold.id) == ("U", 10)


async def test_ends_whose_acknowledgement_was_not_noted_are_known(house: House) -> None:
    victim = await house.victim()
    await victim.settle()
    await victim.settle()
    await victim.die()
    books = house.books()
    assert await house.recover() == Recovered(victim.lane.owner, known=2)
    assert house.books() == books


async def test_ends_that_the_database_has_lost_are_brought_in_again(house: House) -> None:
    """A failover to a standby that lagged behind: the holds are gone as well."""
    victim = await house.victim()
    known = await victim.settle()
    lost = [ended(hold_op(10), cost) for cost in (3, 4, 5)]
    for op in lost:
        assert op.hold
        victim.journal.dispatched(op.hold, 10, UNIT_PRICE)
        victim.journal.final(op)
        victim.journal.acknowledged(op.id)
    victim.journal.tidy()
    await victim.die()
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, settled=2, known=2)
    assert [house.state(op.id) for op in lost] == [("S", 3), ("S", 4), ("S", 5)]
    assert house.state(known.id) == ("S", 3)
    assert await house.balance() == (GRANT - 15, 0, 0)


async def test_what_a_stopped_worker_had_acknowledged_is_brought_back_when_the_database_lost_it(
    house: House,
) -> None:
    """A backup was restored after it: its journal was kept, and is read once a connection."""
    victim = await house.victim()
    lost = [ended(hold_op(10), cost) for cost in (3, 4)]
    for op in lost:
        assert op.hold
        victim.journal.dispatched(op.hold, 10, UNIT_PRICE)
        victim.journal.final(op)
        victim.journal.acknowledged(op.id)
    victim.running.cancel()
    await victim.journal.close()
    assert house.names() == ["kept"]
    recovery = house.recovery()
    assert await recovery.recover() == []
    assert [house.state(op.id) for op in lost] == [("S", 3), ("S", 4)]
    assert await recovery.recover() == []
    assert house.names() == ["kept"]
    assert await house.balance() == (GRANT - 7, 0, 0)


async def test_a_call_whose_hold_the_database_has_lost_is_still_charged(house: House) -> None:
    victim = await house.victim()
    settled, ran, sent = hold_op(10), hold_op(10), hold_op(10)
    for op in (settled, ran, sent):
        victim.journal.dispatched(op, 10, UNIT_PRICE)
    victim.journal.final(replace(ended(settled), hold=None))
    victim.journal.progress(ran.id, Usage(prompt=4))
    await victim.die()
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, settled=1, estimated=1, unresolved=1)
    assert house.state(settled.id) == ("S", 3)
    assert house.state(ran.id) == ("S", 4)
    assert house.state(sent.id) == ("U", 10)


async def test_acknowledgements_from_before_a_database_went_back_are_not_believed(
    house: House,
) -> None:
    """Its worker died while it told the database again what that had lost."""
    victim = await house.victim()
    lost = ended(hold_op(10))
    assert lost.hold
    victim.journal.dispatched(lost.hold, 10, UNIT_PRICE)
    victim.journal.final(lost)
    victim.journal.acknowledged(lost.id)
    assert [op async for op in victim.journal.retained()] == [lost]
    await victim.settle()
    victim.journal.tidy()
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, settled=1, known=1)
    assert house.state(lost.id) == ("S", 3)


async def test_an_acknowledged_call_that_is_open_in_the_database_is_ended_as_it_was(
    house: House,
) -> None:
    victim = await house.victim()
    first, last = await victim.dispatch(), await victim.dispatch()
    for hold in (first, last):
        victim.journal.final(ended(hold))
    await victim.lane.apply(ended(last))
    await victim.die()
    records = [
        victim.opened(),
        *[record for hold in (first, last) for record in told(hold)],
        Acknowledged(first.id.bytes + last.id.bytes),
    ]
    shutil.rmtree(house.folder())
    house.write(records)
    assert await house.recover() == Recovered(victim.lane.owner, settled=1)
    assert house.state(first.id) == ("S", 3)


def told(hold: HoldOp) -> list[Record]:
    return [Dispatched(hold, 10, UNIT_PRICE), Ended(ended(hold))]


async def test_what_others_decided_meanwhile_stands(house: House) -> None:
    """The lease ended, and an operator resolved the attempt, before its journal was found."""
    victim = await house.victim()
    hold = await victim.dispatch()
    victim.journal.final(ended(hold, 7))
    await victim.die()
    await house.worker.lane.apply(final_op(Final.UNRESOLVED, hold.id))
    await house.worker.lane.apply(resolve_op(Final.VOID, hold.id))
    assert await house.recover() == Recovered(victim.lane.owner, settled=1)
    assert house.sql.execute(
        "SELECT kind::text, decider::text, amount FROM posting WHERE id = %s ORDER BY n", [hold.id]
    ).fetchall() == [("V", "p", 0), ("S", "o", 7)]


async def test_a_lease_that_ended_before_is_resolved_by_the_journal(house: House) -> None:
    victim = await house.victim()
    known, never_sent = await victim.dispatch(), await victim.hold()
    victim.journal.final(ended(known, 7))
    await victim.die()
    house.sql.execute("UPDATE hold SET lease_until = clock_timestamp() - interval '1s'")
    assert await house.worker.reaper.reap() == 2
    assert await house.recover() == Recovered(victim.lane.owner, settled=1, voided=1)
    assert house.state(known.id) == ("S", 7)
    assert house.state(never_sent.id) == ("V", 0)


async def test_a_hold_that_is_committed_after_its_worker_died_is_found_as_well(
    house: House,
) -> None:
    victim = await house.victim()
    early = await victim.hold()
    dead = victim.lane
    await victim.die()
    heir = house.worker.lane
    recovery = Recovery(house.root, heir, house.rig.store, heir._journal, Recoveries(), late_s=2.0)
    recovering = asyncio.create_task(recovery.recover())
    await until(lambda: house.state(early.id)[0] == "V")
    late = hold_op(10)
    heir.owner, owner = dead.owner, heir.owner
    await heir.hold(late)
    heir.owner = owner
    assert await recovering == [Recovered(dead.owner, voided=2)]
    assert house.state(late.id) == ("V", 0)


# --- again, together, interrupted -----------------------------------------------------------------
async def test_a_journal_that_is_brought_in_twice_changes_nothing_the_second_time(
    house: House,
) -> None:
    victim = await house.victim()
    settled, ran, _sent = [await victim.dispatch() for _ in range(3)]
    await victim.hold()
    victim.journal.final(ended(settled))
    victim.journal.progress(ran.id, Usage(prompt=4))
    await victim.die()
    copy = house.root / "copy"
    shutil.copytree(house.folder(), copy)
    assert (await house.recover()).known == 0
    books = house.books()
    copy.rename(house.root / "w-copy")
    found = await house.recover()
    assert found == Recovered(victim.lane.owner, known=3)
    assert house.books() == books


async def test_four_workers_become_two(house: House) -> None:
    victims = [await house.victim() for _ in range(4)]
    for victim in victims:
        for cost in range(1, 6):
            victim.journal.final(ended(await victim.dispatch(), cost))
        await victim.dispatch()
        await victim.hold()
    for victim in victims:
        await victim.die()
    heirs = [house.worker, await house.rig.worker()]
    done = await asyncio.gather(*[house.recovery(heir).recover() for heir in heirs])
    found = [one for some in done for one in some]
    assert sorted(one.owner for one in found) == sorted(one.lane.owner for one in victims)
    assert all(one == Recovered(one.owner, settled=5, unresolved=1, voided=1) for one in found)
    assert await house.balance() == (GRANT - 4 * 15, 0, 40)
    assert house.names() == ["kept"] * 4


async def test_an_outage_in_the_middle_is_waited_for(house: House) -> None:
    victim = await house.victim()
    for _ in range(3):
        victim.journal.final(ended(await victim.dispatch()))
    await victim.die()
    async with CutProxy(house.rig.url) as proxy:
        heir = await house.rig.worker(url=proxy.url, statement_s=0.4)
        proxy.arm(Break.DROP_ANSWER)
        recovering = asyncio.create_task(house.recovery(heir).recover())
        await until(lambda: heir.lane.was_cut)
        (found,) = await recovering
    assert found.settled + found.known == 3
    assert await house.balance() == (GRANT - 9, 0, 0)
    assert house.names() == ["kept"]


async def test_a_database_that_cannot_be_read_leaves_the_journal_for_another_time(
    house: House,
) -> None:
    victim = await house.victim()
    victim.journal.final(ended(await victim.dispatch()))
    never_sent = await victim.hold()
    await victim.die()
    lane = house.worker.lane
    async with CutProxy(house.rig.url) as proxy, Database(proxy.url, application_name="t") as far:
        proxy.down()
        recovery = Recovery(house.root, lane, LedgerStore(far), lane._journal, Recoveries())
        assert await recovery.recover() == []
        assert house.names() == ["w"]
    assert await house.recover() == Recovered(victim.lane.owner, known=1, voided=1)
    assert house.state(never_sent.id) == ("V", 0)
    assert house.names() == ["kept"]


async def test_one_end_that_can_never_be_applied_holds_up_no_other(house: House) -> None:
    victim = await house.victim()
    poison, hold = await victim.dispatch(), await victim.dispatch()
    victim.journal.final(ended(poison, 2**63))
    victim.journal.final(ended(hold))
    await victim.die()
    assert await house.recover() == Recovered(victim.lane.owner, settled=1, refused=1)
    assert house.state(hold.id) == ("S", 3)
    assert house.names() == ["damaged"]
    assert house.sql.execute("SELECT target FROM dead_letter").fetchall() == [(poison.id,)]
    await house.worker.lane.apply(final_op(Final.UNRESOLVED, poison.id))


async def test_ends_that_are_brought_in_stand_in_the_heir_s_own_journal(house: House) -> None:
    """The database may lose these commits too."""
    victim = await house.victim()
    settled, ran = await victim.dispatch(), await victim.dispatch()
    victim.journal.final(ended(settled))
    victim.journal.progress(ran.id, Usage(prompt=4))
    await victim.die()
    await house.recover()
    kept = [op async for op in house.worker.lane._journal.retained()]
    assert [op.id for op in kept] == [settled.id, ran.id]
    assert all(op.hold is not None for op in kept)


async def test_a_journal_of_another_ledger_is_left_to_that(
    house: House, ledger_server: EmbeddedPostgres
) -> None:
    """Two services of one account on one machine keep their journals in one place by default."""
    victim = await house.victim()
    hold = await victim.dispatch()
    victim.journal.final(ended(hold))
    await victim.die()
    other = ledger_server.create_database("another_ledger")
    await asyncio.to_thread(migrate, other)
    lane = house.lane(other, CallJournal(house.root / "theirs", RealClock()))
    house.rig.start(lane.run())
    await until(lambda: lane.connected)
    theirs = Recovery(house.root, lane, house.rig.store, lane._journal, Recoveries(), late_s=0.0)
    for _ in range(2):
        assert await theirs.recover() == []
    shutil.rmtree(house.root / "theirs")
    assert (await house.recover()).settled == 1
    assert house.state(hold.id) == ("S", 3)
    assert house.names() == ["kept"]


async def test_an_empty_journal_is_removed(house: House) -> None:
    JournalFolder.create(house.root).release()
    assert await house.recover() == Recovered("")
    assert house.names() == []


def wait_for_line(stream: IO[str], wanted: str) -> None:
    assert wanted in iter(stream.readline, "")


# --- real processes -------------------------------------------------------------------------------
def process(script: str, house: House) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "billing")])
    return subprocess.Popen(
        [sys.executable, "-c", script, house.rig.url, str(house.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


async def test_workers_that_are_killed_are_recovered_by_the_one_that_runs(house: House) -> None:
    seen = Recoveries()
    heir = house.worker
    recovery = Recovery(house.root, heir.lane, house.rig.store, heir.lane._journal, seen)
    house.rig.start(recovery.run())
    victims = [process(VICTIM, house) for _ in range(2)]
    try:
        for victim in victims:
            assert victim.stdout
            await asyncio.to_thread(wait_for_line, victim.stdout, "ready\n")
        assert seen.found == []
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        await until(lambda: len(seen.found) == 2)
    finally:
        for victim in victims:
            victim.kill()
            victim.communicate()
    for found in seen.found:
        expected = Recovered(found.owner, settled=1, estimated=1, voided=1, unresolved=1)
        assert found == expected
    assert await house.balance() == (GRANT - 2 * (3 + 5), 0, 20)
    assert house.names() == ["kept"] * 2


@pytest.mark.parametrize("after_s", [0.02, 0.11, 0.31])
async def test_a_busy_worker_killed_at_any_moment_charged_what_it_had_said(
    house: House, after_s: float
) -> None:
    await house.worker.grant(100_000)
    victim = process(BUSY, house)
    try:
        assert victim.stdout
        await asyncio.to_thread(wait_for_line, victim.stdout, "busy\n")
        await asyncio.sleep(after_s)  # any moment will do
    finally:
        victim.kill()
        said, _ = victim.communicate()
    found = await house.recover()
    assert found.refused == 0
    assert not found.is_damaged
    last: dict[HoldId, tuple[str, int]] = {}
    for line in said.splitlines():
        if line.startswith(("sent", "told", "ended")):
            word, hold_id, number = line.split()
            last[HoldId(UUID(hold_id))] = (word, int(number))
    assert last
    for hold_id, (word, number) in last.items():
        kind, amount = house.state(hold_id)
        if word == "ended":
            assert (kind, amount) == ("S", number)
        elif kind == "S":  # it was killed after a record and before its words
            assert amount >= number
        else:
            assert (word, kind) == ("sent", "U")
    assert house.sql.execute("SELECT count(*) FROM hold WHERE state = 'O'").fetchone() == (0,)
    assert house.names() == ["kept"]
