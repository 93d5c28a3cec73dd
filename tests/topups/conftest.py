"""Rooms on a database of their own, for top-ups; the books are checked at the end."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from copied_databases import CopiedDatabases
from pydantic import SecretStr
from quick_clusters import MIGRATED, quick_server

from omni_grpc.billing.invariants import check
from omni_grpc.catalog import CatalogStore
from omni_grpc.cli.opening import Rooms, rooms_of
from omni_grpc.identity import Org
from omni_grpc.settings import Settings
from omni_grpc.storage import EmbeddedPostgres


@pytest.fixture(scope="session")
def topup_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with quick_server(tmp_path_factory.mktemp("topups")) as server:
        server.create_database("topups_template", template=MIGRATED)
        yield server


@pytest.fixture(scope="session")
def topup_copies(topup_server: EmbeddedPostgres) -> CopiedDatabases:
    return CopiedDatabases(topup_server, "topups_template")


@pytest.fixture
def topup_url(topup_copies: CopiedDatabases) -> Iterator[str]:
    with topup_copies.one() as url:
        yield url


@pytest.fixture
async def rooms(topup_url: str) -> AsyncIterator[Rooms]:
    """Identity and ledger."""
    settings = Settings(database_url=SecretStr(topup_url), key_hash_secret=SecretStr("k" * 32))
    async with rooms_of(settings) as opened:
        async with asyncio.timeout(20):
            while not await opened.database.ping():  # connecting takes a while on a busy machine
                pass
        yield opened
        found = await check(opened.database, prices=CatalogStore(opened.database).prices)
        assert found == []


@pytest.fixture
async def org(rooms: Rooms) -> Org:
    await rooms.database.execute(
        """
        WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id)
        INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE
        SELECT id, 'acme', 'Acme', ledger_open_wallet(id) FROM new
        """
    )
    return await rooms.identity.get_org("acme")
