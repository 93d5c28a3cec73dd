"""One embedded server for the tests of this room, and a new database for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from omni_grpc.storage import EmbeddedPostgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def database_url(shared_server: EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield shared_server.create_database(name)
    shared_server.drop_database(name)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    yield server
    server.start()
    server.stop()
