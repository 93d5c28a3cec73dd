"""Limits that all replicas count together, in Redis: one script a call, by Redis' own clock.

A Redis that does not answer costs a call a bounded wait, and the calls after it none: they are told
at once that there is no answer, until Redis is back. Nothing that it may have counted is ever given
back on a guess, so it counts too much rather than too little.
"""

import asyncio
import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from omni_grpc.core.ids import OrgId
from omni_grpc.limits.local import CONCURRENT_WAIT_SECONDS
from omni_grpc.limits.model import (
    BUCKET_COUNT,
    WINDOW_SECONDS,
    Answer,
    Claim,
    Kind,
    Verdict,
)
from omni_grpc.limits.scripts import GIVE_BACK, KINDS, RENEW, TAKE

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
"""How long a running call counts after its worker was last heard of: so long the calls of a killed
worker keep their places."""

LEASE_RENEW_SHARE: Final = 1 / 3
"""How often leases are renewed: three tries within one."""

WAIT_SECONDS: Final = 0.05
"""How long a call waits for Redis, which answers within a millisecond or two when it is well."""

LATE_SECONDS: Final = 0.005
"""A wait that ends so much after its time says that this worker was busy, not that Redis is away:
then it waits once more."""

SOCKET_SECONDS_MAX: Final = 1.0
"""After so long an answer that no call waits for any more is given up, with its connection."""

PROBE_SECONDS: Final = 0.25
"""How often a Redis that is away is asked whether it is back."""

CONNECTIONS_MAX: Final = 32
"""Of one worker. One carries some thousand calls a second; others wait for their turn."""

CLOSE_SECONDS_MAX: Final = 1.0
"""How long a stopping worker tells Redis what its last calls did not use."""

SENT_AT_ONCE_MAX: Final = 256
"""Most keys or leases in one script: it holds up everybody else for well below a millisecond."""

_AWAY: Final = (RedisError, OSError, TimeoutError)
_PROBE_KEY: Final = "omni:limits:{probe}:r"


class RedisObserver(Protocol):
    """Is told whether Redis answers; the metrics are."""

    def redis_changed(self, *, is_up: bool) -> None:
        """Redis came or went."""


class Return(NamedTuple):
    """What is taken back from a claim: so much of a bucket, or its place."""

    claim: Claim
    bucket: int
    amount: int


