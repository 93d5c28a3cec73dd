"""Limits that several workers count in one Redis."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis_rig import WAIT_SECONDS, RedisServer, Seen

from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import RateLimited
from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import RateRule
from omni_grpc.limits import Claim, Kind, LocalLimits, RateLimits, SharedLimits, Spent
from omni_grpc.limits.shared import Return

ORG = OrgId(7)
OTHER_ORG = OrgId(8)
LEASE_S = 2.5
ABSENT_S = 1.0
"""How long a Redis that may be away is waited for: longer than a busy machine stands still."""


def asked(amount: int = 1, limit: int = 3, rule: int = 1, kind: Kind = Kind.TOKENS) -> Claim:
    return Claim(rule, f"orgs/acme/rateLimits/r{rule}", kind, limit, amount)


async def admitted(limits: SharedLimits, *claims: Claim, lease: str = "a") -> bool:
    verdict = await limits.take(ORG, claims, lease)
    assert verdict is not None, "Redis gave no answer"
    return verdict.admitted


@asynccontextmanager
async def workers(
    server: RedisServer, count: int, *, window_s: float = 60.0, lease_s: float = 30.0
) -> AsyncIterator[list[SharedLimits]]:
    made = [
        SharedLimits(server.url, Seen(), window_s=window_s, lease_s=lease_s, wait_s=WAIT_SECONDS)
        for _ in range(count)
    ]
    for one in made:
        await one.start()
        assert one.is_up
    try:
        yield made
    finally:
        for one in made:
            await one.close()


async def until(check: object, seconds: float = 10.0) -> bool:
    assert callable(check)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_three_workers_admit_the_limit_together(redis_server: RedisServer) -> None:
    async with workers(redis_server, 3) as found:
        claims = [asked(limit=20, kind=Kind.REQUESTS), asked(limit=1000, rule=2)]
        verdicts = await asyncio.gather(
            *(admitted(found[n % 3], *claims, lease=str(n)) for n in range(90))
        )
        assert sum(verdicts) == 20


async def test_no_stretch_of_a_window_has_more_than_the_limit(redis_server: RedisServer) -> None:
    window_s, limit = 0.9, 10
    counted: list[tuple[float, float]] = []

    async def ask_on(limits: SharedLimits) -> None:
        end = time.monotonic() + 20.0
        while len(counted) < 3 * limit:
            assert time.monotonic() < end, "room never came back"
            began = time.monotonic()
            if await admitted(limits, asked(limit=limit, kind=Kind.REQUESTS)):
                counted.append((began, time.monotonic()))
            await asyncio.sleep(0.005)

    async with workers(redis_server, 3, window_s=window_s) as found:
        await asyncio.gather(*(ask_on(one) for one in found))
    # Redis counted each between these two times, so only what lies wholly within is sure to be.
    for start, _ in counted:
        within = [one for one in counted if one[0] >= start and one[1] < start + window_s]
        assert len(within) <= limit


async def test_all_claims_are_counted_or_none(shared: SharedLimits) -> None:
    wide, narrow = asked(limit=2, rule=1), asked(limit=1, rule=2)
    place = asked(limit=1, rule=3, kind=Kind.CONCURRENT)
    assert await admitted(shared, wide, narrow, place)
    assert not await admitted(shared, wide, narrow)
    assert not await admitted(shared, wide, place, lease="b")
    assert await admitted(shared, wide), "the refused calls were counted"


async def test_organisations_do_not_share_a_count(shared: SharedLimits) -> None:
    assert await admitted(shared, asked(limit=1))
    other = await shared.take(OTHER_ORG, [asked(limit=1)], "a")
    assert other is not None
    assert other.admitted


async def test_a_refusal_says_when_there_is_room(shared: SharedLimits) -> None:
    assert await admitted(shared, asked(3, 5))
    verdict = await shared.take(ORG, [asked(3, 5)], "b")
    assert verdict is not None
    (answer,) = verdict.answers
    assert answer.used == 3
    assert answer.wait_s is not None
    assert 0 < answer.wait_s <= answer.reset_s <= 61


async def test_what_is_given_back_can_be_taken_again(shared: SharedLimits) -> None:
    verdict = await shared.take(ORG, [asked(5, 5)], "a")
    assert verdict is not None
    shared.give_back(ORG, "a", [Return(asked(5, 5), verdict.bucket, 4)])
    assert await _in_time(shared, asked(4, 5))
    assert not await admitted(shared, asked(1, 5))


async def test_giving_back_what_redis_forgot_frees_nothing(
    shared: SharedLimits, redis_server: RedisServer
) -> None:
    verdict = await shared.take(ORG, [asked(5, 5)], "a")
    assert verdict is not None
    redis_server.ask("FLUSHALL")
    assert await admitted(shared, asked(3, 5))
    shared.give_back(ORG, "a", [Return(asked(5, 5), verdict.bucket - 1, 5)])
    place = asked(limit=9, rule=2, kind=Kind.CONCURRENT)
    assert await admitted(shared, place)  # what was given back before is there by now
    assert not await admitted(shared, asked(3, 5))


HOLD_A_PLACE = """
import asyncio, sys
from omni_grpc.core.ids import OrgId
from omni_grpc.limits import Claim, Kind, SharedLimits

