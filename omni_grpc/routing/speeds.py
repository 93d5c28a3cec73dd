"""How fast each offer answers, as measured on real calls: old calls count less and less.

Two numbers an offer: milliseconds to the first token, and milliseconds for each token after it.
"""

import math
from typing import Final

import msgspec

from omni_grpc.core.clock import Clock

HALF_LIFE_SECONDS: Final = 600.0
"""After this long a measurement counts half: providers slow down and recover within minutes."""

WEIGHT_MAX: Final = 50.0
"""Calls that the past counts as at most, so that a busy offer's change is seen within a minute."""

OUTPUT_TOKENS_MIN: Final = 8
"""An answer of fewer tokens says nothing about the time for each."""


class Speed(msgspec.Struct, frozen=True):
    """Milliseconds to the first token and for each further one; how many calls that rests on."""

    first_token_ms: float
    token_ms: float | None
    weight: float


class _Mean:
    """A mean in which the past fades."""

    __slots__ = ("value", "weight")

    def __init__(self, value: float = 0.0, weight: float = 0.0) -> None:
        self.value = value
        self.weight = weight

    def add(self, value: float, keep: float) -> None:
        self.weight = min(WEIGHT_MAX, self.weight * keep) + 1.0
        self.value += (value - self.value) / self.weight


class SpeedMeter:
    """The measured speed of one offer."""

    __slots__ = ("_clock", "_first", "_since", "_token")

    def __init__(self, clock: Clock, known: Speed | None = None) -> None:
        """`known` is what was measured before, by this worker or another."""
        self._clock = clock
        self._since = clock.monotonic()
        self._first = _Mean()
        self._token = _Mean()
        if known is not None:
            self._first = _Mean(known.first_token_ms, known.weight)
            if known.token_ms is not None:
                self._token = _Mean(known.token_ms, known.weight)

    def measured(self, first_token_s: float | None, whole_s: float, output_tokens: int) -> None:
        """Adds a call that was answered: the times from its dispatch on.

        A plain call does not tell when its first token was there: as long as no stream did, all of
        its time counts as that of its tokens.
        """
        now = self._clock.monotonic()
        keep = math.exp2(-max(0.0, now - self._since) / HALF_LIFE_SECONDS)
        self._since = now
        whole_ms = 1e3 * whole_s
        if first_token_s is not None:
            self._first.add(1e3 * first_token_s, keep)
        if output_tokens >= OUTPUT_TOKENS_MIN:
            rest_ms = max(0.0, whole_ms - self._first.value)
            self._token.add(rest_ms / output_tokens, keep)
        elif first_token_s is None:
            self._first.add(whole_ms, keep)

    @property
    def speed(self) -> Speed | None:
        """What is known by now; None before the first call."""
        weight = max(self._first.weight, self._token.weight)
        if not weight:
            return None
        token_ms = self._token.value if self._token.weight else None
        return Speed(self._first.value, token_ms, weight)

    def latency_ms(self, output_tokens: float) -> float:
        """How long an answer of so many tokens takes; 0 before the first call."""
        return self._first.value + self._token.value * output_tokens
