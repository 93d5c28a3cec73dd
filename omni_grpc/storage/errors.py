"""The faults of storage that an operator meets at start-up, never a caller on the wire.

    StorageError
    ├── EmbeddedPostgresError    the embedded server cannot be set up, started or stopped
    └── MigrationError           the schema cannot be brought to this code's version

Each message says what happened, why, and what to do.
"""


class StorageError(Exception):
    """Base of the start-up faults of storage."""


class EmbeddedPostgresError(StorageError):
    """The embedded PostgreSQL cannot be set up, started or stopped."""


class MigrationError(StorageError):
    """The schema cannot be brought to the version that this code needs."""
