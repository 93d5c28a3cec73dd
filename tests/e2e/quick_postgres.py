"""How PostgreSQL runs beside tests, which never lose power: quickly."""

from collections.abc import Mapping
from typing import Final

QUICK: Final[Mapping[str, str]] = {
    "fsync": "off",
    "wal_init_zero": "off",
    # Each look for work is a new process; a run has a dozen servers, of which most are idle.
    "autovacuum_naptime": "10s",
}
