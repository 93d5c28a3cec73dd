"""An embedded PostgreSQL: a server of our own in a folder, up in a second, nothing to install.

Any number of processes may use one folder. The first starts the server, the others find it, and
the last one that stops stops it; one that was killed counts no more. So a server that outlived a
`kill -9` of its starter belongs to whoever comes next, and a dead one is started anew. Nothing is
kept outside the folder, but a socket in the temporary folder where the folder's name is too long.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import TupleRow

from omni_grpc.storage.binaries import Account, Install, account_for, find_install
from omni_grpc.storage.cluster import (
    POLL_SECONDS,
    PORT,
    SHARED_MEMORY_IN_USE,
    SOCKET_NAME,
    USER,
    Cluster,
    answers,
    create_cluster,
    hint,
    listens,
)
from omni_grpc.storage.errors import EmbeddedPostgresError

DATABASE: Final = "omni"
SOCKET_PATH_BYTES_MAX: Final = 100
"""A socket's address holds 107 bytes on Linux and 103 on macOS, the whole path included."""

START_SECONDS_MAX: Final = 60.0
"""How long a start may take; recovery after a crash replays at most `max_wal_size`."""

START_TRIES: Final = 3
"""A server that is killed right after its start is started again, but not for ever."""

CONNECT_SECONDS_MAX: Final = 10
LOCK_SECONDS_MAX: Final = 120.0
"""How long to wait while another process starts or stops the same server."""

LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """The server of one folder. Blocking: call it through `asyncio.to_thread` from a loop.

    Args:
        data_dir: the folder; made (for us alone) if it does not exist. Its mode is kept if it
            does, as are those of the folders above it.
        settings: PostgreSQL settings that win over ours, such as {"fsync": "off"} in tests. They
            count for the start of a server, not for one that runs already.
    """

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = dict(settings)
        self._socket_dir: Path | None = None
        self._users_lock: int | None = None
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Have the server run, and return the URL of its database `omni`.

        Idempotent: a running server that answers is used as it is, a dead one is replaced.

        Raises:
            EmbeddedPostgresError: it cannot run; the message carries the end of the server's log.
        """
        with self._guard, self._exclusively():
            try:
                self._ensure_ready()
            except (OSError, psycopg.Error) as error:
                raise EmbeddedPostgresError(
                    f"PostgreSQL cannot be started in {self.data_dir}: {error}. {hint(str(error))}"
                ) from error
            if self._users_lock is None:
                self._users_lock = self._lock("users.lock", fcntl.LOCK_SH)
        return self.url()

    def stop(self) -> None:
        """Let go of the server, and stop it if nobody else uses it. Idempotent.

        Raises:
            EmbeddedPostgresError: it does not stop.
        """
        with self._guard:
            if self._users_lock is None:
                return
            if not self.data_dir.exists():
                # The server sees that itself, within a minute.
                os.close(self._users_lock)
                self._users_lock = None
                return
            with self._exclusively():
                os.close(self._users_lock)
                self._users_lock = None
                if self._is_last():
                    self._stop_server()

    def url(self, database: str = DATABASE) -> str:
        """The libpq URL of a database of this server, which must have been started."""
        if self._socket_dir is None:
            raise EmbeddedPostgresError("The server was not started yet: call start() first.")
        host = quote(str(self._socket_dir), safe="")
        return f"postgresql://{USER}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database as a copy of another (to which nobody is connected); returns its URL.

        About 50 ms for a small one, so that each test can have its own.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
        self._administer(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, with whoever is connected to it. None of this name is fine."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._administer(statement.format(sql.Identifier(name)))

    def _administer(self, statement: sql.Composed) -> None:
        with self._session() as connection:
            connection.execute(statement)

    def _session(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(
            self.url("postgres"), autocommit=True, connect_timeout=CONNECT_SECONDS_MAX
        )

    def _ensure_ready(self) -> None:
        """Have a server that answers, with our database in it."""
        for tries_left in reversed(range(START_TRIES)):
            self._socket_dir = self._ensure_running()
            try:
                self._ensure_database()
            except psycopg.OperationalError:  # it was killed, or stopped, in this moment
                if not tries_left:
                    raise
            else:
                break

    def _ensure_database(self) -> None:
        find = "SELECT 1 FROM pg_database WHERE datname = %s"
        with self._session() as connection:
            if connection.execute(find, (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _ensure_running(self) -> Path:
        """Have a server that answers; returns the folder of its socket."""
        cluster = self._cluster()
        socket_dir = self._recorded_socket_dir(cluster)
        if socket_dir and answers(socket_dir):
            return socket_dir
        began_s = time.monotonic()
        if socket_dir and listens(socket_dir):  # it starts, recovers, stops, or hangs
            if _wait_ready(cluster, socket_dir, partial(listens, socket_dir)):
                return socket_dir
            if listens(socket_dir):
                raise EmbeddedPostgresError(
                    f"A PostgreSQL (process {cluster.postmaster()}) has the data in "
                    f"{self.data_dir} but has not answered for {START_SECONDS_MAX:.0f} s. It may "
                    f"be suspended or wait for its disk; resume it or end it, then start again."
                    f"\n{cluster.log_tail()}"
                )
        # A postmaster that nobody can reach any more (its socket was swept away) is of no use.
        cluster.end_postmaster()
        created = not cluster.path.exists()
        major = None if created else int((cluster.path / "PG_VERSION").read_text())
        install = find_install(cluster.account, major)
        if created:
            create_cluster(cluster.path, cluster.account, install)
        socket_dir = socket_dir or self._make_socket_dir(cluster.account)
        cluster.clear_stale_locks(socket_dir)
        cluster.configure(socket_dir, self._settings)
        _start_server(cluster, socket_dir, install)
        log.info(
            "postgres_started",
            data_dir=str(self.data_dir),
            version=".".join(map(str, install.version)),
            created=created,
            duration_ms=round(1e3 * (time.monotonic() - began_s)),
        )
        return socket_dir

    def _cluster(self) -> Cluster:
        path = self.data_dir / "cluster"
        return Cluster(path, self.data_dir / "postgres.log", account_for(path))

    def _stop_server(self) -> None:
        cluster = self._cluster()
        cluster.end_postmaster()
        if self._socket_dir and self._socket_dir != cluster.path:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            (self.data_dir / "socket_dir").unlink(missing_ok=True)
        log.info("postgres_stopped", data_dir=str(self.data_dir))

    def _recorded_socket_dir(self, cluster: Cluster) -> Path | None:
        """Where the socket is: in the data folder, or where a start wrote that it is."""
        if len(os.fsencode(cluster.path / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            return cluster.path
        try:
            recorded = Path((self.data_dir / "socket_dir").read_text())
            owner = cluster.account.uid if cluster.account else os.geteuid()
            # The temporary folder may have been emptied, and the name taken by somebody else.
            return recorded if recorded.lstat().st_uid == owner else None
        except OSError:
            return None

    def _make_socket_dir(self, account: Account | None) -> Path:
        for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp below
            if len(os.fsencode(parent)) + 32 + len(SOCKET_NAME) > SOCKET_PATH_BYTES_MAX:
                continue
            made = Path(tempfile.mkdtemp(prefix="omni-grpc-", dir=parent))  # mode 0700
            if account:
                os.chown(made, account.uid, account.gid)
            (self.data_dir / "socket_dir").write_text(str(made))
            return made
        raise EmbeddedPostgresError(
            f"The path {self.data_dir} is too long for a unix socket, and so is that of the "
            "temporary folder. Choose a shorter data folder or set TMPDIR to a short one."
        )

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One process at a time starts or stops the server of this folder."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock("start.lock", fcntl.LOCK_EX)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The folder {self.data_dir} cannot be used for PostgreSQL: {error}. "
                f"{hint(str(error))}"
            ) from error
        try:
            yield
        finally:
            os.close(lock)

    def _lock(self, name: str, kind: int) -> int:
        """Take a lock that ends with this process; returns its descriptor."""
        descriptor = os.open(self.data_dir / name, LOCK_FLAGS, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)
                    continue
                os.close(descriptor)
                raise EmbeddedPostgresError(
                    f"Another process has been starting or stopping PostgreSQL in {self.data_dir} "
                    f"for {LOCK_SECONDS_MAX:.0f} s. End that process, then start again."
                ) from None
            else:
                return descriptor

    def _is_last(self) -> bool:
        descriptor = os.open(self.data_dir / "users.lock", LOCK_FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)


def _wait_ready(cluster: Cluster, socket_dir: Path, alive: Callable[[], bool]) -> bool:
    """Wait until the server takes sessions; False once it is not alive or the time is over."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while alive() and time.monotonic() < deadline:
        if cluster.says_ready() and answers(socket_dir):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _runs(child: subprocess.Popen[bytes]) -> bool:
    return child.poll() is None


def _start_server(cluster: Cluster, socket_dir: Path, install: Install) -> None:
    """Launch the postmaster and wait until it takes sessions."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        log_offset = cluster.begin_log()
        child = cluster.launch(install)
        if _wait_ready(cluster, socket_dir, partial(_runs, child)):
            return
        tail = cluster.log_tail(log_offset)
        if _runs(child):
            cluster.end_postmaster()
            what = f"did not get ready within {START_SECONDS_MAX:.0f} s"
        else:
            what = f"ended while it started (status {child.returncode})"
        # Processes of a killed server may live on for a moment; then the next try succeeds.
        if SHARED_MEMORY_IN_USE not in tail or time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"PostgreSQL in {cluster.path} {what}.\n{tail}\n{hint(tail)}"
            )
        cluster.end_orphans()
        time.sleep(10 * POLL_SECONDS)
