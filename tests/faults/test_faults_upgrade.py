"""An upgrade under load, from the version before with its schema, loses no charge."""

import pytest
from fault_cases import check_kind
from harness.director import Director
from harness.old_world import OldWorld, repository
from harness.worker import be_quiet


@pytest.mark.skipif(repository() is None, reason="the old version is in the history, not here")
async def test_two_versions_serve_one_wallet_while_its_schema_is_migrated() -> None:
    be_quiet()
    async with OldWorld() as world:
        director = Director(world)
        await check_kind(director, 16)
        assert await director.collect(all_of_them=True) == {}
