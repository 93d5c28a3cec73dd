"""One migrated server with a ledger's template, and for each test a copy of its own."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from copied_databases import CopiedDatabases
from ledger_rig import fill_template
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server

from omni_grpc.storage import Database, EmbeddedPostgres


@pytest.fixture(scope="session")
def statements_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("statements")
    with quick_server(folder) as server:
        fill_template(server.create_database("statements_template", template=MIGRATED))
        yield server


@pytest.fixture(scope="session")
def statement_copies(statements_server: EmbeddedPostgres) -> CopiedDatabases:
    return CopiedDatabases(statements_server, "statements_template")


@pytest.fixture
def url(statement_copies: CopiedDatabases) -> Iterator[str]:
    with statement_copies.one() as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with patient_database(url, "statements tests") as database:
        yield database


@pytest.fixture
def sql(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