class SharedLimits:
    """The counts of all replicas. For one event loop.

    Args:
        url: redis:// or rediss://; never logged.
        observer: is told when Redis comes and goes.
        window_s: the length of a window.
        bucket_count: into how many buckets it is divided.
        lease_s: how long a running call counts without being renewed.
        wait_s: how long a call waits for an answer.
    """

    def __init__(
        self,
        url: str,
        observer: RedisObserver,
        *,
        window_s: float = WINDOW_SECONDS,
        bucket_count: int = BUCKET_COUNT,
        lease_s: float = LEASE_SECONDS,
        wait_s: float = WAIT_SECONDS,
    ) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=SOCKET_SECONDS_MAX,
            socket_timeout=SOCKET_SECONDS_MAX,
            socket_connect_timeout=SOCKET_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),  # a script that was sent twice would count twice
        )
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._observer = observer
        self._bucket_ms = math.ceil(window_s * 1000 / bucket_count)
        self._bucket_count = bucket_count
        self._lease_s = lease_s
        self._lease_ms = math.ceil(lease_s * 1000)
        self._wait_s = wait_s
        self._hashes = {
            script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            for script in (TAKE, GIVE_BACK, RENEW)
        }
        self._is_up = False
        self._went_away = asyncio.Event()
        self._leases: defaultdict[OrgId, dict[tuple[str, str], None]] = defaultdict(dict)
        self._returns: defaultdict[OrgId, list[tuple[str, list[str | int]]]] = defaultdict(list)
        self._returning: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[Verdict]] = set()

    @property
    def is_up(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._is_up

    # --- a call -------------------------------------------------------------------------------
    async def take(self, org_id: OrgId, claims: Sequence[Claim], lease: str) -> Verdict | None:
        """Counts all claims, or none of them; None where Redis gives no answer in time.

        Calls at once are counted under `lease` until `give_back`, whatever this returns but a
        refusal: a call that Redis was not there for is told to it when it is back.
        """
        verdict = await self._answer(org_id, claims, lease) if self._is_up else None
        if verdict is None or verdict.admitted:
            for claim in claims:
                if claim.kind is Kind.CONCURRENT:
                    self._leases[org_id][_key(org_id, claim), lease] = None
        return verdict

    async def _answer(self, org_id: OrgId, claims: Sequence[Claim], lease: str) -> Verdict | None:
        task = asyncio.create_task(self._take(org_id, claims, lease))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        try:
            # It is not cancelled, which would cost the connection.
            now = asyncio.get_running_loop().time
            due = now() + self._wait_s
            await asyncio.wait((task,), timeout=self._wait_s)
            if not task.done() and now() > due + LATE_SECONDS:
                await asyncio.wait((task,), timeout=self._wait_s)  # it was us who were late
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._undo(done, org_id, claims, lease))
            raise
        if not task.done():
            task.add_done_callback(_observe)
            self._lost(f"no answer within {self._wait_s * 1000:g} ms")
            return None
        try:
            return task.result()
        except _AWAY as error:
            self._lost(_words(error))
            return None

    async def _take(self, org_id: OrgId, claims: Sequence[Claim], lease: str) -> Verdict:
        arguments: list[str | int] = [self._bucket_ms, self._bucket_count, self._lease_ms, lease]
        for claim in claims:
            arguments += (KINDS[claim.kind], claim.limit, claim.amount)
        return _verdict(
            claims, await self._run_script(TAKE, [_key(org_id, one) for one in claims], arguments)
        )

    def give_back(self, org_id: OrgId, lease: str, returns: Sequence[Return]) -> None:
        """Takes back what calls were counted with; soon, and nobody waits for it."""
        for claim, bucket, amount in returns:
            key = _key(org_id, claim)
            if claim.kind is Kind.CONCURRENT:
                self._drop_lease(org_id, key, lease)
                self._returns[org_id].append((key, ["c", lease, 0]))
            else:
                self._returns[org_id].append((key, [KINDS[claim.kind], bucket, -amount]))
        if self._returns and (self._returning is None or self._returning.done()):
            self._returning = asyncio.create_task(self._send_returns())

    async def _send_returns(self) -> None:
        """Sends what has gathered, until nothing has. What cannot be sent stays counted."""
        while self._returns:
            org_id, gathered = self._returns.popitem()
            if len(gathered) > SENT_AT_ONCE_MAX:
                self._returns[org_id] = gathered[SENT_AT_ONCE_MAX:]
            now = gathered[:SENT_AT_ONCE_MAX]
            if not self._is_up:
                continue
            arguments = [one for _, arguments in now for one in arguments]
            try:
                await self._run_script(GIVE_BACK, [key for key, _ in now], arguments)
            except _AWAY as error:
                self._lost(_words(error))

    def _undo(
        self, done: "asyncio.Task[Verdict]", org_id: OrgId, claims: Sequence[Claim], lease: str
    ) -> None:
        """The caller left while Redis was asked: what it was counted with is given back."""
        if done.cancelled() or done.exception() is not None or not done.result().admitted:
            return
        bucket = done.result().bucket
        self.give_back(org_id, lease, [Return(one, bucket, one.amount) for one in claims])

    def _drop_lease(self, org_id: OrgId, key: str, lease: str) -> None:
        leases = self._leases[org_id]
        leases.pop((key, lease), None)
        if not leases:
            del self._leases[org_id]

    # --- Redis itself -------------------------------------------------------------------------
    async def start(self) -> None:
        """Looks whether Redis is there; it need not be."""
        if not await self._look():
            log.warning("redis_away", limits="each worker counts for itself until it is there")
            self._observer.redis_changed(is_up=False)

    async def run(self) -> None:
        """Renews leases, and looks whether Redis is there; for ever."""
        while True:
            if self._is_up:
                await self._renew()
                if (fault := await self.fault()) is not None:  # no call may have noticed
                    self._lost(fault)
                try:
                    async with asyncio.timeout(self._lease_s * LEASE_RENEW_SHARE):
                        await self._went_away.wait()
                except TimeoutError:
                    continue
            elif not await self._look():
                await asyncio.sleep(PROBE_SECONDS)

    async def close(self) -> None:
        """Sends the last words, then closes the connections."""
        if self._returning is not None:
            await asyncio.wait((self._returning,), timeout=CLOSE_SECONDS_MAX)
            self._returning.cancel()
        for task in self._asking:
            task.cancel()
        await self._redis.aclose()
        await self._pool.aclose()

    async def fault(self) -> str | None:
        """Why Redis cannot count now; None if it can, which is tried."""
        probe: list[str | int] = [self._bucket_ms, self._bucket_count, self._lease_ms, "probe"]
        probe += (KINDS[Kind.REQUESTS], 2**52, 1)
        try:
            async with asyncio.timeout(SOCKET_SECONDS_MAX):
                await self._run_script(TAKE, [_PROBE_KEY], probe)
        except _AWAY as error:
            return _words(error)
        return None

    async def _look(self) -> bool:
        """Whether Redis counts; then it is asked again."""
        await self._pool.disconnect(inuse_connections=False)  # else the dead ones come next
        if (fault := await self.fault()) is not None:
            log.debug("redis_still_away", cause=fault)
            return False
        self._is_up = True
        self._went_away.clear()
        self._observer.redis_changed(is_up=True)
        log.info("redis_answers", limits="all servers of this Redis count together")
        return True

    async def _renew(self) -> None:
        """Says of every running call that it runs."""
        for org_id in list(self._leases):
            held = list(self._leases.get(org_id, ()))
            for at in range(0, len(held), SENT_AT_ONCE_MAX):
                by_key: defaultdict[str, list[str]] = defaultdict(list)
                for key, lease in held[at : at + SENT_AT_ONCE_MAX]:
                    if (key, lease) in self._leases.get(org_id, ()):
                        by_key[key].append(lease)
                if by_key:
                    await self._renew_some(org_id, by_key)

    async def _renew_some(self, org_id: OrgId, by_key: dict[str, list[str]]) -> None:
        arguments: list[str | int] = [self._lease_ms]
        for leases in by_key.values():
            arguments += (len(leases), *leases)
        try:
            await self._run_script(RENEW, list(by_key), arguments)
        except _AWAY as error:
            self._lost(_words(error))
            return
        # A call that ended meanwhile may have been renewed after its place was given back.
        now = self._leases.get(org_id, {})
        gone: list[tuple[str, list[str | int]]] = [
            (key, ["c", lease, 0])
            for key, leases in by_key.items()
            for lease in leases
            if (key, lease) not in now
        ]
        if gone:
            self._returns[org_id] += gone
            self.give_back(org_id, "", ())

    def _lost(self, cause: str) -> None:
        if self._is_up:
            self._is_up = False
            self._went_away.set()
            self._observer.redis_changed(is_up=False)
            log.warning(
                "redis_away", cause=cause, limits="each worker counts for itself until it is back"
            )

    async def _run_script(
        self, script: str, keys: list[str], arguments: list[str | int]
    ) -> list[int]:
        found: Any  # redis-py does not know what a script returns
        try:
            found = await self._redis.evalsha(self._hashes[script], len(keys), *keys, *arguments)
        except NoScriptError:  # it was restarted
            found = await self._redis.eval(script, len(keys), *keys, *arguments)
        return found if isinstance(found, list) else [int(found)]


