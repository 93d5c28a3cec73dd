"""A worker's folder in the journal: whose it is, and how another takes it when that one is gone.

A folder belongs to whoever holds the lock on its `lock` file (flock), which the system gives back
when its process is gone, however it ended. Folders get and lose their names by one rename, so
nobody ever finds one half made, and of several that try to take one exactly one does.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from omni_grpc.storage.errors import JournalError
from omni_grpc.storage.journal_machine import sync_folder

log = structlog.get_logger(__name__)

_WORKER: Final = "w-"
_BEING_MADE: Final = "new-"
_BEING_REMOVED: Final = "gone-"
_SET_ASIDE: Final = "damaged-"
_KEPT: Final = "kept-"
_LOCK: Final = "lock"
_SEGMENT: Final = ".log"
_MARK: Final = "."
"""Stands before the mark of a folder that is kept; in no other name."""

BIRTH_SECONDS_MAX: Final = 3_600.0
"""A folder that is not made after this long, which takes milliseconds, has lost its maker."""


class JournalFolder:
    """A locked folder with the segments of one worker."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> "JournalFolder":
        """Makes a folder for this process below `root`, which is made too where it is missing.

        Raises:
            JournalError: it cannot be made or locked there.
        """
        made = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        name = f"{made}-{secrets.token_hex(4)}"
        path = root / f"{_WORKER}{name}"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            born = root / f"{_BEING_MADE}{name}"
            born.mkdir(mode=0o700)
            lock = _open_lock(born)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                born.rename(path)
                sync_folder(root)
            except OSError:
                os.close(lock)
                raise
        except OSError as error:
            raise JournalError(
                f"The journal cannot be kept in {root}: {error.strerror or error}. "
                "It needs a folder on a local disk that this account may write to."
            ) from error
        return cls(path, lock)

    def segments(self) -> list[Path]:
        """The segments, oldest first."""
        return sorted(self.path.glob(f"*{_SEGMENT}"))

    def segment(self, number: int) -> Path:
        """The file of a segment."""
        return self.path / f"{number:010d}{_SEGMENT}"

    def remove(self) -> None:
        """Deletes the folder and gives up its lock. It is gone also if this is interrupted.

        Raises:
            OSError: it cannot be renamed; it is still there and still locked.
        """
        gone = self._rename(_BEING_REMOVED)
        shutil.rmtree(gone, ignore_errors=True)
        self.release()

    def keep(self, mark: str) -> None:
        """Keeps the folder for a while though all in it is done; gives up its lock.

        `mark`, of letters and digits, stands in its name, and tells `kept` what is in it. One that
        was kept before gets another mark, and its time begins anew.

        Raises:
            OSError: it cannot be renamed; it is still there and still locked.
        """
        os.utime(self.path)  # its age counts from now on
        self.path = self._rename(_KEPT, f"{_MARK}{mark}")
        self.release()

    def set_aside(self) -> Path:
        """Keeps the folder for people, under a name that nobody adopts; gives up its lock.

        Raises:
            OSError: it cannot be renamed; it is still there and still locked.
        """
        kept = self._rename(_SET_ASIDE)
        self.release()
        return kept

    def release(self) -> None:
        """Gives up the lock, so that the folder may be adopted; does nothing the second time."""
        lock, self._lock = self._lock, -1
        if lock != -1:
            os.close(lock)

    def _rename(self, prefix: str, suffix: str = "") -> Path:
        own = self.path.name.removeprefix(_WORKER).removeprefix(_KEPT).partition(_MARK)[0]
        return self.path.rename(self.path.with_name(f"{prefix}{own}{suffix}"))


def abandoned(root: Path) -> Iterator[JournalFolder]:
    """Takes, one after the other, the folders below `root` whose processes are gone.

    The caller removes each, sets it aside or releases it.
    """
    with contextlib.suppress(OSError):
        _sweep(root)
    for path in sorted(root.glob(f"{_WORKER}*")):
        lock = _take(path)
        if lock is not None:
            yield JournalFolder(path, lock)


def kept(root: Path, *, seconds: float, bytes_max: int) -> dict[Path, str]:
    """The folders below `root` that were kept, with their marks; deletes what is due.

    That is what was kept for longer than `seconds`, or is beyond `bytes_max` with all newer ones.
    """
    found: list[tuple[float, int, Path]] = []
    for path in root.glob(f"{_KEPT}*"):
        with contextlib.suppress(OSError):
            size = sum(each.stat().st_size for each in path.iterdir())
            found.append((path.stat().st_mtime, size, path))
    marks: dict[Path, str] = {}
    total = 0
    for since, size, path in sorted(found, reverse=True):
        total += size
        if since >= time.time() - seconds and total <= bytes_max:
            marks[path] = path.name.partition(_MARK)[2]
            continue
        folder = take(path)
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.remove()
            folder.release()
    return marks


def take(path: Path) -> JournalFolder | None:
    """Takes a folder whose process is gone; None if it is somebody's, or gone itself."""
    lock = _take(path)
    return None if lock is None else JournalFolder(path, lock)


def _take(path: Path) -> int | None:
    """Locks a folder; None if it is somebody's, or gone, or not ours to read."""
    try:
        lock = _open_lock(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("journal_folder_closed_to_us", folder=path.name, error=error.strerror)
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed it between the two calls.
        if os.path.samestat(os.fstat(lock), (path / _LOCK).stat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _sweep(root: Path) -> None:
    """Deletes what was being made or removed by processes that were killed over it."""
    for path in root.glob(f"{_BEING_REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(f"{_BEING_MADE}*"):
        if path.stat().st_mtime < time.time() - BIRTH_SECONDS_MAX:
            shutil.rmtree(path, ignore_errors=True)
