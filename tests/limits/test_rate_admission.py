"""What a call counts in its limits: over its attempts, its end, and where there is no room."""

from datetime import UTC, datetime

import pytest
from redis_rig import Seen

from omni_grpc.core.errors import RateLimited
from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import RateRule
from omni_grpc.limits import LocalLimits, RateLimits, Spent

ORG = OrgId(1)


class Still:
    def monotonic(self) -> float:
        return 1000.5

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC)


@pytest.fixture
def limits(seen: Seen) -> RateLimits:
    return RateLimits(LocalLimits(Still()), None, seen)


def rule(number: int = 1, *models: str, **limits: int) -> RateRule:
    return RateRule(
        id=number,
        name=f"orgs/acme/rateLimits/r{number}",
        models=models,
        requests_per_minute=limits.get("requests"),
        tokens_per_minute=limits.get("tokens"),
        concurrent=limits.get("concurrent"),
    )


async def refusal(limits: RateLimits, *rules: RateRule, tokens: int = 1) -> RateLimited:
    with pytest.raises(RateLimited) as found:
        await limits.open(ORG, rules, "r").take("sim/fast", tokens)
    return found.value


async def test_a_refusal_names_the_limit_that_has_room_last(limits: RateLimits) -> None:
    rules = (rule(1, concurrent=1), rule(2, requests=1))
    await limits.open(ORG, rules, "a").take("sim/fast", 1)
    error = await refusal(limits, *rules)
    assert error.metadata["rate_limit"] == "orgs/acme/rateLimits/r2"
    assert error.metadata["kind"] == "requests"
    assert error.retry_after_s == pytest.approx(60.5)
    assert "orgs/acme/rateLimits/r2" in error.message
    assert error.retryable is None


async def test_a_call_larger_than_its_limit_is_told_so(limits: RateLimits, seen: Seen) -> None:
    error = await refusal(limits, rule(tokens=100), tokens=101)
    assert error.retry_after_s is None
    assert error.retryable is False
    assert "101" in error.message
    assert seen.refused == ["tokens"]


async def test_limits_of_other_models_do_not_meet_a_call(limits: RateLimits) -> None:
    call = limits.open(ORG, (rule(1, "openai/*", requests=1),), "a")
    await call.take("sim/fast", 1)
    assert call.standings is None


async def test_a_fallback_counts_no_second_request_and_no_second_place(
    limits: RateLimits,
) -> None:
    rules = (rule(1, requests=2, concurrent=1, tokens=100), rule(2, "sim/slow", requests=1))
    call = limits.open(ORG, rules, "a")
    await call.take("sim/fast", 60)
    await call.take("sim/slow", 60)
    assert call.standings is not None
    assert call.standings.requests is not None
    assert call.standings.requests.remaining == 0  # of the one for sim/slow
    call.leave()
    await limits.open(ORG, rules, "b").take("sim/fast", 40)


async def test_a_fallback_reserves_what_its_earlier_attempt_used_up(limits: RateLimits) -> None:
    call = limits.open(ORG, (rule(tokens=100),), "a")
    await call.take("sim/fast", 60)
    with pytest.raises(RateLimited):
        await call.take("sim/slow", 60, [Spent("sim/fast", 50)])
    await call.take("sim/slow", 50, [Spent("sim/fast", 50)])
    await refusal(limits, rule(tokens=100), tokens=1)
    call.settle([Spent("sim/fast", 50), Spent("sim/slow", 10)])
    await refusal(limits, rule(tokens=100), tokens=41)
    await limits.open(ORG, (rule(tokens=100),), "b").take("sim/fast", 40)


async def test_tokens_used_beyond_the_reservation_count_too(limits: RateLimits) -> None:
    call = limits.open(ORG, (rule(tokens=100),), "a")
    await call.take("sim/fast", 10)
    call.settle([Spent("sim/fast", 30)])
    await refusal(limits, rule(tokens=100), tokens=71)
    await limits.open(ORG, (rule(tokens=100),), "b").take("sim/fast", 70)


async def test_a_limit_for_models_counts_their_tokens_alone(limits: RateLimits) -> None:
    rules = (rule(1, "sim/fast", tokens=100),)
    call = limits.open(ORG, rules, "a")
    await call.take("sim/fast", 100)
    call.settle([Spent("sim/fast", 0), Spent("sim/slow", 100)])
    await limits.open(ORG, rules, "b").take("sim/fast", 100)


async def test_leaving_and_settling_twice_gives_back_once(limits: RateLimits) -> None:
    rules = (rule(concurrent=2, tokens=100),)
    first, second = limits.open(ORG, rules, "a"), limits.open(ORG, rules, "b")
    await first.take("sim/fast", 50)
    await second.take("sim/fast", 50)
    for _ in range(2):
        first.leave()
        first.settle([])
    await limits.open(ORG, rules, "c").take("sim/fast", 50)
    await refusal(limits, *rules)


async def test_a_call_that_began_before_its_model_was_known_counts_once(
    limits: RateLimits,
) -> None:
    rules = (rule(1, requests=2, concurrent=2, tokens=100), rule(2, "sim/fast", requests=1))
    call = limits.open(ORG, rules, "a")
    await call.begin()
    await call.take("sim/fast", 60)
    await limits.open(ORG, rules, "b").take("sim/slow", 40)
    error = await refusal(limits, *rules)
    assert error.metadata["kind"] in ("requests", "concurrent", "tokens")
    call.settle([])
    call.leave()
    call.cancel()  # as if nothing had come of it
    await limits.open(ORG, rules, "c").take("sim/fast", 60)
