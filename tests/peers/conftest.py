"""The real gateway, and the ledger's workers by themselves, all on one server."""

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from gateway_fixtures import gateway, own_gateway, simulator, tenant
from ledger_rig import Rig, fill_template, load_prices
from patient_database import patient_database
from quick_clusters import MIGRATED

from omni_grpc.billing.invariants import check
from omni_grpc.storage import Database, EmbeddedPostgres

__all__ = ("gateway", "own_gateway", "simulator", "tenant")

_LEDGER = "peers_ledger"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def ledger_template(postgres: EmbeddedPostgres) -> str:
    """A migrated database with a few wallets and budget windows, to be copied."""
    fill_template(postgres.create_database(_LEDGER, template=MIGRATED))
    return _LEDGER


@pytest.fixture
def url(postgres: EmbeddedPostgres, ledger_template: str) -> Iterator[str]:
    name = f"{_LEDGER}_{next(_numbers)}"
    yield postgres.create_database(name, template=ledger_template)
    postgres.drop_database(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with patient_database(url, "peers tests") as database:
        yield database


@pytest.fixture
def sql(url: str) -> Iterator[psycopg.Connection]:
    """A session beside the ledger's own, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def rig(url: str, database: Database) -> AsyncIterator[Rig]:
    """Workers on the test's database; the books are checked at the end."""
    rig = Rig(url, database)
    yield rig
    await rig.close()
    if rig.books_are_clean:
        assert await check(database, prices=load_prices) == []
