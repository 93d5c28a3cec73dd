"""A migrated database on an embedded server, with empty logs for each test."""

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server

from omni_grpc.storage import Database, EmbeddedPostgres

DATABASE = "audit_tests"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def audit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("audit")
    with quick_server(folder) as server:
        server.create_database(DATABASE, template=MIGRATED)
        yield server


@pytest.fixture
def own_url(audit_server: EmbeddedPostgres) -> Iterator[str]:
    """A database of the test's own, with a ledger that balances."""
    name = f"audit_own_{next(_numbers)}"
    yield audit_server.create_database(name, template=MIGRATED)
    audit_server.drop_database(name)


@pytest.fixture
def database_url(audit_server: EmbeddedPostgres) -> str:
    url = audit_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        # Quicker than TRUNCATE, which makes new files; what guards rows is for the service.
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("audit_entry", "audit_head", "org", "account"):
            connection.execute(f"DELETE FROM {table}")
    return url


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with patient_database(database_url, "audit tests") as database:
        yield database
