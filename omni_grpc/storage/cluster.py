"""One PostgreSQL data folder: making it, its configuration, its postmaster.

The configuration is a ledger's: every commit is on the disk before it is acknowledged. The server
listens on a unix socket alone. Authentication is `trust`, since the socket stands in a folder
that only the server's own account (and root) can enter; whoever is that account can read the data
files as well, so that a password would guard nothing.

When root runs the server through another account, that account need not be able to walk to the
data folder: it is entered first, then the privileges go, and the folder is named /proc/self/cwd.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg import pq

from omni_grpc.storage.binaries import ENVIRONMENT, Account, Install, run_program
from omni_grpc.storage.errors import EmbeddedPostgresError

USER: Final = "omni"
PORT: Final = 5432
"""Only a part of the socket's name: nothing listens on TCP."""

SOCKET_NAME: Final = f".s.PGSQL.{PORT}"
PID_FILE: Final = "postmaster.pid"
ANSWER_SECONDS_MAX: Final = 2
"""How long one look at a server may take that accepts the connection but says nothing."""

FAST_STOP_SECONDS_MAX: Final = 30.0
"""How long a server may take for its last checkpoint before it is stopped without one; that
loses nothing either, the next start recovers from the log."""

END_SECONDS_MAX: Final = 10.0
"""How long the processes may take to go after an immediate stop; PostgreSQL kills them at 5."""

OWN_FOLDER: Final = Path("/proc/self/cwd")
"""On Linux, the folder that a process works in, reachable whatever stands above it."""

POLL_SECONDS: Final = 0.005
LOG_BYTES_MAX: Final = 4 * 1024 * 1024
"""At a start a longer server log is set aside, replacing the one set aside before."""

LOG_TAIL_CHARS: Final = 1_500
"""How much of the server's log an error message carries."""

SETTINGS: Final[Mapping[str, str]] = {
    # Reached by the unix socket alone.
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    # A ledger: an acknowledged commit survives a crash of the process and of the machine.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # A laptop's share.
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_buffers": "16MB",
    "max_wal_size": "1GB",
    # Three processes less; they pay only for large sequential reads.
    "io_method": "sync",
    # Many short statements: compiling or spreading one costs more than running it. Parallel
    # workers also need more shared memory than a container has by default.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # The hot tables are rewritten thousands of times a second; a second without vacuum shows.
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    # Nobody may forget a transaction on a wallet's row, nor die without being noticed.
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log names faults. It never shows a statement or its values: they hold tenants' data.
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
    "log_line_prefix": "%m [%p] ",
}

