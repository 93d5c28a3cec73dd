"""Ids: ordered by time, never alike, and a call's id tells its attempts' and the other way."""

import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.ids import (
    ATTEMPTS_MAX,
    attempt_of,
    call_id_of,
    hold_id_of,
    new_call_id,
    new_hold_id,
    uuid7,
)


def milliseconds(found: UUID) -> int:
    return found.int >> 80


@pytest.mark.parametrize("make", [uuid7, new_call_id, new_hold_id])
def test_ids_are_uuids_of_version_7_with_the_time_of_their_making(make) -> None:
    before = time.time_ns() // 1_000_000
    found = make()
    after = time.time_ns() // 1_000_000
    assert (found.version, found.variant) == (7, RFC_4122)
    assert before <= milliseconds(found) <= after


@pytest.mark.parametrize("make", [uuid7, new_call_id, new_hold_id])
def test_ids_are_never_alike(make) -> None:
    assert len({make() for _ in range(20_000)}) == 20_000


def test_a_later_id_sorts_behind_an_earlier_one_as_a_text_too() -> None:
    earlier = uuid7()
    while milliseconds(later := uuid7()) == milliseconds(earlier):
        pass
    assert earlier < later
    assert str(earlier) < str(later)


@given(st.integers(1, ATTEMPTS_MAX))
def test_a_hold_tells_its_call_and_its_attempt(attempt: int) -> None:
    call_id = new_call_id()
    hold_id = hold_id_of(call_id, attempt)
    assert call_id_of(hold_id) == call_id
    assert attempt_of(hold_id) == attempt
    assert (hold_id.version, hold_id.variant) == (7, RFC_4122)


def test_the_attempts_of_a_call_lie_between_its_id_and_the_next() -> None:
    call_id = new_call_id()
    holds = [hold_id_of(call_id, attempt) for attempt in range(1, ATTEMPTS_MAX + 1)]
    assert holds == sorted(holds)
    assert call_id < holds[0]
    assert holds[-1].int - call_id.int == ATTEMPTS_MAX
    assert attempt_of(call_id) == 0


@pytest.mark.parametrize("attempt", [-1, 0, ATTEMPTS_MAX + 1])
def test_an_attempt_that_four_bits_cannot_number_is_refused(attempt: int) -> None:
    with pytest.raises(ValueError, match="is not between 1 and 15"):
        hold_id_of(new_call_id(), attempt)
