"""Several workers on one Redis admit the limit together, and each of them without it."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import command
from gateway import (
    Gateway,
    HttpConnection,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    eventually,
    running,
)
from limited import limit
from redis_rig import RedisServer

WORKERS = 3
CALLERS = 45


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def limited(gateway: Gateway, **limits: int) -> Tenant:
    """A new organisation with this limit."""
    tenant = gateway.tenant()
    limit(gateway, tenant, **limits)
    return tenant


async def statuses(gateway: Gateway, tenant: Tenant) -> list[int]:
    """How so many callers fare at once, each on a connection of its own: so with every worker."""

    async def call() -> int:
        body = {"model": "sim/fast", "messages": [{"role": "user", "content": "Hello."}]}
        async with await RestCall.send(gateway, tenant.api_key, body) as asked:
            return (await asked.answer())[0]

    return await asyncio.gather(*(call() for _ in range(CALLERS)))


def redis_up(gateway: Gateway) -> float:
    """How many workers count in Redis, by their own account."""
    with HttpConnection(gateway, None) as connection:
        lines = connection.ask("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("omni_redis_up "))


async def test_workers_keep_a_limit_together_and_alone_while_redis_is_away(
    own_gateway: Gateway, redis: RedisServer, simulator: SimulatorThread
) -> None:
    own_gateway.workers = WORKERS
    # A machine that is busy with tests may be late; what is tried here is who counts.
    own_gateway.environment = {"OMNI_REDIS_URL": redis.url, "OMNI_REDIS_WAIT_MS": "5000"}
    with running(own_gateway):
        assert await asyncio.to_thread(eventually, lambda: redis_up(own_gateway) == WORKERS)
        tenant = limited(own_gateway, requests_per_minute=20, tokens_per_minute=10**9)
        found = await statuses(own_gateway, tenant)
        assert sorted(found) == [200] * 20 + [429] * (CALLERS - 20)
        assert set(await statuses(own_gateway, tenant)) == {429}

        tenant = limited(own_gateway, concurrent_count=2)
        gate = uuid.uuid4().hex
        simulator.close_gate(gate)
        body = {
            "model": "sim/fast",
            "stream": True,
            "messages": [{"role": "user", "content": asking(f"gate={gate}")}],
        }
        async with (
            await RestCall.send(own_gateway, tenant.api_key, body),
            await RestCall.send(own_gateway, tenant.api_key, body),
        ):
            waiting = lambda: simulator.waiting(gate) == 2  # noqa: E731 - said once
            assert await asyncio.to_thread(eventually, waiting)
            assert set(await statuses(own_gateway, tenant)) == {429}
        simulator.open_gate(gate)

        tenant = limited(own_gateway, requests_per_minute=10)
        redis.kill()
        found = await statuses(own_gateway, tenant)
        assert 10 <= found.count(200) <= 10 * WORKERS, "each worker for itself"
        assert await asyncio.to_thread(eventually, lambda: redis_up(own_gateway) == 0, 30.0)
        doctor = await asyncio.to_thread(command, own_gateway, "doctor", OMNI_REDIS_URL=redis.url)
        assert doctor.code == 1
        assert "cannot count limits" in doctor.out

        redis.start()
        assert await asyncio.to_thread(eventually, lambda: redis_up(own_gateway) == WORKERS)
        tenant = limited(own_gateway, requests_per_minute=10)
        found = await statuses(own_gateway, tenant)
        assert found.count(200) == 10
    log = own_gateway.log()
    assert log.count("redis_away") >= WORKERS
    assert "redis_answers" in log
