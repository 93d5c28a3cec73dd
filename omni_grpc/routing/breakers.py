"""Circuit breakers: which offers failed lately, and when each may be tried again.

A breaker opens after several failures in a row, or when most of the last calls failed; it then lets
one call through at a time, and closes when that succeeds. One worker's memory: it is rebuilt by the
first failures after a restart.
"""

import random
from collections import deque
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.core.clock import Clock

FAILURES_IN_ROW: Final = 4
"""So many failures in a row open a breaker: a single one is chance."""

RECENT_CALLS: Final = 20
"""Calls whose outcomes are remembered."""

RECENT_CALLS_MIN: Final = 10
"""So many must be known before their share counts."""

FAILED_SHARE_MAX: Final = 0.5
"""Above it most calls fail, whatever the last one did."""

OPEN_SECONDS: Final = 5.0
"""How long a breaker stays open at first; doubled each time that its trial fails."""

OPEN_SECONDS_MAX: Final = 120.0
"""So that a provider that is back is found within two minutes."""

TRIAL_SECONDS_MAX: Final = 60.0
"""A trial that has told nothing by then does not keep another from starting."""

_JITTER: Final = 0.2
"""Share of the time by which replicas differ, so that they do not all try at once."""


class BreakerState(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class OpenBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that keeps calls out, for explanations.

    Attributes:
        cause: what the last failure was.
        open_time: since when, with all trials that failed in between.
        retry_time: when a call may try it; None while one does.
    """

    cause: str
    open_time: datetime
    retry_time: datetime | None


class Breaker:
    """The breaker of one offer."""

    __slots__ = (
        "_clock",
        "_failures",
        "_is_away",
        "_not_before",
        "_open_s",
        "_open_until",
        "_opened_at",
        "_recent",
        "_since",
        "_trial_since",
        "cause",
    )

    def __init__(self, clock: Clock) -> None:
        self.cause = ""
        """What the last failure was."""
        self._clock = clock
        self._failures = 0
        self._recent: deque[bool] = deque(maxlen=RECENT_CALLS)
        self._open_s = 0.0
        self._open_until: float | None = None
        self._opened_at = 0.0
        self._not_before = 0.0
        self._is_away = False
        """Whether nobody answered there, by the last call or by a probe since."""
        self._trial_since: float | None = None
        self._since = 0.0
        """When it opened after it had been closed; `_opened_at` is moved by each trial."""

    @property
    def state(self) -> BreakerState:
        """What it does with the next call."""
        if self._open_until is None:
            return BreakerState.CLOSED
        now = self._clock.monotonic()
        if now < self._open_until:
            return BreakerState.OPEN
        if self._trial_since is not None and now < self._trial_since + TRIAL_SECONDS_MAX:
            return BreakerState.OPEN  # one trial at a time
        return BreakerState.HALF_OPEN

    @property
    def opening(self) -> OpenBreaker | None:
        """Since when and until when it is open; None where it is not."""
        if self.state is not BreakerState.OPEN or self._open_until is None:
            return None
        now, wall = self._clock.monotonic(), self._clock.now()
        left_s = self._open_until - now
        return OpenBreaker(
            cause=self.cause,
            open_time=wall - timedelta(seconds=now - self._since),
            retry_time=wall + timedelta(seconds=left_s) if left_s > 0 else None,
        )

    def begun(self) -> None:
        """A call is being sent; in a half-open breaker that is the trial."""
        if self.state is BreakerState.HALF_OPEN:
            self._trial_since = self._clock.monotonic()

    def succeeded(self) -> None:
        """A call went well: a breaker that was not closed is."""
        self._failures = 0
        self._recent.append(True)
        if self._open_until is not None:
            self._recent.clear()
            self._open_s = 0.0
            self._is_away = False
            self._open_until = self._trial_since = None

    def failed(
        self,
        cause: str,
        *,
        retry_after_s: float | None = None,
        at_once: bool = False,
        unreached: bool = False,
    ) -> None:
        """A call failed; `at_once` opens the breaker without waiting for more of them.

        A provider that said when to come again is not asked before, within OPEN_SECONDS_MAX.
        `unreached` says that no connection to it was made.
        """
        self.cause = cause
        self._failures += 1
        self._recent.append(False)
        failed = self._recent.count(False)
        mostly = len(self._recent) >= RECENT_CALLS_MIN and failed > FAILED_SHARE_MAX * len(
            self._recent
        )
        if self._open_until is None and not (
            at_once or retry_after_s is not None or self._failures >= FAILURES_IN_ROW or mostly
        ):
            return
        now = self._clock.monotonic()
        if self._open_until is not None and now < self._open_until:
            return  # one of the calls that were under way when it opened
        self._open_s = min(OPEN_SECONDS_MAX, 2 * self._open_s if self._open_s else OPEN_SECONDS)
        if self._open_until is None:
            self._since = now
        advised_s = min(retry_after_s or 0.0, OPEN_SECONDS_MAX)
        wait = max(self._open_s, advised_s)
        self._opened_at = now
        self._not_before = now + advised_s
        self._is_away = unreached
        # Not for secrets: replicas shall merely not all come back at the same moment.
        self._open_until = now + wait * (1 + _JITTER * random.random())  # noqa: S311
        self._trial_since = None

    def cleared(self) -> None:
        """A trial told nothing of the offer: its caller went away. Another may start."""
        self._trial_since = None

    def found_there(self) -> bool:
        """A probe was answered; whether that lets the next call try.

        It does where nobody had answered before. Of a provider that answers probes while it fails
        calls, probes know nothing; it is tried at its time, and never before it said.
        """
        now = self._clock.monotonic()
        if not self._is_away or self._open_until is None or now >= self._open_until:
            return False
        self._is_away = False
        self._open_until = max(self._not_before, now)
        return self.state is BreakerState.HALF_OPEN

    def found_away(self, keep_s: float) -> None:
        """A probe was not answered: no call need try for `keep_s`.

        Within OPEN_SECONDS_MAX of its opening, since probes may err too.
        """
        if self._open_until is None:
            return
        self._is_away = True
        until = min(self._clock.monotonic() + keep_s, self._opened_at + OPEN_SECONDS_MAX)
        self._open_until = max(self._open_until, until)
