"""A migrated database on an embedded server, empty for each test, and a clock moved by hand."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from identity_rig import TESTS, new_key
from patient_database import PATIENT, patient_database
from quick_clusters import MIGRATED, quick_server

from omni_grpc.identity import Identity, NewKey
from omni_grpc.storage import Database, EmbeddedPostgres, Timeouts

SERVER_SECRET = b"a server secret for tests, 32 bytes and more"
DATABASE = "identity_tests"
TABLES = (
    "api_key",
    "org",
    "team",
    "environment",
    "org_user",
    "rate_limit",
    "budget",
    "provider_credential",
)


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture(scope="session")
def identity_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("identity")
    with quick_server(folder) as server:
        server.create_database(DATABASE, template=MIGRATED)
        yield server


@pytest.fixture
def database_url(identity_server: EmbeddedPostgres) -> str:
    """The one database, empty before each test: a new one for each would cost ten times as much."""
    url = identity_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        for table in TABLES:  # quicker than TRUNCATE, which makes new files
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM account WHERE kind = 1")
    return url


@pytest.fixture
def timeouts() -> Timeouts:
    """What the database waits for; tests that take it away say less."""
    return PATIENT


@pytest.fixture
async def database(database_url: str, timeouts: Timeouts) -> AsyncIterator[Database]:
    async with patient_database(database_url, "identity tests", timeouts) as database:
        yield database


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def worker(database: Database, clock: HandClock) -> Callable[[], Identity]:
    """Make one more process's Identity, with a cache of its own."""
    return lambda: Identity(database, key_hash_secret=SERVER_SECRET, clock=clock)


@pytest.fixture
def identity(worker: Callable[[], Identity]) -> Identity:
    return worker()


@pytest.fixture
async def acme_key(identity: Identity) -> NewKey:
    """A key with the default scopes, of the organisation `acme`."""
    await identity.orgs.create(TESTS, "acme", "Acme, Inc.")
    return await new_key(identity, display_name="test")


class Door:
    """The way to the test's database, which a test may shut."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._url = server.url()

    def shut(self) -> None:
        """End every session, and let nobody in."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (DATABASE,),
            )

    def open(self) -> None:
        """Let everybody in again."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")


@pytest.fixture
def door(identity_server: EmbeddedPostgres, database_url: str) -> Iterator[Door]:
    door = Door(identity_server)
    yield door
    door.open()
