"""Runs scripts in Redis, in batches: while one batch is on its way, the next one gathers.

A batch is one round trip on one connection, and all scripts run in the order in which they were
asked for. What waits here waits for this worker's turn; the time limit is that of Redis' answer to
a batch. When it is over, everything that waits is told so at once.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

BATCH_MAX: Final = 16
"""Scripts in one batch: it takes Redis about a millisecond, far less than a call waits for it."""

CONNECTIONS_MAX: Final = 2
"""One for the batches, and one to ask whether Redis is there."""

LOOK_SECONDS_MAX: Final = 1.0
"""How long Redis may take to connect and to answer where no call waits for it."""

LATE_SECONDS: Final = 0.005
"""A wait that ends so much after its time says that this worker was busy, not that Redis is away:
then it waits once more."""


class RedisAwayError(Exception):
    """Redis gives no answer, or none that can be used. The message says why."""


class Script(NamedTuple):
    """A script, and what it is asked."""

    text: str
    keys: Sequence[str]
    arguments: Sequence[str | int]


class ScriptLane:
    """One connection's turns. For one event loop.

    Args:
        url: redis:// or rediss://; never logged.
        wait_s: how long Redis may take to answer a batch.
        lost: is told why, when Redis gives no answer.
    """

    def __init__(self, url: str, *, wait_s: float, lost: Callable[[str], None]) -> None:
        limit_s = max(LOOK_SECONDS_MAX, wait_s)
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=limit_s,
            socket_timeout=limit_s,
            socket_connect_timeout=limit_s,
            retry=Retry(NoBackoff(), 0),  # a script that was sent twice would count twice
        )
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._look_s = limit_s
        self._wait_s = wait_s
        self._lost = lost
        self._hashes: dict[str, str] = {}
        self._waiting: deque[tuple[Script, asyncio.Future[list[int]]]] = deque()
        self._sending: asyncio.Task[None] | None = None

    def ask(self, script: Script) -> "asyncio.Future[list[int]]":
        """What the script returns; RedisAwayError if Redis is lost until then."""
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_observe)
        self._waiting.append((script, answer))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return answer

    async def fault(self, script: Script) -> str | None:
        """Why this script cannot run; None if it did. It waits for no batch."""
        try:
            async with asyncio.timeout(self._look_s):
                await self._redis.eval(
                    script.text, len(script.keys), *script.keys, *script.arguments
                )
        except (RedisError, OSError, TimeoutError) as error:
            return _words(error)
        return None

    async def forget_connections(self) -> None:
        """Closes those that are idle: after a failure they are dead ones."""
        await self._pool.disconnect(inuse_connections=False)

    async def close(self, seconds: float) -> None:
        """Sends what waits, for so long, then closes the connections."""
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=seconds)
            self._sending.cancel()
        self._give_up(RedisAwayError("this worker stops"))
        await self._redis.aclose()
        await self._pool.aclose()

    # --- batches ------------------------------------------------------------------------------
    async def _send(self) -> None:
        while self._waiting:
            count = min(BATCH_MAX, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                found = await self._answers([script for script, _ in batch])
            except (RedisError, OSError, TimeoutError) as error:
                away = RedisAwayError(_words(error))
                self._waiting.extendleft(reversed(batch))
                self._give_up(away)
                self._lost(str(away))
                return
            for (_, answer), one in zip(batch, found, strict=True):
                if answer.done():
                    continue
                if isinstance(one, Exception):
                    answer.set_exception(RedisAwayError(_words(one)))
                else:
                    answer.set_result(one)
            refused = next((one for one in found if isinstance(one, Exception)), None)
            if refused is not None:  # read-only, full, without this script: it does not count
                self._lost(_words(refused))

    async def _answers(self, scripts: list[Script]) -> list[list[int] | Exception]:
        pipeline = self._redis.pipeline(transaction=False)
        for script in scripts:
            keys = script.keys
            pipeline.evalsha(self._hash(script.text), len(keys), *keys, *script.arguments)
        task = asyncio.ensure_future(pipeline.execute(raise_on_error=False))
        try:
            now = asyncio.get_running_loop().time
            due = now() + self._wait_s
            await asyncio.wait((task,), timeout=self._wait_s)
            if not task.done() and now() > due + LATE_SECONDS:
                await asyncio.wait((task,), timeout=self._wait_s)  # it was us who were late
            if not task.done():
                raise TimeoutError(f"no answer within {self._wait_s * 1000:g} ms")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    def _give_up(self, away: RedisAwayError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            if not answer.done():
                answer.set_exception(away)

    def _hash(self, script: str) -> str:
        found = self._hashes.get(script)
        if found is None:
            found = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            self._hashes[script] = found
        return found


def _words(error: BaseException) -> str:
    """A failure in words; redis-py's own name an address at most, never a secret."""
    return str(error) or type(error).__name__


def _observe(answer: "asyncio.Future[list[int]]") -> None:
    """Look at the error, so that asyncio does not report it lost where nobody waits for it."""
    if not answer.cancelled():
        answer.exception()
