"""Waiting for an event, and no longer than some time: how loops sleep that can be woken."""

import asyncio
import contextlib


async def woken(event: asyncio.Event, seconds: float) -> None:
    """Returns once the event is set, at the latest after so many seconds.

    A cancellation always ends it: `asyncio.wait_for` of Python 3.11 forgets one that comes just
    when the event is set, and the loop that waits would go on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
