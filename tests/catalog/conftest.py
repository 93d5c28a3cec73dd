"""One embedded server for this room: a catalog of the real packages, and empty ones."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest
from catalog_offers import Rows, create_catalog
from copied_databases import CopiedDatabases
from patient_database import patient_database
from quick_clusters import quick_server

from omni_grpc.catalog import CatalogSnapshot, CatalogStore, Reading, packaged_facts, seed
from omni_grpc.storage import Database, EmbeddedPostgres


@pytest.fixture(scope="session")
def catalog_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("catalog-postgres")
    with quick_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def packages() -> Reading:
    return packaged_facts(dt.datetime(2026, 11, 1, tzinfo=dt.UTC))


@pytest.fixture(scope="session")
def seeded_url(catalog_server: EmbeddedPostgres, packages: Reading) -> str:
    """A catalog of everything that the packages know. Tests read it and change nothing."""
    url = create_catalog(catalog_server, "seeded")

    async def fill() -> None:
        async with patient_database(url, "tests") as database:
            await seed(database, packages.offers)

    asyncio.run(fill())
    return url


@pytest.fixture(scope="session")
def real(seeded_url: str) -> CatalogSnapshot:
    """The snapshot of that catalog."""

    async def read() -> CatalogSnapshot:
        async with patient_database(seeded_url, "tests") as database:
            content = await CatalogStore(database).read()
        return CatalogSnapshot(content.version, content.offers, content.aliases)

    return asyncio.run(read())


@pytest.fixture(scope="session")
def catalog_copies(catalog_server: EmbeddedPostgres) -> CopiedDatabases:
    create_catalog(catalog_server, "catalog_template")
    return CopiedDatabases(catalog_server, "catalog_template")


@pytest.fixture
def catalog_url(catalog_copies: CopiedDatabases) -> Iterator[str]:
    """An empty catalog of the test's own."""
    with catalog_copies.one() as url:
        yield url


@pytest.fixture
async def database(catalog_url: str) -> AsyncIterator[Database]:
    async with patient_database(catalog_url, "tests") as opened:
        yield opened


@pytest.fixture
def query(catalog_url: str) -> Callable[[str], Rows]:
    def run(statement: str) -> Rows:
        with psycopg.connect(catalog_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait, for at most ten seconds, until something is true."""

    async def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < deadline, "it did not become true within 40 s"
            await asyncio.sleep(0.01)

    return wait
