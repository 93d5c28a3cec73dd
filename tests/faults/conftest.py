from collections.abc import AsyncIterator

import pytest_asyncio
from harness.director import Director
from harness.worker import be_quiet
from harness.world import World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def director() -> AsyncIterator[Director]:
    """A world for the module's histories; at its end the last of their leases have ended too."""
    be_quiet()
    async with World() as world:
        director = Director(world)
        yield director
        assert await director.collect(all_of_them=True) == {}
