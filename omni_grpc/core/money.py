"""Money: integer nano-dollars, and the one place where a price meets a count.

An amount is an `int` of nano-USD (1e-9 USD). A price is an `int` of nano-USD per million units.
Every charge is rounded once, upwards, here; no float and no Decimal is ever used in between, so
that anyone can recompute a charge from the stored usage, price version and markup.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NewType

import msgspec

from omni_grpc.core.usage import Usage

NanoUsd = NewType("NanoUsd", int)

NANO_PER_USD = 1_000_000_000
_USD = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.ASCII)
UNITS_PER_PRICE = 1_000_000
PPM = 1_000_000


class Unit(StrEnum):
    """What a price is for. Token units that an offer does not price cost what contains them.

    Those that no other contains (images, seconds, characters) must have a price of their own.
    """

    PROMPT = "prompt"
    CACHED_READ = "cached_read"
    CACHED_WRITE = "cached_write"
    PROMPT_AUDIO = "prompt_audio"
    COMPLETION = "completion"
    REASONING = "reasoning"
    COMPLETION_AUDIO = "completion_audio"
    CACHED_WRITE_1H = "cached_write_1h"
    PROMPT_IMAGE = "prompt_image"
    COMPLETION_IMAGE = "completion_image"
    IMAGE = "image"
    SECOND = "second"
    CHARACTER = "character"


PROMPT_UNITS = (
    Unit.PROMPT,
    Unit.CACHED_READ,
    Unit.CACHED_WRITE,
    Unit.CACHED_WRITE_1H,
    Unit.PROMPT_AUDIO,
    Unit.PROMPT_IMAGE,
)
COMPLETION_UNITS = (
    Unit.COMPLETION,
    Unit.REASONING,
    Unit.COMPLETION_AUDIO,
    Unit.COMPLETION_IMAGE,
)
_TOKENS = frozenset({Unit.PROMPT, Unit.COMPLETION})
_CONTAINED_IN = {
    Unit.CACHED_READ: Unit.PROMPT,
    Unit.CACHED_WRITE: Unit.PROMPT,
    Unit.CACHED_WRITE_1H: Unit.CACHED_WRITE,
    Unit.PROMPT_AUDIO: Unit.PROMPT,
    Unit.PROMPT_IMAGE: Unit.PROMPT,
    Unit.REASONING: Unit.COMPLETION,
    Unit.COMPLETION_AUDIO: Unit.COMPLETION,
    Unit.COMPLETION_IMAGE: Unit.COMPLETION,
}


class Rate(msgspec.Struct, frozen=True, order=True):
    """The price of one unit from a prompt of `prompt_tokens_min` tokens on."""

    unit: Unit
    prompt_tokens_min: int
    nanousd_per_mtok: int


class Price(msgspec.Struct, frozen=True):
    """One immutable version of what an offer costs."""

    version: int
    rates: tuple[Rate, ...]

    def rate(self, unit: Unit, prompt_tokens: int) -> int:
        """Nano-USD per million of `unit` for a request whose prompt has `prompt_tokens`.

        A context tier reprices all tokens of the request. A part that has no price of its own
        (cached, audio, reasoning) costs what the whole that contains it costs.

        Raises:
            ValueError: neither has a price.
        """
        part: Unit | None = unit
        while part is not None:
            found = self._own_rate(part, prompt_tokens)
            if found is not None:
                return found
            part = _CONTAINED_IN.get(part)
        raise ValueError(f"price version {self.version} has no rate for {unit}")

    def priced(self, unit: Unit) -> bool:
        """Whether the offer has a price of its own for `unit`."""
        return any(rate.unit is unit for rate in self.rates)

    def dearest(self, units: Iterable[Unit], prompt_tokens_max: int) -> int:
        """The highest price that any of `units` can have for a prompt of up to that size."""
        wanted = frozenset(units)
        return max(
            (
                rate.nanousd_per_mtok
                for rate in self.rates
                if rate.unit in wanted and rate.prompt_tokens_min <= prompt_tokens_max
            ),
            default=0,
        )

    def _own_rate(self, unit: Unit, prompt_tokens: int) -> int | None:
        best: Rate | None = None
        for rate in self.rates:
            if (
                rate.unit is unit
                and rate.prompt_tokens_min <= prompt_tokens
                and (best is None or rate.prompt_tokens_min > best.prompt_tokens_min)
            ):
                best = rate
        return None if best is None else best.nanousd_per_mtok


def charge(usage: Usage, price: Price, markup_ppm: int) -> NanoUsd:
    """What `usage` costs at `price` with the markup: one rounding, upwards."""
    prompt = usage.prompt or 0
    completion = usage.completion or 0
    written = usage.cached_write or 0
    for_an_hour = min(usage.cached_write_1h or 0, written)
    parts = {
        Unit.CACHED_READ: usage.cached_read or 0,
        Unit.CACHED_WRITE: written - for_an_hour,
        Unit.CACHED_WRITE_1H: for_an_hour,
        Unit.PROMPT_AUDIO: usage.prompt_audio or 0,
        Unit.PROMPT_IMAGE: usage.prompt_image or 0,
    }
    parts[Unit.PROMPT] = max(0, prompt - sum(parts.values()))
    ends = {
        Unit.REASONING: usage.reasoning or 0,
        Unit.COMPLETION_AUDIO: usage.completion_audio or 0,
        Unit.COMPLETION_IMAGE: usage.completion_image or 0,
    }
    ends[Unit.COMPLETION] = max(0, completion - sum(ends.values()))
    parts |= ends
    parts[Unit.IMAGE] = usage.image or 0
    parts[Unit.SECOND] = usage.second or 0
    parts[Unit.CHARACTER] = usage.character or 0
    total = sum(count * price.rate(unit, prompt) for unit, count in parts.items() if count)
    return _rounded(total, markup_ppm)


def worst_case(
    prompt_tokens_max: int, output_tokens_max: int, price: Price, markup_ppm: int
) -> NanoUsd:
    """The most that a prompt and an output of up to these sizes can cost at `price`."""
    total = prompt_tokens_max * price.dearest(
        PROMPT_UNITS, prompt_tokens_max
    ) + output_tokens_max * price.dearest(COMPLETION_UNITS, prompt_tokens_max)
    return _rounded(total, markup_ppm)


def worst_case_of(most: Usage, price: Price, markup_ppm: int) -> NanoUsd:
    """The most that up to these counts can cost: tokens at the dearest rate of their side.

    Raises:
        ValueError: something is counted that has no price.
    """
    prompt, completion = most.prompt or 0, most.completion or 0
    total = prompt * price.dearest(PROMPT_UNITS, prompt)
    total += completion * price.dearest(COMPLETION_UNITS, prompt)
    for unit, count in (
        (Unit.PROMPT, prompt),
        (Unit.COMPLETION, completion),
        (Unit.IMAGE, most.image or 0),
        (Unit.SECOND, most.second or 0),
        (Unit.CHARACTER, most.character or 0),
    ):
        if count:
            rate = price.rate(unit, 0)
            total += 0 if unit in _TOKENS else count * rate
    return _rounded(total, markup_ppm)


def output_tokens_covered(
    amount: NanoUsd, prompt_tokens_max: int, output_tokens_max: int, price: Price, markup_ppm: int
) -> int:
    """The largest output limit whose worst case fits in `amount`; at most `output_tokens_max`."""
    low, high = 0, output_tokens_max
    while low < high:
        middle = (low + high + 1) // 2
        if worst_case(prompt_tokens_max, middle, price, markup_ppm) <= amount:
            low = middle
        else:
            high = middle - 1
    return low


def _rounded(units_times_price: int, markup_ppm: int) -> NanoUsd:
    return NanoUsd(-(-units_times_price * (PPM + markup_ppm) // (UNITS_PER_PRICE * PPM)))


def nanousd_from_usd(usd: str) -> NanoUsd:
    """An amount in USD, as a plain decimal text, in nano-USD, exactly: `12.50`, `0.000000001`.

    Raises:
        ValueError: any other text, also one with a sign, an exponent or more than nine decimals.
    """
    match = _USD.fullmatch(usd)
    if match is None:
        raise ValueError(
            f"{usd[:40]!r} is not an amount of dollars: digits, with at most nine after the point"
        )
    whole, fraction = match.groups(default="")
    return NanoUsd(int(whole) * NANO_PER_USD + int(fraction.ljust(9, "0")))


def credits_text(amount: int, credits_per_usd: int) -> str:
    """Nano-USD as a plain decimal text of credits, without loss."""
    return usd_text(amount * credits_per_usd)


def usd_text(amount: int) -> str:
    """Nano-USD as a plain decimal text of dollars, without loss: `-1500000000` is `-1.5`."""
    sign = "-" if amount < 0 else ""
    whole, nano = divmod(abs(amount), NANO_PER_USD)
    fraction = f"{nano:09d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
