"""One embedded server for the tests of this room, and a new database for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from quick_clusters import copy_cluster

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
def stopped(tmp_path: Path) -> Path:
    """The folder of a server that was made, and stopped in good order."""
    copy_cluster(tmp_path)
    return tmp_path


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    copy_cluster(tmp_path / "data")
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    yield server
    server.start()
    server.stop()
