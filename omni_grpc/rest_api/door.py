"""The one way in: every API call passes the gates here, and every failure is answered here.

No exception's text reaches a caller but that of OmniError; anything else is logged with the call's
id, and the caller gets the id alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from omni_grpc.completion import Call, Gates
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Deadline, Internal, Interrupted, OmniError
from omni_grpc.core.limits import SETTLE_WAIT_SECONDS_MAX
from omni_grpc.core.patience import Patience
from omni_grpc.identity import Permission
from omni_grpc.rest_api.exchange import ClientGoneError, Exchange

log = structlog.get_logger(__name__)

GRACE_SECONDS: Final = SETTLE_WAIT_SECONDS_MAX + 1.0
"""Completion ends a call at its deadline by itself, with what it cost; this much later the door
ends it, which catches a client that does not read."""

OK: Final = "OK"
CANCELLED: Final = "CANCELLED"

Handler = Callable[[Exchange, Call], Awaitable[None]]


class Payments(Protocol):
    """Takes what a request pays, and offers what would help."""

    async def take(self, exchange: Exchange, call: Call) -> None:
        """Before the call is served.

        Raises:
            OmniError: it brought a payment that cannot be taken.
        """

    async def refusal(self, error: OmniError, call: Call) -> OmniError:
        """What is told instead of an error, or with it."""
        ...


class CallObserver(Protocol):
    """Is told of each call's end; the metrics are."""

    def call_ended(self, transport: str, method: str, reason: str, seconds: float) -> None:
        """`method` is the route; `reason` is OK, CANCELLED, or an error's reason."""


class Door:
    """Takes calls through context, deadline, auth and admission to their handlers."""

    def __init__(
        self,
        gates: Gates,
        clock: Clock,
        observer: CallObserver,
        payments: Payments | None = None,
    ) -> None:
        self._gates = gates
        self._payments = payments
        self._clock = clock
        self._observer = observer
        self._running: set[asyncio.Task[object]] = set()

    async def enter(
        self, exchange: Exchange, *, route: str, permission: Permission, handler: Handler
    ) -> None:
        """Serves one call, and reports its end once."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served by a task")
        self._running.add(task)
        began = self._clock.monotonic()
        ended = CANCELLED
        try:
            ended = await self._serve(exchange, route, permission, handler)
        finally:
            self._running.discard(task)
            self._observer.call_ended("rest", route, ended, self._clock.monotonic() - began)

    async def cut_short(self, seconds: float) -> None:
        """Cancels the calls that still run, and waits so long for their last words."""
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=seconds)

    async def _serve(
        self, exchange: Exchange, route: str, permission: Permission, handler: Handler
    ) -> str:
        call = exchange.call = self._gates.open_call(None)
        error: OmniError
        try:
            await self._pass(exchange, call, permission, handler)
        except ClientGoneError:
            return CANCELLED
        except OmniError as known:
            error = known
        except asyncio.CancelledError:
            if exchange.client_gone:
                return CANCELLED
            error = _stopped(call)
        except Exception:
            log.exception("call_failed", method=route, call_id=call.name)
            error = Internal("The service failed; its log knows the call by its request_id.")
        else:
            return OK
        if self._payments is not None:
            error = await self._payments.refusal(error, call)
        await exchange.fail(error, call.name)
        return error.reason

    async def _pass(
        self, exchange: Exchange, call: Call, permission: Permission, handler: Handler
    ) -> None:
        seconds = exchange.timeout_s()
        if seconds is not None:
            self._gates.limit(call, seconds)
        due = asyncio.get_running_loop().time() + call.seconds_left(self._clock) + GRACE_SECONDS
        patience = Patience(due)
        try:
            with patience:
                await self._gates.authenticate(call, exchange.presented(), permission)
                with self._gates.admitted():
                    if self._payments is not None:
                        await self._payments.take(exchange, call)
                    await handler(exchange, call)
        except TimeoutError:
            if not patience.expired:
                raise
            late = Deadline("The call's time is over. What was generated until then is charged.")
            raise _charged(late, call) from None


def _stopped(call: Call) -> OmniError:
    """The service itself cancelled the call: for a reason that it left, or because it stops."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    error = call.cancelled_by or Interrupted(
        "The server stopped while the call ran. What was generated until then is charged."
    )
    return _charged(error, call)


def _charged(error: OmniError, call: Call) -> OmniError:
    if call.meter is not None:
        error.charged_nanousd = max(error.charged_nanousd, call.meter.charged_nanousd)
    return error
