"""One migrated server with a ledger's template, and for each test a copy of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from ledger_rig import fill_template

from omni_grpc.storage import Database, EmbeddedPostgres, migrate

_numbers = itertools.count()


@pytest.fixture(scope="session")
def statements_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("statements")
    with EmbeddedPostgres(folder, settings={"fsync": "off"}) as server:
        url = server.create_database("statements_template")
        migrate(url)
        fill_template(url)
        yield server


@pytest.fixture
def url(statements_server: EmbeddedPostgres) -> Iterator[str]:
    name = f"statements_{next(_numbers)}"
    yield statements_server.create_database(name, template="statements_template")
    statements_server.drop_database(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with Database(url, application_name="statements tests") as database:
        yield database


@pytest.fixture
def sql(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
