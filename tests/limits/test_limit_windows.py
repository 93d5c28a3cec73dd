"""No stretch of time as long as the window ever has more than the limit, whatever is asked when."""

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.limits import Claim, Kind, LocalLimits
from omni_grpc.limits.local import SWEEP_COUNT_MIN

WINDOW_S = 60.0


@dataclass
class HandClock:
    time_s: float = 1000.0

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


def asked(amount: int = 1, limit: int = 3, rule: int = 1, kind: Kind = Kind.TOKENS) -> Claim:
    return Claim(rule, f"orgs/acme/rateLimits/r{rule}", kind, limit, amount)


@given(
    limit=st.integers(1, 30),
    steps=st.lists(
        st.tuples(st.floats(0, 40) | st.floats(0, 0.7), st.integers(1, 12), st.booleans()),
        max_size=120,
    ),
)
def test_no_stretch_of_a_window_has_more_than_the_limit(
    limit: int, steps: list[tuple[float, int, bool]]
) -> None:
    clock = HandClock()
    limits = LocalLimits(clock)
    counted: list[tuple[float, int]] = []
    for wait_s, amount, is_half_used in steps:
        clock.time_s += wait_s
        claim = asked(amount, limit)
        verdict = limits.take([claim])
        if not verdict.admitted:
            continue
        if is_half_used:
            limits.give_back(claim, verdict.bucket, amount // 2)
            amount -= amount // 2  # noqa: PLW2901 - what stays counted
        counted.append((clock.time_s, amount))
    for start, _ in counted:
        within = sum(n for when, n in counted if start <= when < start + WINDOW_S)
        assert within <= limit


@given(
    limit=st.integers(1, 30),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 12)), min_size=1, max_size=60),
)
def test_there_is_room_when_the_refusal_said(limit: int, steps: list[tuple[float, int]]) -> None:
    clock = HandClock()
    limits = LocalLimits(clock)
    for wait_s, asked_amount in steps:
        clock.time_s += wait_s
        claim = asked(min(asked_amount, limit), limit)
        verdict = limits.take([claim])
        if verdict.admitted:
            continue
        room_s = verdict.answers[0].wait_s
        assert room_s is not None
        assert 0 < room_s <= WINDOW_S * 61 / 60
        clock.time_s += room_s + 1e-6
        assert limits.take([claim]).admitted


def test_room_comes_back_at_most_a_bucket_after_the_window() -> None:
    clock = HandClock(1000.0)
    limits = LocalLimits(clock)
    claim = asked(limit=1)
    assert limits.take([claim]).admitted
    clock.time_s = 1060.9
    assert not limits.take([claim]).admitted
    clock.time_s = 1061.0
    assert limits.take([claim]).admitted


def test_all_claims_are_counted_or_none() -> None:
    limits = LocalLimits(HandClock())
    wide, narrow = asked(limit=2, rule=1), asked(limit=1, rule=2)
    place = asked(limit=1, rule=3, kind=Kind.CONCURRENT)
    assert limits.take([wide, narrow, place]).admitted
    assert not limits.take([wide, narrow]).admitted
    assert not limits.take([wide, place]).admitted
    assert limits.take([wide]).admitted, "the refused calls were counted"


def test_places_are_free_when_they_are_given_back() -> None:
    limits = LocalLimits(HandClock())
    place = asked(limit=2, kind=Kind.CONCURRENT)
    assert [limits.take([place]).admitted for _ in range(3)] == [True, True, False]
    limits.give_back(place, 0, 1)
    assert limits.take([place]).admitted


def test_giving_back_too_much_or_too_late_frees_nothing_else() -> None:
    clock = HandClock()
    limits = LocalLimits(clock)
    first = limits.take([asked(3, 4)])
    clock.time_s += 30
    limits.take([asked(1, 4)])
    limits.give_back(asked(3, 4), first.bucket, 100)
    assert not limits.take([asked(4, 4)]).admitted
    clock.time_s += 35
    limits.give_back(asked(3, 4), first.bucket, 100)
    assert not limits.take([asked(4, 4)]).admitted


def test_limits_that_are_empty_again_are_forgotten() -> None:
    clock = HandClock()
    limits = LocalLimits(clock)
    for rule in range(20 * SWEEP_COUNT_MIN):
        claims = [asked(rule=rule), asked(rule=rule, kind=Kind.REQUESTS)]
        assert limits.take(claims).admitted
        clock.time_s += 0.1
    assert len(limits) < 4 * SWEEP_COUNT_MIN
