"""The lane's queue: what may share a batch, and in which order the rest follows."""

import asyncio
import itertools

import pytest
from ledger_rig import final_op, hold_op, transfer_op

from omni_grpc.billing.operations import Final, Operation, Origin, Requested, RequestKey
from omni_grpc.billing.queue import LaneQueue, Waiting
from omni_grpc.core.limits import LANE_BATCH_MAX


def batches(*operations: Operation) -> list[list[Operation]]:
    """What the queue gives out, batch after batch."""
    loop = asyncio.new_event_loop()
    queue = LaneQueue()
    for op in operations:
        queue.append(Waiting(op, loop.create_future()))
    found = []
    while batch := queue.take():
        found.append([waiting.op for waiting in batch])
    loop.close()
    return found


def test_a_final_is_never_in_the_batch_of_its_own_hold() -> None:
    op, other = hold_op(5), hold_op(5)
    settle = final_op(Final.SETTLE, op.id, 3)
    assert batches(op, settle, other) == [[op, other], [settle]]


ORDERS = list(itertools.permutations([Final.SETTLE, Final.VOID, Final.LEASE_END]))


@pytest.mark.parametrize("kinds", ORDERS)
def test_a_hold_has_one_final_in_a_batch_and_the_one_that_knows_most_goes_first(
    kinds: tuple[Final, ...],
) -> None:
    op = hold_op(5)
    found = batches(*[final_op(kind, op.id) for kind in kinds])
    assert [len(batch) for batch in found] == [1, 1, 1]
    assert found[0][0] == final_op(Final.SETTLE, op.id)


def test_a_request_id_stands_once_in_a_batch() -> None:
    request = RequestKey(1, "mine", b"5", Requested.HOLD)
    ops = [hold_op(5, origin=Origin.API, request=request) for _ in range(3)]
    other = transfer_op(1)
    assert batches(*ops, other) == [[ops[0], other], [ops[1]], [ops[2]]]


def test_a_batch_is_bounded_and_the_rest_keeps_its_order() -> None:
    ops = [hold_op(1) for _ in range(LANE_BATCH_MAX + 3)]
    assert batches(*ops) == [ops[:LANE_BATCH_MAX], ops[LANE_BATCH_MAX:]]
