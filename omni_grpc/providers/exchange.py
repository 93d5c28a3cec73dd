"""A request on its way, in a task of its own: what plain and streamed answers share.

A caller who goes away while the provider answers still learns what it had sent by then, since
cancelling is money: the task outlives the caller's wait for the moment that takes.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from omni_grpc.core.patience import Patience
from omni_grpc.providers.dispatch import Dispatch

T = TypeVar("T")

CANCEL_SECONDS_MAX: Final = 0.25
"""How long a cancelled call is read on for what the provider sent before it heard of it, and how
long an exchange that nobody waits for is kept for whoever takes it up."""


class Exchange(Generic[T]):
    """One request, and the task that waits for what it is to bring.

    Args:
        work: sends the request and waits; runs once.
        dispatch: where the request stands.
        bills_on: whether the provider bills it to its end, whoever leaves it.
        shut: closes what the task brought; called also where nobody took it in time.
    """

    __slots__ = ("_bills_on", "_half_closed", "_shut", "_task", "_timer", "_work", "dispatch")

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        dispatch: Dispatch,
        *,
        bills_on: bool,
        shut: Callable[[], None],
    ) -> None:
        self.dispatch = dispatch
        self._work = work
        self._bills_on = bills_on
        self._shut = shut
        self._task: asyncio.Task[T] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._half_closed = False

    @property
    def is_started(self) -> bool:
        """Whether it was waited for."""
        return self._task is not None

    @property
    def found(self) -> T | None:
        """What it brought, where it did."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def start(self) -> T:
        """Sends the request; its outcome. A cancelled wait stops the provider, unless it bills on.

        Raises:
            RuntimeError: it was started before: a second request would be a second bill.
        """
        if self._task is not None:
            raise RuntimeError("A call is awaited once: a second request would be a second bill.")
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(self._work())
        # `asyncio.shield` at half its cost, which every call pays.
        done: asyncio.Future[None] = loop.create_future()

        def wake(_: "asyncio.Task[T]") -> None:
            if not done.done():
                done.set_result(None)

        task.add_done_callback(wake)
        try:
            await done
            return task.result()
        except asyncio.CancelledError:
            task.add_done_callback(_take_note)
            if not (self._bills_on and self.dispatch.started):
                self.stop_provider()
            # Whoever cancelled may still ask for what was sent.
            self._timer = loop.call_later(CANCEL_SECONDS_MAX, self._shut)
            raise

    async def outcome(self) -> T:
        """The outcome, once more, for whoever takes up a cancelled wait."""
        if self._task is None:
            raise RuntimeError("An exchange is started before it is taken up.")
        self.keep()
        return await asyncio.shield(self._task)

    def keep(self) -> None:
        """Somebody sees to its end: the moment's limit is off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop_provider(self) -> bool:
        """Lets the provider see our end; whether there is still something to read."""
        if self.dispatch.answered:
            return True
        if not self._half_closed:
            self._half_closed = self.dispatch.half_close()
            if not self._half_closed and self._task is not None:
                self._task.cancel()
        return self._half_closed

    def abort(self) -> None:
        """Closes the connection and ends the task, if it still runs."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self.dispatch.abort()


def moment() -> Patience:
    """The time for which a cancelled call is read on, from now; a limit on its block."""
    return Patience(asyncio.get_running_loop().time() + CANCEL_SECONDS_MAX)


async def sockets_read() -> None:
    """Lets the loop look at its sockets once: what lies unread there comes into our buffers.

    A process that stood still stops its calls before it reads what came meanwhile; over TLS, where
    a connection closes whole, that would be lost.
    """
    await asyncio.sleep(0)  # goes on before what the look has found
    await asyncio.sleep(0)


def _take_note(task: "asyncio.Task[Any]") -> None:
    """A fault that nobody waits for is no news to the loop's log."""
    if not task.cancelled():
        task.exception()
