"""Fixtures of a real Redis."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis_rig import WAIT_SECONDS, RedisServer, Seen

from omni_grpc.limits import SharedLimits


@pytest.fixture(scope="session")
def redis_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """The session's, empty."""
    redis_session.ask("FLUSHALL")
    return redis_session


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One of the test's own, started."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def shared(redis_server: RedisServer, seen: Seen) -> AsyncIterator[SharedLimits]:
    """Limits on the session's Redis."""
    limits = SharedLimits(redis_server.url, seen, wait_s=WAIT_SECONDS)
    await limits.start()
    assert limits.is_up
    yield limits
    await limits.close()
