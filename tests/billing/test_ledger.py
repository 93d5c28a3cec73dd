"""The ledger as teams use it: holds of their own, grants, entries, and errors with their facts."""

from uuid import UUID

import psycopg
import pytest
from ledger_rig import WALLETS, Rig, Worker, hold_op, until

from omni_grpc.billing import EntryKind, Hold, HoldState, LedgerEntry
from omni_grpc.core.errors import (
    CreditsExhausted,
    CreditsHeld,
    FieldInvalid,
    HoldFinal,
    NotFound,
    RequestIdReused,
)
from omni_grpc.core.ids import AccountId, KeyId, OrgId, new_call_id, uuid7

MINE, THEIRS = AccountId(WALLETS[0]), AccountId(WALLETS[1])
ORG = OrgId(1)


@pytest.fixture
async def worker(rig: Rig) -> Worker:
    worker = await rig.worker()
    await worker.grant(100)
    return worker


async def create(
    worker: Worker, amount: int = 40, request_id: str = "hold", seconds: int = 60
) -> Hold:
    return await worker.ledger.create_hold(
        account_id=MINE,
        org_id=ORG,
        key_id=KeyId(7),
        amount=amount,
        seconds=seconds,
        request_id=request_id,
    )


async def settle(
    worker: Worker, hold_id: UUID, amount: int, request_id: str, account: AccountId = MINE
) -> Hold:
    return await worker.ledger.settle_hold(
        account_id=account, org_id=ORG, hold_id=hold_id, amount=amount, request_id=request_id
    )


async def release(
    worker: Worker, hold_id: UUID, request_id: str, account: AccountId = MINE
) -> Hold:
    return await worker.ledger.release_hold(
        account_id=account, org_id=ORG, hold_id=hold_id, request_id=request_id
    )


async def grant(worker: Worker, amount: int, request_id: str, reason: str = "gift") -> LedgerEntry:
    return await worker.ledger.grant(
        account_id=MINE, org_id=ORG, amount=amount, reason=reason, request_id=request_id
    )


# --- holds of a team ----------------------------------------------------------------------------
async def test_a_hold_is_settled_in_part_and_the_rest_is_free_again(worker: Worker) -> None:
    held = await create(worker)
    assert (held.state, held.amount) == (HoldState.OPEN, 40)
    assert await worker.available() == 60
    done = await settle(worker, held.id, 15, "settle")
    assert (done.state, done.amount, done.settled) == (HoldState.SETTLED, 40, 15)
    assert await worker.available() == 85


async def test_each_step_repeated_with_its_request_id_answers_as_the_first_time(
    worker: Worker,
) -> None:
    held = await create(worker)
    assert await create(worker) == held
    done = await settle(worker, held.id, 15, "settle")
    assert await settle(worker, held.id, 15, "settle") == done
    assert await create(worker) == held
    assert await worker.available() == 85


@pytest.mark.parametrize("content", [{"amount": 41}, {"seconds": 61}])
async def test_a_request_id_with_other_content_is_refused(
    content: dict[str, int], worker: Worker
) -> None:
    await create(worker)
    with pytest.raises(RequestIdReused):
        await create(worker, **content)
    with pytest.raises(RequestIdReused):
        await grant(worker, 5, "hold")
    assert await worker.available() == 60


async def test_a_settled_hold_can_be_settled_again_only_for_the_same_amount(
    worker: Worker,
) -> None:
    held = await create(worker)
    done = await settle(worker, held.id, 15, "first")
    assert await settle(worker, held.id, 15, "second") == done
    with pytest.raises(HoldFinal) as caught:
        await settle(worker, held.id, 16, "third")
    assert caught.value.metadata == {"state": "settled"}
    with pytest.raises(HoldFinal):
        await release(worker, held.id, "fourth")
    assert await worker.available() == 85


async def test_a_released_hold_is_final(worker: Worker) -> None:
    held = await create(worker)
    done = await release(worker, held.id, "release")
    assert (done.state, done.settled) == (HoldState.VOIDED, None)
    assert await release(worker, held.id, "again") == done
    with pytest.raises(HoldFinal) as caught:
        await settle(worker, held.id, 1, "settle")
    assert caught.value.metadata == {"state": "voided"}
    assert await worker.available() == 100


