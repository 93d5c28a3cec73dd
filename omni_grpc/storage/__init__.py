"""Where things are kept: PostgreSQL (a server of our own or the operator's), and a cache.

Below every room but `core`. It knows no tables but its own `schema_migration`.
"""

from omni_grpc.storage.cache import BoundedCache
from omni_grpc.storage.connection import Connection, Timeouts, connect
from omni_grpc.storage.database import Database
from omni_grpc.storage.embedded import EmbeddedPostgres
from omni_grpc.storage.errors import EmbeddedPostgresError, MigrationError, StorageError
from omni_grpc.storage.migrate import (
    Applied,
    Migration,
    migrate,
    migrations_folder,
    pending,
    read_migrations,
)

__all__ = [
    "Applied",
    "BoundedCache",
    "Connection",
    "Database",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "Migration",
    "MigrationError",
    "StorageError",
    "Timeouts",
    "connect",
    "migrate",
    "migrations_folder",
    "pending",
    "read_migrations",
]
