"""The database of a test: it waits longer than the product does, and is connected already.

On a busy machine a first connection alone may take longer than a call of the product waits for one.
What the product's limits do is shown where they are set, with limits of those tests' own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from omni_grpc.storage import Database, Timeouts

PATIENT: Final = Timeouts(connect_s=20.0, pool_s=20.0, lock_s=20.0, statement_s=20.0, call_s=40.0)


@asynccontextmanager
async def patient_database(
    url: str, application_name: str, timeouts: Timeouts = PATIENT
) -> AsyncIterator[Database]:
    """A database that has a connection, open for the block."""
    async with Database(url, application_name=application_name, timeouts=timeouts) as database:
        async with asyncio.timeout(20):
            while not await database.ping():
                pass
        yield database
