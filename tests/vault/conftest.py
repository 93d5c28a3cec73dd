"""A migrated database with two organisations, and vaults with keys of the test's own."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server
from vaults import Counted, Tenants

from omni_grpc.storage import Database, EmbeddedPostgres

DATABASE = "vault_tests"


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("vault")
    with quick_server(folder) as server:
        server.create_database(DATABASE, template=MIGRATED)
        yield server


@pytest.fixture
def database_url(vault_server: EmbeddedPostgres) -> str:
    """The one database, empty before each test."""
    url = vault_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        for table in (
            "provider_credential",
            "environment",
            "team",
            "org",
            "account WHERE kind = 1",
        ):
            connection.execute(f"DELETE FROM {table}")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with patient_database(database_url, "vault tests") as database:
        yield database


@pytest.fixture
def tenants(database_url: str) -> Tenants:
    return Tenants(database_url)


@pytest.fixture
def counted() -> Counted:
    return Counted()