async def redis_fault(url: str) -> str | None:
    """Why limits cannot be counted in a Redis; None if they can."""
    limits = SharedLimits(url, _Unobserved())
    try:
        return await limits.fault()
    finally:
        await limits.close()


class _Unobserved:
    def redis_changed(self, *, is_up: bool) -> None:
        pass


def _key(org_id: OrgId, claim: Claim) -> str:
    """Where a claim is counted. All keys of an organisation have one tag, so one slot."""
    return f"omni:limits:{{{org_id}}}:{claim.rule_id}:{KINDS[claim.kind]}"


def _verdict(claims: Sequence[Claim], reply: list[int]) -> Verdict:
    answers = tuple(
        Answer(
            used,
            reset_ms / 1000,
            None
            if wait_ms < 0
            else CONCURRENT_WAIT_SECONDS
            if claim.kind is Kind.CONCURRENT
            else wait_ms / 1000,
        )
        for claim, used, reset_ms, wait_ms in zip(
            claims, reply[2::3], reply[3::3], reply[4::3], strict=True
        )
    )
    return Verdict(reply[0] == 1, reply[1], answers)


def _words(error: BaseException) -> str:
    """A failure in words; redis-py's own name no secret, only where it connected to."""
    return str(error) or type(error).__name__


def _observe(task: "asyncio.Task[Verdict]") -> None:
    """Look at the error, so that asyncio does not report it lost: nobody waits for it."""
    if not task.cancelled():
        task.exception()
