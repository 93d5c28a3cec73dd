"""Segments of a journal: append-only files of framed records, of which it knows the bytes only.

A record that `append` returned for is in the kernel, by one write, and survives the death of its
process; one that a sync was begun after survives a loss of power when that sync has ended. Where
there is no room nothing is written, and nothing of a record that was written in part is left.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Final

from omni_grpc.storage.errors import JournalError
from omni_grpc.storage.journal_folder import JournalFolder
from omni_grpc.storage.journal_frames import Damage, FrameReader, frame
from omni_grpc.storage.journal_machine import make_durable, sync_folder

_NONE: Final = -1


class SegmentWriter:
    """Appends records to the newest segment of a folder. For one thread; its syncs run in another.

    `durable` makes the content of a descriptor survive a loss of power, or raises OSError.
    """

    def __init__(
        self, folder: JournalFolder, durable: Callable[[int], None] = make_durable
    ) -> None:
        self.number = 0
        """Of the newest segment, from 1; 0 while there is none."""
        self.size = 0
        """Its bytes."""
        self.records = 0
        """Its records."""
        self._folder = folder
        self._durable = durable
        self._written = 0
        self._file = _NONE
        self._full: list[int] = []
        self._names_changed = False

    def begin(self, head: bytes) -> None:
        """Begins a new segment, whose first record is `head`.

        Raises:
            JournalError: it cannot; the segment before is still the newest one.
        """
        path = self._folder.segment(self.number + 1)
        first = frame(self._written + 1, head)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            file = os.open(path, flags, 0o600)
            try:
                _write_all(file, first)
            except OSError:
                os.close(file)
                path.unlink()
                raise
        except OSError as error:
            raise _failed(error) from error
        if self._file != _NONE:
            self._full.append(self._file)
        self._file = file
        self._names_changed = True
        self.number += 1
        self._written += 1
        self.size, self.records = len(first), 1

    def append(self, record: bytes) -> None:
        """Writes a record.

        Raises:
            JournalError: it is not written, and nothing of it is left.
        """
        framed = frame(self._written + 1, record)
        try:
            _write_all(self._file, framed)
        except OSError as error:
            raise _failed(error) from error
        self._written += 1
        self.records += 1
        self.size += len(framed)

    def sync(self) -> Callable[[], None]:
        """The work that makes all that was written by now durable.

        It is to be done in another thread, one at a time, and raises JournalError: records that it
        was for may be lost, and trying again proves nothing; see `give_up_unsynced`.
        """
        full, self._full = self._full, []
        names_changed, self._names_changed = self._names_changed, False
        newest = self._file

        def work() -> None:
            try:
                for file in (*full, newest):
                    if file != _NONE:
                        self._durable(file)
                if names_changed:
                    sync_folder(self._folder.path)
            except OSError as error:
                raise _failed(error) from error
            finally:
                for file in full:
                    os.close(file)

        return work

    def give_up_unsynced(self) -> None:
        """Forgets the segments that wait to be synced, except the newest one."""
        full, self._full = self._full, []
        for file in full:
            os.close(file)

    def close(self) -> None:
        """Closes the files; what was written stays written."""
        self.give_up_unsynced()
        file, self._file = self._file, _NONE
        if file != _NONE:
            os.close(file)


class SegmentReader:
    """Reads all records of a folder, in the order in which they were written."""

    def __init__(self, folder: JournalFolder) -> None:
        self._folder = folder
        self._frames = FrameReader()

    @property
    def damage(self) -> Damage:
        """What was not whole in what was read by now."""
        return self._frames.damage

    def records(self) -> Iterator[bytes]:
        """The records. A segment that is deleted meanwhile is left out, as those before it."""
        segments = self._folder.segments()
        for path in segments:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError:
                self._frames.skip(path.stat().st_size)
                continue
            yield from self._frames.read(content, is_last=path == segments[-1])


def _write_all(file: int, content: bytes) -> None:
    """One write, and an error where the kernel took only a part of it."""
    written = os.write(file, content)
    if written != len(content):
        # A part that cannot be cut off is skipped by readers, as damage.
        with contextlib.suppress(OSError):
            os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _failed(error: OSError) -> JournalError:
    return JournalError(f"the journal cannot be written: {error.strerror or error}")
