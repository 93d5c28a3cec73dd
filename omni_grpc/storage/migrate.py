"""The migration runner: numbered SQL files, forward only, each in one transaction.

A file runs whole or not at all, once, in the order of the numbers, whoever else migrates at the
same time. It refuses to guess: a changed file, a gap, or a database that is newer than this code
is an error before anything is touched. It uses no advisory lock, so that it works through poolers
and on distributed PostgreSQL; whoever writes takes a lock on the table `schema_migration`.
"""

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import structlog
from psycopg import errors
from psycopg.rows import TupleRow

from omni_grpc.storage.errors import MigrationError

SERVER_VERSION_MIN: Final = 15_00_00
"""PostgreSQL 15, in the server's own notation."""

OTHER_RUNNER_SECONDS_MAX: Final = 600
"""How long to wait for another runner, which may be rewriting a large table."""

LOCK_SECONDS_MAX: Final = 10
"""How long one statement of a file may wait for a lock: while it waits, every later query on the
table waits behind it. A file that may wait longer says so itself (SET LOCAL lock_timeout)."""

CONNECT_SECONDS_MAX: Final = 10
FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS public.schema_migration (
    number     integer PRIMARY KEY CHECK (number > 0),
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number and name (of NNNN_name.sql), its text and the text's hash."""

    number: int
    name: str
    sha256: str
    statements: bytes

    @property
    def file_name(self) -> str:
        """As it stands in the folder."""
        return f"{self.number:04d}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Applied:
    """One file that this run applied, and how long that took."""

    number: int
    name: str
    duration_s: float


def migrations_folder() -> Path:
    """The folder of this release's files: inside the installed package, or in the repository.

    Raises:
        MigrationError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if folder.is_dir():
            return folder
    raise MigrationError(
        f"No folder with migrations stands in {package} or beside it. The installation is "
        "incomplete: install omni-grpc again."
    )


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """The files of a folder, in order.

    Raises:
        MigrationError: a name is malformed, or the numbers are not 1, 2, 3, … without a gap.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(
                f"The migration {path.name} is not named NNNN_name.sql (four digits, then small "
                "letters, digits and underscores). Rename it."
            )
        statements = path.read_bytes()
        digest = hashlib.sha256(statements).hexdigest()
        found.append(Migration(int(match[1]), match[2], digest, statements))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            what = "twice" if migration.number < expected else f"but {expected:04d} is missing"
            raise MigrationError(
                f"The migrations in {folder} have the number {migration.number:04d} {what}. "
                "Number them 0001, 0002, … without a gap."
            )
    return tuple(found)


def pending(url: str, folder: Path | None = None) -> tuple[Migration, ...]:
    """What `migrate` would apply now. Changes nothing in the database.

    Raises:
        MigrationError: the files and the database do not fit together, or it is out of reach.
    """
    migrations = read_migrations(folder or migrations_folder())
    with _connect(url) as connection:
        found = connection.execute("SELECT to_regclass('public.schema_migration')").fetchone()
        if found is None or found[0] is None:
            return migrations
        return _pending(connection, migrations)


def migrate(url: str, folder: Path | None = None) -> tuple[Applied, ...]:
    """Bring the database to this code's version; returns what this run applied, in order.

    Safe to run from several places at once: each file is applied by one of them.

    Raises:
        MigrationError: the files and the database do not fit together, a file failed (nothing of
            it was kept), or the database is out of reach.
    """
    migrations = read_migrations(folder or migrations_folder())
    applied: list[Applied] = []
    with _connect(url) as connection:
        try:
            _create_table(connection)
            while step := _apply_next(connection, migrations):
                applied.append(step)
                log.info(
                    "migration_applied",
                    number=step.number,
                    name=step.name,
                    duration_ms=round(1e3 * step.duration_s),
                )
                connection.execute("RESET ALL")  # a file's own SET must not reach the next file
        except psycopg.Error as error:
            raise MigrationError(
                f"The migration could not go on: {error}. {len(applied)} files were applied by "
                "this run and are kept. Mend the cause, then run it again."
            ) from error
    return tuple(applied)


def _connect(url: str) -> psycopg.Connection[TupleRow]:
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            application_name="omni-grpc migrate",
            connect_timeout=CONNECT_SECONDS_MAX,
        )
    except psycopg.OperationalError as error:
        raise MigrationError(
            f"The database to migrate is out of reach: {error}. Check its URL and that it runs."
        ) from error
    version = connection.info.server_version
    if version < SERVER_VERSION_MIN:
        connection.close()
        raise MigrationError(
            f"The database is PostgreSQL {version // 10_000}, and omni-grpc needs "
            f"{SERVER_VERSION_MIN // 10_000} or newer. Upgrade it, or use another."
        )
    return connection


