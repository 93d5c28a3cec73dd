"""The first message of a stream, which its headers go with."""

import asyncio
from collections.abc import Awaitable
from typing import Final

FIRST_MESSAGE_SECONDS_MAX: Final = 0.2
"""How long the first message of a stream may take to leave once its call is stopped."""


async def whole(first_write: Awaitable[None]) -> None:
    """Writes a stream's first message; one that is cancelled meanwhile leaves all the same.

    The headers go with it, and grpc.aio takes them for sent only when the write returns: after a
    cancelled one it sends them again with the status, which fails, and the client waits for ever.
    """
    writing = asyncio.ensure_future(first_write)
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait((writing,), timeout=FIRST_MESSAGE_SECONDS_MAX)
        if writing.done() and not writing.cancelled():
            writing.exception()  # the call is gone: nobody needs to hear of it
        raise
