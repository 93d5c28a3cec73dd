"""A sliding window that never counts too little: time in buckets, of which each counts whole.

What was counted in a bucket counts until no window that reaches into it can end now. So in any
stretch of time as long as the window at most the limit is counted, wherever the stretch begins.
Memory is fixed: one number a bucket.
"""

from array import array
from typing import Final

_COUNT: Final = "q"
"""64 bits: the largest limit of tokens fits, and so do sums below it."""


class Window:
    """The counts of one limit over the last `bucket_count` + 1 buckets."""

    __slots__ = ("_counts", "_newest", "_size", "total")

    def __init__(self, bucket_count: int, bucket: int) -> None:
        """An empty window at a bucket's time."""
        self._size = bucket_count + 1
        self._counts = array(_COUNT, bytes(8 * self._size))
        self._newest = bucket
        self.total = 0
        """What counts now, since `advance` was last called."""

    def advance(self, bucket: int) -> None:
        """Goes on to a bucket's time; what is too old is forgotten."""
        gap = bucket - self._newest
        if gap <= 0:
            return
        if gap >= self._size or not self.total:
            if self.total:
                self._counts = array(_COUNT, bytes(8 * self._size))
                self.total = 0
        else:
            counts, size = self._counts, self._size
            for one in range(self._newest + 1, bucket + 1):
                place = one % size
                self.total -= counts[place]
                counts[place] = 0
        self._newest = bucket

    def count(self, amount: int) -> None:
        """Counts more in the bucket of the last `advance`."""
        self._counts[self._newest % self._size] += amount
        self.total += amount

    def correct(self, bucket: int, amount: int) -> None:
        """Counts more in a bucket, or less where the amount is negative; nothing if it is too old.

        A bucket never has less than nothing.
        """
        if not 0 <= self._newest - bucket < self._size:
            return
        place = bucket % self._size
        amount = max(amount, -self._counts[place])
        self._counts[place] += amount
        self.total += amount

    def last_counted(self) -> int | None:
        """The newest bucket that has something; None if none has."""
        if self.total:
            for bucket in range(self._newest, self._newest - self._size, -1):
                if self._counts[bucket % self._size]:
                    return bucket
        return None

    def room_after(self, amount: int, limit: int) -> int:
        """The bucket that must be forgotten before `amount` fits; the last one if it never does."""
        left = self.total
        for bucket in range(self._newest - self._size + 1, self._newest + 1):
            left -= self._counts[bucket % self._size]
            if left + amount <= limit:
                return bucket
        return self._newest
