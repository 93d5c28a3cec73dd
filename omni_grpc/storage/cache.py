"""A small cache in front of slow look-ups, over aiocache, with the bounds that it lacks.

It never holds more than `size_max` entries, nor one for longer than its time to live; many callers
who miss the same key wait for one look-up; errors are never kept. Keys are stored as hashes, since
some are secrets, and values must be frozen, since every caller gets the same object. Balances have
no place here: what may be spent is decided by the ledger alone.
"""

import asyncio
import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import MappingProxyType, NoneType
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from aiocache import SimpleMemoryCache

from omni_grpc.core.clock import Clock, SystemClock

V = TypeVar("V")

PLAIN_TYPES: Final = frozenset(
    {NoneType, bool, int, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta}
)


class BoundedCache(Generic[V]):
    """Values by key, each looked up at most once per time to live. For one event loop.

    Args:
        size_max: the most entries; the least recently used goes first.
        ttl_s: how long a value may be believed.
        negative_ttl_s: how long a look-up's None may be believed; None keeps no None.
        clock: whose monotonic time counts.
    """

    def __init__(
        self,
        *,
        size_max: int,
        ttl_s: float,
        negative_ttl_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if size_max < 1 or ttl_s <= 0:
            raise ValueError(f"A cache needs room and time, not {size_max=} and {ttl_s=}.")
        self._size_max = size_max
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._clock = clock or SystemClock()
        # timeout=None: else each call would run in a wait_for of its own.
        self._backend = SimpleMemoryCache(timeout=None)
        self._recent: OrderedDict[str, None] = OrderedDict()  # least recently used first
        self._lookups: dict[str, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._recent)

    async def get(self, key: str | bytes, load: Callable[[], Awaitable[V]]) -> V:
        """The value of a key: a kept one, or what `load` returns.

        The look-up runs in a task of its own, shared by all who wait for this key; a cancelled
        caller does not stop it for the others.

        Raises:
            TypeError: `load` returned something that callers could change.
            Exception: whatever `load` raised; it is not kept.
        """
        digest = _digest(key)
        if digest in self._recent:
            entry: tuple[V, float] | None = await self._backend.get(digest)
            if entry is not None and self._clock.monotonic() < entry[1]:
                self._recent.move_to_end(digest)
                return entry[0]
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(digest, load))
            lookup.add_done_callback(_observe)
            self._lookups[digest] = lookup
        return await asyncio.shield(lookup)

    async def invalidate(self, key: str | bytes) -> None:
        """Forget a key. A look-up that runs now still answers its callers, and is not kept."""
        digest = _digest(key)
        self._lookups.pop(digest, None)
        self._recent.pop(digest, None)
        await self._backend.delete(digest)

    async def clear(self) -> None:
        """Forget every key, as `invalidate` does for one."""
        self._lookups.clear()
        forgotten = list(self._recent)
        self._recent.clear()
        for digest in forgotten:
            await self._backend.delete(digest)

    async def _look_up(self, digest: str, load: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await load()
            if not is_frozen(value):
                raise TypeError(
                    f"A cache hands the same object to every caller, so it keeps frozen values "
                    f"only, and {type(value).__qualname__} is not. Use a frozen Struct, a tuple "
                    "or a frozenset, with frozen values inside."
                )
            if self._lookups.get(digest) is asyncio.current_task():
                await self._keep(digest, value)
            return value
        finally:
            if self._lookups.get(digest) is asyncio.current_task():
                del self._lookups[digest]

    async def _keep(self, digest: str, value: V) -> None:
        ttl_s = self._ttl_s if value is not None else self._negative_ttl_s
        if ttl_s is None:
            return
        # The backend's own timer frees the memory; the entry's time is what is believed.
        await self._backend.set(digest, (value, self._clock.monotonic() + ttl_s), ttl=ttl_s)
        self._recent[digest] = None
        self._recent.move_to_end(digest)
        if len(self._recent) > self._size_max:
            oldest, _ = self._recent.popitem(last=False)
            await self._backend.delete(oldest)


def is_frozen(value: object) -> bool:
    """Whether nobody can change this value, nor anything inside it."""
    if type(value) in PLAIN_TYPES or isinstance(value, Enum | PurePath):
        return True
    if isinstance(value, tuple | frozenset):
        return all(map(is_frozen, value))
    if isinstance(value, MappingProxyType):
        return all(is_frozen(part) for item in value.items() for part in item)
    if isinstance(value, msgspec.Struct):
        fields = value.__struct_fields__
        return value.__struct_config__.frozen and all(is_frozen(getattr(value, f)) for f in fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        frozen: bool = getattr(value, "__dataclass_params__").frozen  # noqa: B009 - not in typeshed
        names = [field.name for field in dataclasses.fields(value)]
        return frozen and all(is_frozen(getattr(value, name)) for name in names)
    return False


def _digest(key: str | bytes) -> str:
    raw = key.encode() if isinstance(key, str) else key
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _observe(lookup: asyncio.Task[Any]) -> None:  # of any value type
    """Look at the error, so that asyncio does not report it lost when every caller is gone."""
    if not lookup.cancelled():
        lookup.exception()
