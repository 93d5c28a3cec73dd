"""Which full segments of a journal are kept: the needed ones, and others for a while after.

None is ever deleted before an older one, so what is left of a journal is always its end.
"""

import structlog

from omni_grpc.storage.journal_folder import JournalFolder

log = structlog.get_logger(__name__)


class Retention:
    """The full segments of one folder; the newest one, which is being written, is not among them.

    A segment is deleted when it was not needed for `seconds`, or sooner while all segments are
    larger than `bytes_max`.
    """

    def __init__(self, folder: JournalFolder, *, seconds: float, bytes_max: int) -> None:
        self.seconds = seconds
        self._bytes_max = bytes_max
        self._folder = folder
        self._sizes: dict[int, int] = {}
        self._unneeded_since: dict[int, float] = {}

    @property
    def bytes(self) -> int:
        """The size of all full segments."""
        return sum(self._sizes.values())

    def bytes_of(self, number: int) -> int:
        """The size of one."""
        return self._sizes[number]

    def is_over(self, newest_bytes: int) -> bool:
        """Whether more is kept than may be."""
        return self.bytes + newest_bytes > self._bytes_max

    def add(self, number: int, size: int) -> None:
        """Keeps a segment that is full by now; the newest comes last."""
        self._sizes[number] = size

    def delete(self, *, before: int, now: float, newest_bytes: int) -> None:
        """Deletes what is due of the segments below number `before`, which nobody needs."""
        for number in self._sizes:
            if number < before:
                self._unneeded_since.setdefault(number, now)
        for number, since in list(self._unneeded_since.items()):
            if now - since < self.seconds and not self.is_over(newest_bytes):
                return
            try:
                self._folder.segment(number).unlink(missing_ok=True)
            except OSError as error:
                log.warning("journal_segment_not_deleted", error=error.strerror)
                return
            del self._sizes[number], self._unneeded_since[number]
