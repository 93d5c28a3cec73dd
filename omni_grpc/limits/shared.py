"""Limits that all replicas count together, in Redis: one script a call, by Redis' own clock.

A Redis that does not answer costs the calls of that moment a bounded wait, and those after it none:
they are told at once that there is no answer, until Redis is back. Nothing that it may have counted
is given back on a guess, so it counts too much rather than too little.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from omni_grpc.core.ids import OrgId
from omni_grpc.limits.lane import RedisAwayError, Script, ScriptLane
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

PROBE_SECONDS: Final = 0.25
"""How often a Redis that is away is asked whether it is back."""

CLOSE_SECONDS_MAX: Final = 1.0
"""How long a stopping worker tells Redis what its last calls did not use."""

RENEWED_AT_ONCE_MAX: Final = 256
"""Most leases in one script: it holds up everybody else for well below a millisecond."""

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
        wait_s: how long Redis may take to answer.
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
        self._lane = ScriptLane(url, wait_s=wait_s, lost=self._lost)
        self._observer = observer
        self._bucket_ms = math.ceil(window_s * 1000 / bucket_count)
        self._bucket_count = bucket_count
        self._lease_s = lease_s
        self._lease_ms = math.ceil(lease_s * 1000)
        self._is_up = False
        self._went_away = asyncio.Event()
        self._leases: defaultdict[OrgId, dict[tuple[str, str], None]] = defaultdict(dict)

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
        verdict = await self._verdict(org_id, claims, lease) if self._is_up else None
        if verdict is None or verdict.admitted:
            for claim in claims:
                if claim.kind is Kind.CONCURRENT:
                    self._leases[org_id][_key(org_id, claim), lease] = None
        return verdict

    def give_back(self, org_id: OrgId, lease: str, returns: Sequence[Return]) -> None:
        """Takes back what a call was counted with; soon, and nobody waits for it."""
        keys: list[str] = []
        arguments: list[str | int] = []
        for claim, bucket, amount in returns:
            key = _key(org_id, claim)
            keys.append(key)
            if claim.kind is Kind.CONCURRENT:
                self._drop_lease(org_id, key, lease)
                arguments += (KINDS[claim.kind], lease, 0)
            else:
                arguments += (KINDS[claim.kind], bucket, -amount)
        if self._is_up:  # else it stays counted, and a lease ends by itself
            self._lane.ask(Script(GIVE_BACK, keys, arguments))

    async def _verdict(self, org_id: OrgId, claims: Sequence[Claim], lease: str) -> Verdict | None:
        keys = [_key(org_id, claim) for claim in claims]
        reply = self._lane.ask(Script(TAKE, keys, self._asked(claims, lease)))
        try:
            await asyncio.wait((reply,))
            return _read_verdict(claims, reply.result())
        except asyncio.CancelledError:
            # The caller left while Redis was asked: what it was counted with is given back.
            reply.add_done_callback(lambda done: self._undo(done, org_id, claims, lease))
            raise
        except RedisAwayError:
            return None

    def _asked(self, claims: Sequence[Claim], lease: str) -> list[str | int]:
        arguments: list[str | int] = [self._bucket_ms, self._bucket_count, self._lease_ms, lease]
        for claim in claims:
            arguments += (KINDS[claim.kind], claim.limit, claim.amount)
        return arguments

    def _undo(
        self,
        done: "asyncio.Future[list[int]]",
        org_id: OrgId,
        claims: Sequence[Claim],
        lease: str,
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        verdict = _read_verdict(claims, done.result())
        if verdict.admitted:
            returns = [Return(claim, verdict.bucket, claim.amount) for claim in claims]
            self.give_back(org_id, lease, returns)

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
        await self._lane.close(CLOSE_SECONDS_MAX)

    async def fault(self) -> str | None:
        """Why Redis cannot count now; None if it can, which is tried."""
        probe = Claim(0, "", Kind.REQUESTS, 2**52, 1)
        return await self._lane.fault(Script(TAKE, [_PROBE_KEY], self._asked([probe], "")))

    async def _look(self) -> bool:
        """Whether Redis counts; then it is asked again."""
        await self._lane.forget_connections()
        fault = await self.fault()
        if fault is None:
            fault = await self._lane.fault(Script(GIVE_BACK, [], [])) or await self._lane.fault(
                Script(RENEW, [], [0])
            )
        if fault is not None:
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
            for at in range(0, len(held), RENEWED_AT_ONCE_MAX):
                by_key: defaultdict[str, list[str]] = defaultdict(list)
                for key, lease in held[at : at + RENEWED_AT_ONCE_MAX]:
                    if (key, lease) in self._leases.get(org_id, ()):  # it still runs
                        by_key[key].append(lease)
                arguments: list[str | int] = [self._lease_ms]
                for leases in by_key.values():
                    arguments += (len(leases), *leases)
                # Its turn comes before that of whatever ends one of these calls later.
                await asyncio.wait((self._lane.ask(Script(RENEW, list(by_key), arguments)),))

    def _lost(self, cause: str) -> None:
        if self._is_up:
            self._is_up = False
            self._went_away.set()
            self._observer.redis_changed(is_up=False)
            log.warning(
                "redis_away", cause=cause, limits="each worker counts for itself until it is back"
            )


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


def _read_verdict(claims: Sequence[Claim], reply: list[int]) -> Verdict:
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
