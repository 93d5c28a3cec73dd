"""The faults of storage that an operator meets, never a caller on the wire.

    StorageError
    ├── EmbeddedPostgresError    the embedded server cannot be set up, started or stopped
    ├── MigrationError           the schema cannot be brought to this code's version
    └── JournalError             a journal cannot be made, written or synced

Each message says what happened, why, and what to do.
"""


class StorageError(Exception):
    """Base of the faults of storage."""


class EmbeddedPostgresError(StorageError):
    """The embedded PostgreSQL cannot be set up, started or stopped."""


class MigrationError(StorageError):
    """The schema cannot be brought to the version that this code needs."""


class JournalError(StorageError):
    """A journal cannot be made, written or synced: no room, no right, a broken disk."""
