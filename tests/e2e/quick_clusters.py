"""Servers for tests, each in a folder of its own that begins with a copied cluster.

To make a cluster and its tables costs more than most files of tests cost, so each process of a run
makes them once; every server begins with a copy of that folder.
"""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from quick_postgres import QUICK

from omni_grpc.storage import EmbeddedPostgres, migrate
from omni_grpc.storage.embedded import DATABASE

MIGRATED: Final = DATABASE
"""In a quick server, the database that has all tables and no rows, to be a template."""

SMALL: Final[Mapping[str, str]] = {
    **QUICK,
    # What is written ahead is copied too: no more of it than one file.
    "wal_recycle": "off",
    "min_wal_size": "32MB",
    "autovacuum": "off",
}


@contextmanager
def quick_server(folder: Path, settings: Mapping[str, str] = QUICK) -> Iterator[EmbeddedPostgres]:
    """A server of `folder`, which must be empty, for the block."""
    copy_cluster(folder)
    with EmbeddedPostgres(folder, settings=settings) as server:
        yield server


def copy_cluster(folder: Path) -> None:
    """Gives `folder` a cluster to be started, as an EmbeddedPostgres that was stopped leaves it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", _made_once() / "cluster", folder / "cluster"], check=True)


@cache
def _made_once() -> Path:
    """The folder of a stopped server with its database MIGRATED; it goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="omni-cluster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with EmbeddedPostgres(folder, settings=SMALL) as server:
        migrate(server.url())
    return folder
