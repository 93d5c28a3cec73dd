"""One migrated server for the tests of the ledger, and for each test a copy of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from copied_databases import CopiedDatabases
from ledger_rig import Rig, fill_template, load_prices
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server
from quick_postgres import QUICK
from recovery_house import House

from omni_grpc.billing.invariants import check
from omni_grpc.storage import Database, EmbeddedPostgres

SETTINGS = {**QUICK, "autovacuum_analyze_threshold": "2147483647"}
"""Nothing is analyzed by itself: that is a transaction, and usage is counted up to the oldest that
runs, in whichever database. So a test that counts would now and then miss what came last."""


@pytest.fixture(scope="session")
def ledger_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("ledger")
    with quick_server(folder, SETTINGS) as server:
        fill_template(server.create_database("ledger_template", template=MIGRATED))
        yield server


@pytest.fixture(scope="session")
def ledgers(ledger_server: EmbeddedPostgres) -> CopiedDatabases:
    return CopiedDatabases(ledger_server, "ledger_template")


@pytest.fixture
def url(ledgers: CopiedDatabases) -> Iterator[str]:
    with ledgers.one() as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with patient_database(url, "billing tests") as database:
        yield database


@pytest.fixture
def sql(url: str) -> Iterator[psycopg.Connection]:
    """A session beside the ledger's own, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def rig(url: str, database: Database) -> AsyncIterator[Rig]:
    """Lanes, meters and ledgers on the test's database; the books are checked at the end."""
    rig = Rig(url, database)
    yield rig
    await rig.close()
    if rig.books_are_clean:
        assert await check(database, prices=load_prices) == []


@pytest.fixture
async def house(rig: Rig, tmp_path: Path, sql: psycopg.Connection) -> AsyncIterator[House]:
    house = House(rig, tmp_path / "journal", sql)
    await house.start()
    yield house
    house.close()


@pytest.fixture
async def clean_books(database: Database) -> AsyncIterator[None]:
    """The books of a test that uses no rig are checked at the end."""
    yield
    assert await check(database, prices=load_prices) == []
