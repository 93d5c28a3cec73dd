"""How PostgreSQL runs beside tests, which never lose power: quickly."""

from collections.abc import Mapping
from typing import Final

QUICK: Final[Mapping[str, str]] = {
    "fsync": "off",
    # Each look for work is a new process, once for each database in that time; a run has a dozen
    # servers with up to forty databases, of which most are idle.
    "autovacuum_naptime": "60s",
}
