"""A migrated database on an embedded server, empty for each test, and an office on it."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from administration_rig import Office
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server

from omni_grpc.storage import Database, EmbeddedPostgres

DATABASE = "administration_tests"
TABLES = (
    "api_key",
    "org",
    "team",
    "environment",
    "org_user",
    "rate_limit",
    "budget",
    "provider_credential",
    "audit_entry",
    "audit_head",
)


@pytest.fixture(scope="session")
def administration_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("administration")
    with quick_server(folder) as server:
        server.create_database(DATABASE, template=MIGRATED)
        yield server


@pytest.fixture
def database_url(administration_server: EmbeddedPostgres) -> str:
    """The one database, empty before each test."""
    url = administration_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        for table in TABLES:  # quicker than TRUNCATE, which makes new files
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM account WHERE kind = 1")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with patient_database(database_url, "administration tests") as database:
        yield database


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)
