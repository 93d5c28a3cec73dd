"""Limits in this worker's memory: what it alone admitted, whoever else counts.

It never waits and takes microseconds. Memory is bounded by the limits that were used within the
last window: those that are empty again are forgotten.
"""

import math
from collections.abc import Sequence
from typing import Final

from omni_grpc.core.clock import Clock
from omni_grpc.limits.model import (
    BUCKET_COUNT,
    WINDOW_SECONDS,
    Answer,
    Claim,
    Kind,
    Verdict,
)
from omni_grpc.limits.window import Window

SWEEP_COUNT_MIN: Final = 1_024
"""Windows that may be kept before empty ones are looked for: about 700 kB."""

CONCURRENT_WAIT_SECONDS: Final = 1.0
"""When to come again where too many calls run at once: nobody knows when one of them ends."""


class LocalLimits:
    """Windows and running calls of one worker. For one event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        window_s: float = WINDOW_SECONDS,
        bucket_count: int = BUCKET_COUNT,
    ) -> None:
        self._monotonic = clock.monotonic
        self._window_s = window_s
        self._bucket_s = window_s / bucket_count
        self._bucket_count = bucket_count
        self._windows: dict[tuple[int, Kind], Window] = {}
        self._running: dict[int, int] = {}
        self._sweep_at = SWEEP_COUNT_MIN

    def __len__(self) -> int:
        return len(self._windows) + len(self._running)

    def take(self, claims: Sequence[Claim]) -> Verdict:
        """Counts all claims, or none of them."""
        now = self._monotonic()
        bucket = math.floor(now / self._bucket_s)
        if len(self._windows) >= self._sweep_at:
            self._sweep(bucket)  # before any window of this call is made, which is empty too
        has_room = True
        used: list[int] = []
        windows: list[Window | None] = []
        for claim in claims:
            window: Window | None = None
            if claim.kind is Kind.CONCURRENT:
                count = self._running.get(claim.rule_id, 0)
            else:
                key = (claim.rule_id, claim.kind)
                window = self._windows.get(key)
                if window is None:
                    window = self._windows[key] = Window(self._bucket_count, bucket)
                else:
                    window.advance(bucket)
                count = window.total
            used.append(count)
            windows.append(window)
            if count + claim.amount > claim.limit:
                has_room = False
        if not has_room:
            answers = tuple(
                self._answer(claim, count, now) for claim, count in zip(claims, used, strict=True)
            )
            return Verdict(False, bucket, answers)
        reset_s = self._over_s(bucket, now)
        for claim, window in zip(claims, windows, strict=True):
            if window is None:
                self._running[claim.rule_id] = self._running.get(claim.rule_id, 0) + 1
            else:
                window.count(claim.amount)
        return Verdict(True, bucket, tuple([Answer(count, reset_s) for count in used]))

    def give_back(self, claim: Claim, bucket: int, amount: int) -> None:
        """Takes back what a claim was counted with in a bucket; of one at once, its place."""
        if claim.kind is Kind.CONCURRENT:
            left = self._running.get(claim.rule_id, 0) - 1
            if left > 0:
                self._running[claim.rule_id] = left
            else:
                self._running.pop(claim.rule_id, None)
            return
        window = self._windows.get((claim.rule_id, claim.kind))
        if window is not None:
            window.advance(math.floor(self._monotonic() / self._bucket_s))
            window.correct(bucket, -amount)

    def _sweep(self, bucket: int) -> None:
        for key, window in list(self._windows.items()):
            window.advance(bucket)
            if not window.total:
                del self._windows[key]
        self._sweep_at = max(SWEEP_COUNT_MIN, 2 * len(self._windows))

    def _answer(self, claim: Claim, used: int, now: float) -> Answer:
        fits = used + claim.amount <= claim.limit
        if claim.kind is Kind.CONCURRENT:
            return Answer(used, 0.0, None if fits else CONCURRENT_WAIT_SECONDS)
        window = self._windows[claim.rule_id, claim.kind]
        last = window.last_counted()
        reset_s = 0.0 if last is None else self._over_s(last, now)
        if fits:
            return Answer(used, reset_s)
        return Answer(
            used, reset_s, self._over_s(window.room_after(claim.amount, claim.limit), now)
        )

    def _over_s(self, bucket: int, now: float) -> float:
        """Seconds until a bucket counts no more."""
        return (bucket + 1) * self._bucket_s + self._window_s - now