INITDB: Final = (
    f"--username={USER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)

SHARED_MEMORY_IN_USE: Final = "pre-existing shared memory block"
"""Said by a new server while a process of a killed one still lives; it goes soon."""

HINTS: Final = {
    "No space left on device": "Free disk space and start again.",
    "Read-only file system": "Choose a data folder on a file system that can be written.",
    "Permission denied": "Choose a data folder that belongs to the account that runs this.",
    "has wrong ownership": "Choose a data folder that belongs to the account that runs this.",
    "could not look up effective user ID": "Give this user id an entry in /etc/passwd.",
    "could not create shared memory": "Allow more shared memory (in Docker: --shm-size).",
}
HINT_ELSE: Final = "The log above says why; or set a database URL of a server that you run."


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data folder, with the account that owns and runs it."""

    path: Path
    log_path: Path
    account: Account | None

    def configure(self, socket_dir: Path, settings: Mapping[str, str]) -> None:
        """Write postgresql.conf anew; `settings` win over ours.

        Raises:
            OSError: the folder cannot be written.
        """
        socket_setting = "." if socket_dir == self.path else f'"{socket_dir}"'
        merged = {**SETTINGS, "unix_socket_directories": socket_setting, **settings}
        lines = ["# Written by omni-grpc at each start. ALTER SYSTEM is kept, edits here are not."]
        lines += [f"{name} = '{_quoted(value)}'" for name, value in merged.items()]
        # Root writes into another account's folder: a planted link must not be followed, so the
        # file is made new and put in place by a rename.
        descriptor, name = tempfile.mkstemp(prefix="postgresql.conf.", dir=self.path)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            if self.account:
                os.fchown(file.fileno(), self.account.uid, self.account.gid)
        Path(name).replace(self.path / "postgresql.conf")

    def launch(self, install: Install) -> subprocess.Popen[bytes]:
        """Start the postmaster in a session of its own, so that Ctrl-C does not reach it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self.log_path, flags, 0o600), "ab") as log:
            child = subprocess.Popen(
                [install.program("postgres"), "-D", data_argument(self.path, self.account)],
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
                umask=0o077,
                env=ENVIRONMENT,
                cwd=self.path,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # Whoever dies unreaped still counts as running for the next server's own check.
        threading.Thread(target=child.wait, name="postgres-reaper", daemon=True).start()
        return child

    def postmaster(self) -> int | None:
        """The process id of the running postmaster of this folder, or None."""
        pid = _recorded_pid(self.path / PID_FILE)
        return pid if pid is not None and self._works_here(pid) else None

    def says_ready(self) -> bool:
        """What the postmaster wrote of itself: cheaper than to ask it, and asking is logged."""
        try:
            return "ready" in (self.path / PID_FILE).read_text().split("\n")[7]
        except (OSError, IndexError):
            return False

    def clear_stale_locks(self, socket_dir: Path) -> None:
        """Remove lock files that name a living process which is none of ours, or a zombie.

        After a container's restart process ids repeat, and PostgreSQL would take a stranger for
        its predecessor and refuse to start. A file that names no process is left to PostgreSQL.
        """
        for path in (self.path / PID_FILE, socket_dir / f"{SOCKET_NAME}.lock"):
            pid = _recorded_pid(path)
            if pid is not None and not self._works_here(pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, 0)
                    path.unlink(missing_ok=True)

    def end_postmaster(self) -> None:
        """Stop the postmaster: fast (with a checkpoint), or else immediately.

        Raises:
            EmbeddedPostgresError: it did not go either way.
        """
        for number, limit_s in (
            (signal.SIGINT, FAST_STOP_SECONDS_MAX),
            (signal.SIGQUIT, END_SECONDS_MAX),
        ):
            pid = self.postmaster()
            if pid is None:
                return
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + limit_s
            while time.monotonic() < deadline:
                if self.postmaster() is None:
                    return
                time.sleep(POLL_SECONDS)
        raise EmbeddedPostgresError(
            f"PostgreSQL (process {self.postmaster()}, data in {self.path}) does not stop. It may "
            "be suspended or wait for its disk; resume it, or end the process."
        )

    def end_orphans(self) -> None:
        """End the busy sessions of a killed postmaster, which keep a new one from starting.

        Elsewhere than on Linux they are not found, and end with their statements.
        """
        for entry in OWN_FOLDER.parents[1].glob("[0-9]*"):
            if self._works_here(int(entry.name)):
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGQUIT)

    def begin_log(self) -> int:
        """Set a long log aside; returns where in the log the next start will write."""
        try:
            size = self.log_path.stat().st_size
        except FileNotFoundError:
            return 0
        if size <= LOG_BYTES_MAX:
            return size
        self.log_path.replace(self.log_path.with_suffix(".log.old"))
        return 0

    def log_tail(self, offset: int = 0) -> str:
        """The end of the server's log, from a byte offset on."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(offset)
                return log.read().decode(errors="replace")[-LOG_TAIL_CHARS:].strip()
        except OSError:
            return ""

    def _works_here(self, pid: int) -> bool:
        """Whether this process is a PostgreSQL that works in this folder (and no zombie)."""
        if OWN_FOLDER.exists():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                return name == "postgres" and Path(f"/proc/{pid}/cwd").samefile(self.path)
            except OSError:
                return False
        ran = run_program(
            ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)], account=None, cwd=self.path
        )
        return re.match(r"[^Z]\S*\s+\S*postgres\b", ran.stdout) is not None


def create_cluster(path: Path, account: Account | None, install: Install) -> None:
    """Make the data folder, complete or not at all.

    Raises:
        EmbeddedPostgresError: initdb failed; the message carries its words.
        OSError: the folder around it cannot be written.
    """
    for stale in path.parent.glob(f"{path.name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.partial-", dir=path.parent))
    try:
        if account:
            os.chown(partial, account.uid, account.gid)
        ran = run_program(
            [install.program("initdb"), "-D", data_argument(partial, account), *INITDB],
            account=account,
            cwd=partial,
        )
        if ran.returncode == 0:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if ran.returncode != 0:
        raise EmbeddedPostgresError(
            f"PostgreSQL could not set up its data in {path.parent}: initdb ended with "
            f"{ran.returncode}.\n{ran.stdout[-LOG_TAIL_CHARS:].strip()}\n{hint(ran.stdout)}"
        )
    # initdb synced its files; the rename is ours to sync.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_argument(path: Path, account: Account | None) -> str:
    """How the programs are told their data folder; they are started inside it."""
    return str(OWN_FOLDER if account and OWN_FOLDER.exists() else path)


def listens(socket_dir: Path) -> bool:
    """Whether a process holds this socket, even if it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_SECONDS_MAX)
        try:
            probe.connect(str(socket_dir / SOCKET_NAME))
        except (TimeoutError, BlockingIOError):  # alive, with its queue full
            return True
        except OSError:
            return False
        return True


def answers(socket_dir: Path) -> bool:
    """Whether a server takes sessions at this socket; says so within two seconds."""
    host = str(socket_dir).replace("\\", "\\\\").replace("'", "\\'")
    conninfo = f"host='{host}' port={PORT} user={USER} dbname=postgres"
    conninfo += f" connect_timeout={ANSWER_SECONDS_MAX}"
    return listens(socket_dir) and pq.PGconn.ping(conninfo.encode()) == pq.Ping.OK


def hint(text: str) -> str:
    """What to do about a failure that PostgreSQL described."""
    return next((advice for sign, advice in HINTS.items() if sign in text), HINT_ELSE)


def _recorded_pid(path: Path) -> int | None:
    """The process that a lock file of PostgreSQL names in its first line."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