class Deaf:
    def redis_changed(self, *, is_up): pass

async def main():
    limits = SharedLimits(sys.argv[1], Deaf(), lease_s=float(sys.argv[2]), wait_s=10)
    await limits.start()
    claim = Claim(1, "orgs/acme/rateLimits/r1", Kind.CONCURRENT, 2, 1)
    assert (await limits.take(OrgId(7), [claim], "killed")).admitted
    print("held", flush=True)
    await limits.run()

asyncio.run(main())
"""


@pytest.fixture
def other_process(redis_server: RedisServer) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of another process, which has a place and renews it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_PLACE, redis_server.url, str(LEASE_S)],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        while b"held" not in process.stdout.readline():
            assert process.poll() is None
        yield process
        process.kill()


async def test_the_place_of_a_killed_worker_is_free_when_its_lease_is_over(
    redis_server: RedisServer, other_process: "subprocess.Popen[bytes]"
) -> None:
    place = asked(limit=2, kind=Kind.CONCURRENT)
    async with workers(redis_server, 1, lease_s=LEASE_S) as (alive,):
        renewing = asyncio.create_task(alive.run())
        assert await admitted(alive, place, lease="a1")
        end = time.monotonic() + 1.5 * LEASE_S
        while time.monotonic() < end:  # longer than a lease: it is renewed
            assert not await admitted(alive, place, lease="a2")
            await asyncio.sleep(0.05)
        other_process.kill()
        assert await _in_time(alive, place, lease="a3")
        assert not await admitted(alive, place, lease="a4"), "a renewed lease was over"
        renewing.cancel()


async def test_keys_expire_by_themselves(shared: SharedLimits, redis_server: RedisServer) -> None:
    await admitted(shared, asked(), asked(rule=2, kind=Kind.CONCURRENT))
    keys = redis_server.ask("KEYS", "*")
    assert isinstance(keys, list)
    assert len(keys) == 3  # and the probe's
    for key in keys:
        left_ms = redis_server.ask("PTTL", key)
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= 62_000


# --- a Redis that goes away -----------------------------------------------------------------------
def rates(shared: SharedLimits | None, seen: Seen) -> RateLimits:
    return RateLimits(LocalLimits(SystemClock()), shared, seen)


RULE = RateRule(id=1, name="orgs/acme/rateLimits/r", requests_per_minute=4)


async def begun(limits: RateLimits, calls: int, rule: RateRule = RULE) -> int:
    """How many of so many calls may begin."""
    count = 0
    for n in range(calls):
        try:
            await limits.open(ORG, (rule,), f"{id(limits)}-{n}").take("sim/fast", 10)
        except RateLimited:
            continue
        count += 1
    return count


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_without_redis_each_worker_keeps_the_limit_and_redis_comes_back(
    own_redis: RedisServer, how: str
) -> None:
    seen, other_seen = Seen(), Seen()
    shared = SharedLimits(own_redis.url, seen, wait_s=ABSENT_S)
    other = SharedLimits(own_redis.url, other_seen, wait_s=ABSENT_S)
    await shared.start()
    await other.start()
    tasks = [asyncio.create_task(one.run()) for one in (shared, other)]
    here, there = rates(shared, seen), rates(other, other_seen)
    assert await begun(here, 2) == 2
    if how == "killed":
        own_redis.kill()
    else:
        own_redis.pause()
    began = time.monotonic()
    assert await begun(here, 10) == 2, "what it admitted with Redis counts too"
    assert await begun(there, 10) == 4, "each worker for itself"
    assert time.monotonic() - began < 10 * ABSENT_S, "every call waited"
    assert seen.redis == [True, False]
    if how == "killed":
        own_redis.start()
    else:
        own_redis.go_on()
    assert await until(lambda: shared.is_up and other.is_up)
    assert seen.redis == [True, False, True]
    fresh = RateRule(id=2, name="orgs/acme/rateLimits/s", requests_per_minute=3)
    assert await begun(here, 2, fresh) + await begun(there, 9, fresh) == 3
    for task in tasks:
        task.cancel()
    await shared.close()
    await other.close()


async def test_running_calls_are_told_to_a_redis_that_forgot_them(own_redis: RedisServer) -> None:
    seen = Seen()
    shared = SharedLimits(own_redis.url, seen, wait_s=WAIT_SECONDS)
    await shared.start()
    keeping = asyncio.create_task(shared.run())
    rule = RateRule(id=1, name="orgs/acme/rateLimits/r", concurrent=2)
    running = rates(shared, seen).open(ORG, (rule,), "first")
    await running.take("sim/fast", 1)
    own_redis.kill()
    assert await begun(rates(shared, seen), 1, rule) == 1, "begun while Redis is away"
    own_redis.start()
    assert await until(lambda: own_redis.ask("ZCARD", "omni:limits:{7}:1:c") == 2)
    running.leave()
    assert await until(lambda: own_redis.ask("ZCARD", "omni:limits:{7}:1:c") == 1)
    keeping.cancel()
    await shared.close()


async def test_a_call_that_is_left_while_redis_is_asked_is_not_counted(
    own_redis: RedisServer,
) -> None:
    seen = Seen()
    shared = SharedLimits(own_redis.url, seen, wait_s=WAIT_SECONDS)
    await shared.start()
    limits = rates(shared, seen)
    own_redis.pause()
    rule = RateRule(id=1, name="orgs/acme/rateLimits/r", requests_per_minute=1, concurrent=1)
    left = asyncio.create_task(limits.open(ORG, (rule,), "left").take("sim/fast", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait((left,))
    assert left.cancelled()
    own_redis.go_on()

    async def has_room() -> bool:
        return await begun(limits, 1, rule) == 1

    end = time.monotonic() + 10
    while not await has_room():
        assert time.monotonic() < end, "the place was never given back"
        await asyncio.sleep(0.01)
    await shared.close()


async def test_tokens_that_were_not_used_are_there_for_all_workers(
    redis_server: RedisServer,
) -> None:
    rule = RateRule(id=1, name="orgs/acme/rateLimits/r", tokens_per_minute=100)
    async with workers(redis_server, 2) as (one, two):
        here, there = rates(one, Seen()), rates(two, Seen())
        call = here.open(ORG, (rule,), "a")
        await call.take("sim/fast", 90)
        with pytest.raises(RateLimited):
            await there.open(ORG, (rule,), "b").take("sim/fast", 90)
        call.settle([Spent("sim/fast", 10)])
        last = there.open(ORG, (rule,), "c")
        end = time.monotonic() + 10
        while True:
            try:
                await last.take("sim/fast", 90)
            except RateLimited:
                assert time.monotonic() < end, "nothing was given back"
                await asyncio.sleep(0.01)
            else:
                break
        assert last.standings is not None
        assert last.standings.tokens is not None
        assert last.standings.tokens.remaining == 0


async def _in_time(limits: SharedLimits, *claims: Claim, lease: str = "z") -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if await admitted(limits, *claims, lease=lease):
            return True
        await asyncio.sleep(0.02)
    return False
