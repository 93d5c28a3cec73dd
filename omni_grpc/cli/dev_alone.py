"""One `omni-grpc dev` a folder: a second one would take the first one's place in dev.json.

`omni-grpc chat` would then ask the second, and nobody once that has ended. The lock ends with its
process, however that ends.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from omni_grpc.cli.failures import CommandError

LOCK_FILE: Final = "dev.lock"


@contextmanager
def alone_in(folder: Path, told_of: Callable[[], str]) -> Iterator[None]:
    """Has the folder to itself while the block runs.

    Args:
        folder: where `dev` keeps its things.
        told_of: where the `dev` listens that the folder belongs to, for the refusal.

    Raises:
        CommandError: another `dev` runs on the folder; nothing there was touched.
    """
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"An `omni-grpc dev` runs on {folder} already{told_of()}. Use that one, or give "
                "this one a folder of its own: --data-dir FOLDER."
            ) from None
        yield
    finally:
        os.close(lock)
