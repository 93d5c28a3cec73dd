"""Lets the changes of one organisation go one after another, before any asks for a connection.

The lock of the organisation's row would make them wait anyway: but there each has one of the
worker's few connections, and the calls of everybody else have none to look up their keys with.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from omni_grpc.core.errors import RateLimited
from omni_grpc.core.ids import OrgId

AT_ONCE_MAX: Final = 64
"""Changes of one organisation under way in a worker; the last of them begins within a second. What
is much work, such as the verification of a log, has lines of its own."""

RETRY_SECONDS: Final = 1.0


class _Line(msgspec.Struct):
    lock: asyncio.Lock
    length: int = 0


class Turns:
    """Whose change goes next, in each organisation. For one event loop."""

    def __init__(self) -> None:
        self._lines: dict[OrgId, _Line] = {}

    @asynccontextmanager
    async def of(self, org_id: OrgId) -> AsyncIterator[None]:
        """Waits for the organisation's turn, and has it until the block ends.

        Raises:
            RateLimited: AT_ONCE_MAX wait already; nothing was done.
        """
        line = self._lines.setdefault(org_id, _Line(asyncio.Lock()))
        if line.length >= AT_ONCE_MAX:
            raise RateLimited(
                f"The organisation has {AT_ONCE_MAX} of these calls under way, and they are made "
                "one after another. Send fewer at once.",
                retry_after_s=RETRY_SECONDS,
                metadata={"limit": str(AT_ONCE_MAX)},
            )
        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[org_id]
