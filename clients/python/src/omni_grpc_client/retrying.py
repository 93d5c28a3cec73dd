"""When a model's call is sent again: where its request id makes that safe, and inside its time.

A lost connection and a service that cannot now are tried again a few times; a call whose first
sending still runs is asked for until it ends. What was charged and interrupted never is. This
module decides and counts; the wires wait.
"""

import random
import threading
import time
from typing import Final

from omni_grpc_client.errors import OmniError, RequestInProgress, Unavailable

RETRY_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses before a call is sent again: over the restart of a service, not over an outage."""

JITTER: Final = 0.2
"""How far a pause may differ, so that many callers do not come back in one moment."""

ASKED_PAUSE_S_MAX: Final = 30.0
"""The longest pause that the service may ask for; one who waits longer should know that."""

TOKENS_MAX: Final = 20.0
TOKENS_MIN: Final = 10.0
TOKENS_PER_SUCCESS: Final = 0.5
"""As gRPC's own retry throttling, which the other methods have: after ten failures in a row only
first tries go out, until some succeed."""


class Throttle:
    """Keeps a client's retries from adding to a service's trouble. Shared by all its calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = TOKENS_MAX

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._tokens = min(TOKENS_MAX, self._tokens + TOKENS_PER_SUCCESS)

    def failed(self) -> bool:
        """A call found the service unavailable; says whether it may be sent again."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
            return self._tokens > TOKENS_MIN


class Retries:
    """The tries of one call, within `timeout_s` together."""

    def __init__(self, throttle: Throttle, timeout_s: float) -> None:
        self._throttle = throttle
        self._due = time.monotonic() + timeout_s
        self._pauses = iter(RETRY_PAUSES_S)

    def left_s(self) -> float:
        """The seconds that the next try has; never 0, which grpc.aio takes for no limit."""
        return max(0.001, self._due - time.monotonic())

    def pause_s(self, error: OmniError) -> float | None:
        """The seconds to wait before the next try; None where there shall be none."""
        if error.retry_forbidden:
            return None
        if isinstance(error, RequestInProgress):
            pause: float | None = error.retry_after_s or 1.0
        elif isinstance(error, Unavailable):
            pause = next(self._pauses, None) if self._throttle.failed() else None
            if pause is not None:
                pause *= random.uniform(1.0 - JITTER, 1.0 + JITTER)  # noqa: S311 - no secret
                pause = max(pause, error.retry_after_s or 0.0)
        else:
            return None
        if pause is None or pause > ASKED_PAUSE_S_MAX or pause >= self.left_s():
            return None
        return pause

    def succeeded(self) -> None:
        """The call was answered."""
        self._throttle.succeeded()
