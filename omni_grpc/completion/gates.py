"""The gates that every call passes, whatever its transport: deadline, auth, admission, ledger.

gRPC's interceptors and the REST middleware call these and nothing else, in this order; there is
no way to a service around them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from omni_grpc.billing import Ledger
from omni_grpc.completion.call import Call
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Busy, Deadline
from omni_grpc.core.ids import new_call_id
from omni_grpc.core.limits import CALL_SECONDS_MAX
from omni_grpc.identity import Callers, Permission, Presented, Principal


class Gates:
    """One instance serves both transports of a worker."""

    def __init__(
        self, callers: Callers, ledger: Ledger, clock: Clock, calls_at_once_max: int
    ) -> None:
        self._calls_at_once_max = calls_at_once_max
        self._callers = callers
        self._ledger = ledger
        self._clock = clock
        self._running = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._draining = False

    @property
    def running(self) -> int:
        """Calls that passed admission and have not ended."""
        return self._running

    def open_call(self, seconds: float | None) -> Call:
        """Context and deadline: names the call, and gives it its time.

        Args:
            seconds: what the caller's deadline leaves; None for the longest time there is.

        Raises:
            Deadline: the caller's deadline is over already.
        """
        call = Call(
            id=new_call_id(),
            create_time=int(self._clock.now().timestamp()),
            due=self._clock.monotonic() + CALL_SECONDS_MAX,
        )
        if seconds is not None:
            self.limit(call, seconds)
        return call

    def limit(self, call: Call, seconds: float) -> None:
        """Deadline: gives the call the time that its caller's deadline leaves.

        Raises:
            Deadline: it is over already.
        """
        if seconds <= 0:
            raise Deadline("The call's deadline was over when it arrived; nothing was started.")
        call.due = min(call.due, self._clock.monotonic() + seconds)

    async def authenticate(
        self, call: Call, presented: Presented, permission: Permission
    ) -> Principal:
        """Auth: who is calling, from where, and may they.

        Raises:
            RateLimited: the address came or failed too often.
            ApiKeyMissing, ApiKeyInvalid, ScopeMissing, OrgSuspended, LedgerUnavailable, Busy.
        """
        call.peer = address = self._callers.address(presented)
        principal = await self._callers.authenticate(presented, address)
        call.principal = principal
        principal.require(permission)
        return principal

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Admission: one of the calls at once, until the block ends.

        Raises:
            Busy: the worker is full or stopping.
        """
        if self._draining:
            raise Busy("The server is stopping; send the call again.", retry_after_s=0.5)
        if self._running >= self._calls_at_once_max:
            raise Busy("The server has as many calls as it takes; try again.", retry_after_s=0.5)
        self._running += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._quiet.set()

    @contextmanager
    def metered(self, call: Call) -> Iterator[None]:
        """Ledger: a meter for the call, which ends every hold however the block ends."""
        principal = call.principal
        if principal is None:
            raise RuntimeError("the ledger gate stands behind the auth gate")
        meter = self._ledger.meter(
            call.id, principal.account_id, principal.key_id, principal.budgets
        )
        call.meter = meter
        try:
            yield
        finally:
            meter.close()

    async def drain(self, seconds: float) -> bool:
        """Lets no new call in, and waits for the running ones; says whether all ended."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True