def _create_table(connection: psycopg.Connection[TupleRow]) -> None:
    # Each of them means that another runner made it, or its row type, in this moment.
    with suppress(errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
        connection.execute(CREATE_TABLE)


def _apply_next(
    connection: psycopg.Connection[TupleRow], migrations: tuple[Migration, ...]
) -> Applied | None:
    """Apply the first pending file, in one transaction with its record; None if there is none."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{OTHER_RUNNER_SECONDS_MAX}s'")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("LOCK TABLE public.schema_migration IN SHARE ROW EXCLUSIVE MODE")
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS_MAX}s'")
        waiting = _pending(connection, migrations)
        return _apply(connection, waiting[0]) if waiting else None


def _apply(connection: psycopg.Connection[TupleRow], migration: Migration) -> Applied:
    began_s = time.monotonic()
    transaction = connection.execute("SELECT pg_current_xact_id()").fetchone()
    try:
        connection.execute(migration.statements)
    except psycopg.Error as error:
        raise MigrationError(
            f"The migration {migration.file_name} failed{_place(error, migration)}, and nothing "
            f"of it was kept: {error}"
        ) from error
    if connection.execute("SELECT pg_current_xact_id()").fetchone() != transaction:
        raise MigrationError(
            f"The migration {migration.file_name} ended its transaction itself (COMMIT or "
            "ROLLBACK), so that a part of it may be kept. Undo that part by hand, and take the "
            "statement out of the file."
        )
    connection.execute(
        "INSERT INTO public.schema_migration (number, name, sha256) VALUES (%s, %s, %s)",
        (migration.number, migration.name, migration.sha256),
    )
    return Applied(migration.number, migration.name, time.monotonic() - began_s)


def _pending(
    connection: psycopg.Connection[TupleRow], migrations: tuple[Migration, ...]
) -> tuple[Migration, ...]:
    """The files that the database does not have, once those that it has fit ours exactly."""
    rows = connection.execute(
        "SELECT number, name, sha256 FROM public.schema_migration ORDER BY number"
    ).fetchall()
    for position, (number, name, sha256) in enumerate(rows, start=1):
        if number != position:
            raise MigrationError(
                f"The database records the migration {number:04d}_{name} but not "
                f"{position:04d}: its table schema_migration was changed by hand. Restore it from "
                "a backup."
            )
        if number > len(migrations):
            raise MigrationError(
                f"The database is newer than this code: it has the migration {number:04d}_{name}, "
                f"and this release ends at {len(migrations):04d}. Run the newer release, or "
                "restore a backup from before; migrations only go forward."
            )
        ours = migrations[position - 1]
        if sha256 != ours.sha256:
            raise MigrationError(
                f"The migration {ours.file_name} was changed after the database applied it as "
                f"{number:04d}_{name}.sql (hash then {sha256[:12]}, now {ours.sha256[:12]}). "
                "Restore the file, and put the change into a new migration."
            )
    return migrations[len(rows) :]


def _place(error: psycopg.Error, migration: Migration) -> str:
    """Where in the file it went wrong, if the server said so."""
    position = error.diag.statement_position
    if position is None:
        return ""
    before = migration.statements.decode(errors="replace")[: int(position) - 1]
    return f" in line {before.count(chr(10)) + 1}"