async def test_a_hold_whose_time_is_over_is_released_by_itself(worker: Worker) -> None:
    held = await create(worker, seconds=-1)
    assert await worker.reaper.reap() == 1
    assert await worker.available() == 100
    assert (await release(worker, held.id, "release")).state is HoldState.VOIDED
    with pytest.raises(HoldFinal):
        await settle(worker, held.id, 1, "settle")


async def test_a_hold_is_not_settled_above_its_amount_and_stays_open(worker: Worker) -> None:
    held = await create(worker)
    with pytest.raises(FieldInvalid) as caught:
        await settle(worker, held.id, 41, "settle")
    assert caught.value.field == "amount_nanousd"
    assert await worker.available() == 60
    # The refused request id is free for the corrected amount.
    assert (await settle(worker, held.id, 40, "settle")).settled == 40


async def test_a_running_chats_hold_is_not_found_by_a_team(worker: Worker) -> None:
    op = hold_op(40)
    await worker.lane.hold(op)
    for step in (settle(worker, op.id, 0, "settle"), release(worker, op.id, "release")):
        with pytest.raises(NotFound):
            await step
    assert await worker.available() == 60


async def test_another_accounts_hold_is_not_found(worker: Worker) -> None:
    held = await create(worker)
    for step in (
        settle(worker, held.id, 1, "settle", THEIRS),
        release(worker, held.id, "release", THEIRS),
    ):
        with pytest.raises(NotFound):
            await step
    await settle(worker, held.id, 1, "mine")
    with pytest.raises(NotFound):
        await settle(worker, held.id, 1, "late", THEIRS)


async def test_refusals_tell_whether_waiting_helps(worker: Worker) -> None:
    with pytest.raises(CreditsExhausted):
        await create(worker, 101, "too much")
    await create(worker)
    with pytest.raises(CreditsHeld) as caught:
        await create(worker, 61, "later")
    assert caught.value.metadata == {
        "needed_nanousd": "61",
        "posted_nanousd": "100",
        "held_nanousd": "40",
        "available_nanousd": "60",
    }
    await create(worker, 60, "later")


# --- grants and reads ---------------------------------------------------------------------------
async def test_a_grant_is_made_once_for_a_request_id(worker: Worker) -> None:
    first = await grant(worker, 5, "gift")
    assert (first.kind, first.amount, first.balance_after) == (EntryKind.GRANT, 5, 105)
    assert await grant(worker, 5, "gift") == first
    with pytest.raises(RequestIdReused):
        await grant(worker, 6, "gift")
    assert await worker.available() == 105


async def test_entries_are_paged_in_commit_order_newest_first(worker: Worker) -> None:
    for number in range(4):
        await grant(worker, 10 + number, f"gift {number}", f"reason {number}")
    held = await create(worker)
    await settle(worker, held.id, 9, "settle")
    newest = await worker.ledger.entries(MINE, None, 3)
    assert [(entry.position, entry.amount, entry.balance_after) for entry in newest] == [
        (6, -9, 137),
        (5, 13, 146),
        (4, 12, 133),
    ]
    assert newest[0].reference == f"holds/{held.id}"
    older = await worker.ledger.entries(MINE, 4, 10)
    assert [entry.reference for entry in older] == ["reason 1", "reason 0", "test"]


async def test_what_does_not_exist_is_not_found(worker: Worker) -> None:
    with pytest.raises(NotFound):
        await worker.ledger.balance(AccountId(9_999))
    with pytest.raises(NotFound):
        await worker.ledger.usage(new_call_id())
    with pytest.raises(NotFound):
        await settle(worker, uuid7(), 1, "settle")


async def test_the_balance_tells_held_and_unresolved_apart(
    worker: Worker, sql: psycopg.Connection
) -> None:
    await worker.lane.hold(hold_op(5, seconds=-1))
    await create(worker, 7)
    await worker.reaper.reap()
    found = await worker.ledger.balance(MINE)
    assert (found.posted, found.held, found.unresolved, found.available) == (100, 7, 5, 88)
    await until(lambda: worker.lane.depth == 0)
