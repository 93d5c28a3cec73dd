"""Copies of a template database that tests use one after another.

PostgreSQL makes some three hundred files for a database and removes them with it, which costs a
file system more than most tests cost. So a copy whose tables a test left as they were made (their
rows may have changed) gets the template's rows and sequences back and serves the next test; any
other is dropped.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from omni_grpc.storage import EmbeddedPostgres

END_MS_MAX = 10_000
"""How long a session that a test left may take to end."""

CATALOGS = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_depend", "pg_extension",
    "pg_index", "pg_inherits", "pg_namespace", "pg_policy", "pg_proc", "pg_rewrite", "pg_sequence",
    "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
SHAPE = " UNION ALL ".join(
    f"SELECT '{name}', count(*), max(xmin::text::bigint) FROM {name}" for name in CATALOGS
) + (
    " UNION ALL SELECT 'settings', count(*), 0 FROM pg_db_role_setting s"
    " JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = current_database()"
)
"""What a change of tables, functions or settings changes: rows that come, go or are written."""

NAMES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = %s AND relnamespace IN"
    " (SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)') ORDER BY 1"
)
END_OTHERS = (
    "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type <> %s"
)


class CopiedDatabases:
    """The copies of one template, to which nobody is connected."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self._server = server
        self._template = template
        self._numbers = itertools.count()
        self._free: list[str] = []
        with psycopg.connect(server.url(template)) as connection:
            self._shape = connection.execute(SHAPE.encode()).fetchall()
            tables = [name for (name,) in connection.execute(NAMES, ["r"])]
            self._emptied = ";".join(f"DELETE FROM {name}" for name in tables)
            self._rows = {name: rows for name in tables if (rows := _copied(connection, name))}
            self._sequences = [
                (name, *row)
                for (name,) in connection.execute(NAMES, ["S"]).fetchall()
                for row in connection.execute(_read_sequence(name)).fetchall()
            ]

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database that is as the template is, for the block alone."""
        if self._free:
            name = self._free.pop()
        else:
            name = f"{self._template}_{next(self._numbers)}"
            self._server.create_database(name, template=self._template)
        yield self._server.url(name)
        if self._restored(name):
            self._free.append(name)
        else:
            self._server.drop_database(name)

    def _restored(self, name: str) -> bool:
        """Makes a database as the template is; False where that takes more than rows."""
        try:
            with psycopg.connect(self._server.url(name)) as connection:
                connection.execute(END_OTHERS, [END_MS_MAX, "autovacuum worker"])
                if connection.execute(SHAPE.encode()).fetchall() != self._shape:
                    return False
                # Neither the order of tables nor what guards their rows matters here.
                connection.execute("SET LOCAL session_replication_role = replica")
                connection.execute(self._emptied.encode())
                for table, rows in self._rows.items():
                    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                        copy.write(rows)
                for sequence in self._sequences:
                    connection.execute("SELECT setval(%s, %s, %s)", sequence)
                connection.execute("SELECT pg_stat_reset()")
        except psycopg.Error:  # the test took it away, or keeps it from being written
            return False
        return True


def _copied(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
        return b"".join(copy)


def _read_sequence(name: str) -> bytes:
    return f"SELECT last_value, is_called FROM {name}".encode()
