"""Breakers, speeds and warm prompts: what a worker learns from its own calls."""

import pytest
from test_router import offer

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.core.conversation import WARM_SECONDS
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.usage import Usage
from omni_grpc.routing.breakers import FAILURES_IN_ROW, OPEN_SECONDS, OPEN_SECONDS_MAX
from omni_grpc.routing.health import Health
from omni_grpc.routing.warmth import Warmth


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def health(clock: SetClock) -> Health:
    return Health(clock)  # type: ignore[arg-type]  # only its monotonic time is read


def fail(health: Health, count: int) -> None:
    for _ in range(count):
        health.begun("p/a")
        health.failed("p/a", "it broke")


def answer(health: Health, whole_s: float = 1.0, tokens: int = 100) -> None:
    health.answered("p/a", first_token_s=0.5, whole_s=whole_s, output_tokens=tokens)


def test_failures_in_a_row_open_a_breaker_and_a_trial_closes_it(
    health: Health, clock: SetClock
) -> None:
    fail(health, FAILURES_IN_ROW - 1)
    assert health.fault("p/a") is None
    fail(health, 1)
    assert health.fault("p/a") == "its breaker is open after failures: it broke"
    clock.at += 2 * OPEN_SECONDS
    assert health.fault("p/a") is None  # half open: one call may try
    health.begun("p/a")
    assert health.fault("p/a") is not None  # and no other beside it
    answer(health)
    assert health.fault("p/a") is None
    assert health.tripped == frozenset()


def test_each_failed_trial_waits_longer_up_to_a_bound(health: Health, clock: SetClock) -> None:
    fail(health, FAILURES_IN_ROW)
    waits = []
    for _ in range(8):
        begun = clock.at
        while health.fault("p/a") is not None:
            clock.at += 1
        waits.append(clock.at - begun)
        fail(health, 1)
    assert waits[0] < waits[2] < waits[4]
    assert max(waits) <= 1.2 * OPEN_SECONDS_MAX + 1


def test_half_of_the_calls_failing_opens_it_without_a_row(health: Health) -> None:
    opened_after = []
    for turn in range(10):
        if health.fault("p/a") is not None:
            opened_after.append(turn)
            break
        answer(health)
        fail(health, 2)
    assert opened_after == [4]  # 4 good, 8 bad: more than half of at least ten


def test_a_provider_that_says_when_is_not_asked_before(health: Health, clock: SetClock) -> None:
    health.failed("p/a", "too many", retry_after_s=30)
    clock.at += 29
    assert health.fault("p/a") is not None
    clock.at += 8
    assert health.fault("p/a") is None


def test_a_trial_whose_caller_left_leaves_room_for_another(health: Health, clock: SetClock) -> None:
    fail(health, FAILURES_IN_ROW)
    clock.at += 2 * OPEN_SECONDS
    health.begun("p/a")
    health.left("p/a")
    assert health.fault("p/a") is None


def test_a_speed_follows_what_is_measured_and_forgets(health: Health, clock: SetClock) -> None:
    for _ in range(20):
        answer(health, whole_s=1.5, tokens=100)  # 10 ms a token after half a second
    speed = health.speeds["p/a"].speed
    assert speed is not None
    assert (round(speed.first_token_ms), round(speed.token_ms or 0)) == (500, 10)
    clock.at += 3 * 3_600
    answer(health, whole_s=4.5, tokens=100)
    slow = health.speeds["p/a"].speed
    assert slow is not None
    assert slow.token_ms == pytest.approx(40, rel=0.01)


def chat(*texts: str) -> ChatRequest:
    roles = ("user", "assistant")
    return ChatRequest(
        model="m",
        messages=tuple(
            Message(role=roles[place % 2], content=text)  # type: ignore[arg-type]  # one of them
            for place, text in enumerate(texts)
        ),
    )


def test_a_conversation_stays_warm_where_its_prompt_was_sent(clock: SetClock) -> None:
    rates = (Rate(Unit.CACHED_READ, 0, 10**8), Rate(Unit.COMPLETION, 0, 10**9))
    keeps = offer("here/a", price=Price(1, (*rates, Rate(Unit.PROMPT, 0, 10**9))))
    warmth = Warmth(clock)  # type: ignore[arg-type]  # only its monotonic time is read
    first = chat("A long question")
    warmth.answered("orgs/a", first, keeps, Usage(prompt=2_000))
    following = chat("A long question", "An answer", "And then?")
    warm = warmth.warm("orgs/a", following)
    assert warm is not None
    assert (warm.offer, warm.tokens) == ("here/a", 2_000)
    assert warm.saved_nanousd(keeps, 2_100) == pytest.approx(2_000 * 900)
    assert warmth.warm("orgs/b", following) is None
    assert warmth.warm("orgs/a", chat("Another", "An answer", "And then?")) is None
    clock.at += WARM_SECONDS
    assert warmth.warm("orgs/a", following) is None


def test_what_no_provider_keeps_is_not_warm(clock: SetClock) -> None:
    warmth = Warmth(clock)  # type: ignore[arg-type]  # as above
    warmth.answered("orgs/a", chat("Short"), offer("here/a"), Usage(prompt=9_000))
    assert warmth.warm("orgs/a", chat("Short", "Yes", "And?")) is None
