"""How fast each offer answers, as measured on real calls: old calls count less and less.

Three numbers an offer: milliseconds to the first token, milliseconds for each token after it, and
how many tokens of reasoning its provider counts for each token of an answer.
Workers share what they measure: each tells what is new since it last did, and learns what all
measured together.
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


MS_DIGITS: Final = 3
RATE_DIGITS: Final = 1
RATIO_DIGITS: Final = 2
COUNT_DIGITS: Final = 2
"""Decimals that people are shown of what was measured: the rest is noise of floating point."""


class Speed(msgspec.Struct, frozen=True):
    """Milliseconds to the first token and for each further one; how many calls that rests on."""

    first_token_ms: float
    token_ms: float | None
    weight: float


class Reasoned(msgspec.Struct, frozen=True):
    """Tokens of reasoning for each token of an answer; how many calls that rests on."""

    ratio: float
    weight: float


class Sums(msgspec.Struct, frozen=True):
    """Milliseconds summed over calls, and how many calls each sum stands for, faded by now."""

    first_ms: float
    first_weight: float
    token_ms: float
    token_weight: float
    answer_tokens: float = 0.0
    reasoning_tokens: float = 0.0
    answer_weight: float = 0.0
    """Of both: a call that tells of one tells of the other."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What calls measured of one offer, for people; None where none told.

    `call_count` is how many calls the speeds rest on, faded as they are.
    """

    first_token_ms: float | None
    output_tokens_per_second: float | None
    reasoning_ratio: float | None
    call_count: float
    source: str = "traffic"


def measured(sums: Sums) -> Measured | None:
    """What sums say, rounded; None where they stand for no call."""
    calls = max(sums.first_weight, sums.token_weight)
    if not calls:
        return None
    return Measured(
        first_token_ms=(
            round(sums.first_ms / sums.first_weight, MS_DIGITS) if sums.first_weight else None
        ),
        output_tokens_per_second=(
            round(1e3 * sums.token_weight / sums.token_ms, RATE_DIGITS) if sums.token_ms else None
        ),
        reasoning_ratio=(
            round(sums.reasoning_tokens / max(sums.answer_weight, sums.answer_tokens), RATIO_DIGITS)
            if sums.answer_weight
            else None
        ),
        call_count=round(min(WEIGHT_MAX, calls), COUNT_DIGITS),
    )


class _Mean:
    """A mean in which the past fades, and what of it nobody else knows yet."""

    __slots__ = ("new_sum", "new_weight", "value", "weight")

    def __init__(self) -> None:
        self.value = 0.0
        self.weight = 0.0
        self.new_sum = 0.0
        self.new_weight = 0.0

    def add(self, value: float, keep: float) -> None:
        self.weight = min(WEIGHT_MAX, self.weight * keep) + 1.0
        self.value += (value - self.value) / self.weight
        self.new_sum = self.new_sum * keep + value
        self.new_weight = self.new_weight * keep + 1.0

    @property
    def total(self) -> float:
        """The sum that it is the mean of."""
        return self.value * self.weight

    def learn(self, total: float, weight: float) -> None:
        """What all measured together, in the place of what was known; what is new stays."""
        weight += self.new_weight
        if weight:
            self.value = (total + self.new_sum) / weight
            self.weight = min(WEIGHT_MAX, weight)


class SpeedMeter:
    """The measured speed of one offer."""

    __slots__ = ("_answer", "_clock", "_first", "_reasoning", "_since", "_token", "reasoned")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._first = _Mean()
        self._token = _Mean()
        self._answer = _Mean()
        self._reasoning = _Mean()
        self.reasoned: Reasoned | None = None
        """How much is reasoned here, as far as calls told: made when they do, since each choice
        asks for it; None where none did."""

    def add(
        self,
        first_token_s: float | None,
        whole_s: float,
        output_tokens: int,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Adds a call that was answered: the times from its dispatch on.

        A plain call does not tell when its first token was there: as long as no stream did, all of
        its time counts as that of its tokens. `reasoning_tokens` are those among the output; None
        where the call does not tell how much the model reasons when it is left to itself.
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
        if reasoning_tokens is not None:
            self._answer.add(max(0, output_tokens - reasoning_tokens), keep)
            self._reasoning.add(reasoning_tokens, keep)
            self._reason()

    @property
    def speed(self) -> Speed | None:
        """What is known by now; None before the first call."""
        weight = max(self._first.weight, self._token.weight)
        if not weight:
            return None
        token_ms = self._token.value if self._token.weight else None
        return Speed(self._first.value, token_ms, weight)

    @property
    def measured(self) -> Measured | None:
        """All that is known by now, for people; None before the first call."""
        first, token, answer = self._first, self._token, self._answer
        return measured(
            Sums(
                first.total,
                first.weight,
                token.total,
                token.weight,
                answer.total,
                self._reasoning.total,
                answer.weight,
            )
        )

    def latency_ms(self, output_tokens: float) -> float:
        """How long an answer of so many tokens takes; 0 before the first call."""
        return self._first.value + self._token.value * output_tokens

    # --- between workers ------------------------------------------------------------------------
    def take_new(self) -> Sums | None:
        """What was measured since this was last asked; None where nothing was."""
        first, token, answer, reasoning = self._first, self._token, self._answer, self._reasoning
        if not (first.new_weight or token.new_weight):  # no call tells of its answer alone
            return None
        new = Sums(
            first.new_sum,
            first.new_weight,
            token.new_sum,
            token.new_weight,
            answer.new_sum,
            reasoning.new_sum,
            answer.new_weight,
        )
        for mean in (first, token, answer, reasoning):
            mean.new_sum = mean.new_weight = 0.0
        return new

    def give_back(self, new: Sums) -> None:
        """What was taken and could not be told; it is new again."""
        self._first.new_sum += new.first_ms
        self._first.new_weight += new.first_weight
        self._token.new_sum += new.token_ms
        self._token.new_weight += new.token_weight
        for mean, tokens in (
            (self._answer, new.answer_tokens),
            (self._reasoning, new.reasoning_tokens),
        ):
            mean.new_sum += tokens
            mean.new_weight += new.answer_weight

    def learn(self, shared: Sums) -> None:
        """What all workers measured together, this one's part of it included."""
        self._since = self._clock.monotonic()
        if shared.first_weight:
            self._first.learn(shared.first_ms, shared.first_weight)
        if shared.token_weight:
            self._token.learn(shared.token_ms, shared.token_weight)
        if shared.answer_weight:
            self._answer.learn(shared.answer_tokens, shared.answer_weight)
            self._reasoning.learn(shared.reasoning_tokens, shared.answer_weight)
            self._reason()

    def _reason(self) -> None:
        ratio = self._reasoning.value / max(1.0, self._answer.value)
        self.reasoned = Reasoned(ratio, self._answer.weight)
