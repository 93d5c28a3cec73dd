"""Where things are kept: PostgreSQL (our own server or the operator's), journal files, a cache.

Below every room but `core`. It knows no tables but its own `schema_migration`.
"""

from omni_grpc.storage.cache import BoundedCache
from omni_grpc.storage.connection import Connection, Timeouts, connect
from omni_grpc.storage.database import Database
from omni_grpc.storage.embedded import EmbeddedPostgres
from omni_grpc.storage.errors import (
    EmbeddedPostgresError,
    JournalError,
    MigrationError,
    StorageError,
)
from omni_grpc.storage.file_signature import file_signature
from omni_grpc.storage.journal import SegmentReader, SegmentWriter
from omni_grpc.storage.journal_folder import JournalFolder, abandoned, kept, take
from omni_grpc.storage.journal_frames import Damage
from omni_grpc.storage.journal_machine import boot_id, make_durable, volatile_file_system
from omni_grpc.storage.journal_retention import Retention
from omni_grpc.storage.migrate import (
    Applied,
    Migration,
    migrate,
    migrations_folder,
    pending,
    read_migrations,
)
from omni_grpc.storage.seal import SealBrokenError, Sealer

__all__ = [
    "Applied",
    "BoundedCache",
    "Connection",
    "Damage",
    "Database",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "JournalError",
    "JournalFolder",
    "Migration",
    "MigrationError",
    "Retention",
    "SealBrokenError",
    "Sealer",
    "SegmentReader",
    "SegmentWriter",
    "StorageError",
    "Timeouts",
    "abandoned",
    "boot_id",
    "connect",
    "file_signature",
    "kept",
    "make_durable",
    "migrate",
    "migrations_folder",
    "pending",
    "read_migrations",
    "take",
    "volatile_file_system",
]
