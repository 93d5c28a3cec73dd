"""The cache: bounded, short-lived, one look-up for many callers, and frozen values only."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType

import msgspec
import pytest

from omni_grpc.storage import BoundedCache
from omni_grpc.storage.cache import is_frozen


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.moved_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.moved_s)

    def monotonic(self) -> float:
        return self.moved_s


class Source:
    """What the cache stands in front of; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def load(self, key: str) -> Callable[[], Awaitable[str]]:
        async def look_up() -> str:
            self.asked.append(key)
            await self.gate.wait()
            return f"{key} #{len(self.asked)}"

        return look_up


async def asked(source: Source, times: int) -> None:
    """Let the loop run until the source was asked so often."""
    for _ in range(100):
        if len(source.asked) >= times:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the source was asked {len(source.asked)} times, not {times}")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cache(clock: HandClock) -> BoundedCache[str]:
    return BoundedCache(size_max=3, ttl_s=5, clock=clock)


async def test_a_value_is_looked_up_once_within_its_time(
    cache: BoundedCache[str], clock: HandClock
) -> None:
    source = Source()
    assert await cache.get("a", source.load("a")) == "a #1"
    clock.moved_s = 4.9
    assert await cache.get("a", source.load("a")) == "a #1"
    clock.moved_s = 5
    assert await cache.get("a", source.load("a")) == "a #2"
    clock.moved_s = 9.9
    assert await cache.get("a", source.load("a")) == "a #2"


async def test_it_never_grows_past_its_bound_and_drops_the_least_used(
    cache: BoundedCache[str],
) -> None:
    source = Source()
    for key in ("a", "b", "c", "a", "d"):
        await cache.get(key, source.load(key))
        assert len(cache) <= 3
    assert len(cache._backend._cache) == 3
    source.asked.clear()
    for key in ("a", "c", "d"):
        await cache.get(key, source.load(key))
    assert source.asked == []
    await cache.get("b", source.load("b"))
    assert source.asked == ["b"]


async def test_many_callers_wait_for_one_look_up(cache: BoundedCache[str]) -> None:
    source = Source()
    source.gate.clear()
    calls = [asyncio.create_task(cache.get("a", source.load("a"))) for _ in range(50)]
    await asked(source, 1)
    source.gate.set()
    assert set(await asyncio.gather(*calls)) == {"a #1"}
    assert source.asked == ["a"]


async def test_a_cancelled_caller_does_not_stop_the_others(cache: BoundedCache[str]) -> None:
    source = Source()
    source.gate.clear()
    first = asyncio.create_task(cache.get("a", source.load("a")))
    second = asyncio.create_task(cache.get("a", source.load("a")))
    await asked(source, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert await second == "a #1"


async def test_an_error_reaches_every_caller_and_is_not_kept(cache: BoundedCache[str]) -> None:
    tries: list[int] = []

    async def fails() -> str:
        tries.append(1)
        await asyncio.sleep(0)
        raise KeyError("no")

    calls = [asyncio.create_task(cache.get("a", fails)) for _ in range(3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeyError] * 3
    assert len(tries) == 1
    assert await cache.get("a", Source().load("a")) == "a #1"


async def test_an_invalidated_key_is_looked_up_again(cache: BoundedCache[str]) -> None:
    source = Source()
    await cache.get("a", source.load("a"))
    await cache.get("b", source.load("b"))
    await cache.invalidate("a")
    await cache.invalidate("never seen")
    assert await cache.get("a", source.load("a")) == "a #3"
    assert await cache.get("b", source.load("b")) == "b #2"
    await cache.clear()
    assert len(cache) == 0
    assert await cache.get("b", source.load("b")) == "b #4"


@pytest.mark.parametrize("everything", [False, True])
async def test_a_look_up_older_than_its_invalidation_is_not_kept(
    cache: BoundedCache[str], everything: bool
) -> None:
    source = Source()
    source.gate.clear()
    early = asyncio.create_task(cache.get("a", source.load("a")))
    await asked(source, 1)
    await (cache.clear() if everything else cache.invalidate("a"))
    late = asyncio.create_task(cache.get("a", source.load("a")))
    await asked(source, 2)
    source.gate.set()
    await asyncio.gather(early, late)
    assert await cache.get("a", source.load("a")) == await late
    assert len(source.asked) == 2


async def test_a_none_is_kept_only_where_that_is_asked_for_and_for_its_own_time(
    clock: HandClock,
) -> None:
    tries: list[int] = []

    async def nothing() -> str | None:
        tries.append(1)
        return None

    forgetful: BoundedCache[str | None] = BoundedCache(size_max=3, ttl_s=5, clock=clock)
    keeping: BoundedCache[str | None] = BoundedCache(
        size_max=3, ttl_s=5, negative_ttl_s=1, clock=clock
    )
    for _ in range(2):
        assert await forgetful.get("a", nothing) is None
    assert len(tries) == 2
    for _ in range(2):
        assert await keeping.get("a", nothing) is None
    assert len(tries) == 3
    clock.moved_s = 1
    assert await keeping.get("a", nothing) is None
    assert len(tries) == 4


async def test_keys_are_kept_as_hashes(cache: BoundedCache[str]) -> None:
    await cache.get("sk-secret", Source().load("a"))
    await cache.get(b"sk-secret", Source().load("b"))
    assert len(cache) == 1
    assert "sk-secret" not in repr(vars(cache)) + repr(vars(cache._backend))


async def test_a_value_that_callers_could_change_is_refused() -> None:
    cache: BoundedCache[list[int]] = BoundedCache(size_max=3, ttl_s=5)

    async def changeable() -> list[int]:
        return [1]

    with pytest.raises(TypeError, match="frozen values only"):
        await cache.get("a", changeable)
    assert len(cache) == 0


class Frozen(msgspec.Struct, frozen=True):
    inner: object


class Loose(msgspec.Struct):
    inner: object


@dataclasses.dataclass(frozen=True)
class FrozenData:
    inner: object


@dataclasses.dataclass
class LooseData:
    inner: object


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        "a",
        Decimal(1),
        Colour.RED,
        (1, ("a", b"b")),
        frozenset({1}),
        Frozen(Frozen(1)),
        FrozenData((1,)),
        MappingProxyType({"a": 1}),
    ],
)
def test_what_cannot_change_is_frozen(value: object) -> None:
    assert is_frozen(value)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {1},
        bytearray(),
        ([],),
        Loose(1),
        Frozen([]),
        LooseData(1),
        FrozenData({}),
        FrozenData,
        MappingProxyType({"a": []}),
        object(),
    ],
)
def test_what_can_change_is_not_frozen(value: object) -> None:
    assert not is_frozen(value)


@pytest.mark.parametrize(("size_max", "ttl_s"), [(0, 1.0), (1, 0.0)])
def test_a_cache_without_room_or_time_is_refused(size_max: int, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="room and time"):
        BoundedCache(size_max=size_max, ttl_s=ttl_s)
