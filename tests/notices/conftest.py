"""A migrated database on an embedded server, empty for each test, and receivers on sockets."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server
from webhook_receiver import Receiver

from omni_grpc.storage import Database, EmbeddedPostgres

DATABASE = "notices_tests"


@pytest.fixture(scope="session")
def notices_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("notices")
    with quick_server(folder) as server:
        server.create_database(DATABASE, template=MIGRATED)
        yield server


@pytest.fixture
def database_url(notices_server: EmbeddedPostgres) -> str:
    url = notices_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        # Quicker than TRUNCATE, which makes new files; what guards rows is for the service.
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in (
            "webhook",
            "webhook_delivery",
            "low_balance",
            "audit_entry",
            "audit_head",
            "org",
            "account",
        ):
            connection.execute(f"DELETE FROM {table}")
    return url


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with patient_database(database_url, "notices tests") as database:
        yield database


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Takes everything unless a test says otherwise."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()
