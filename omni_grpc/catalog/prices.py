"""Turns what a source says about cost into exact integer rates, or into the reason why not.

A price that is not understood whole is no price: an unknown cost key, a number that cannot be a
price, or a zero that the source cannot mean leaves the offer unpriced, which is never free. No
float is ever used: sources are decoded with Decimal.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Final

import msgspec

from omni_grpc.catalog.model import Mode
from omni_grpc.core.money import (
    COMPLETION_UNITS,
    NANO_PER_USD,
    Rate,
    Unit,
    nanousd_from_usd,
    usd_text,
)

USD_PER_MTOK_MAX: Final = Decimal(10_000)
"""Sixteen times the dearest price known (600 USD): above it a source has mistaken the unit."""

USD_PER_MTOK_MIN: Final = Decimal("0.00001")
"""A hundredth of the cheapest price known: below it a source gives the price of one token."""

REFUSAL_CHARS_MAX: Final = 200
"""Longest reason kept: it may quote the source, which may be anything."""

USD_PER_MILLION_IMAGES_MAX: Final = Decimal(10_000_000)
"""Ten dollars for one image; the dearest known costs a fiftieth of it."""

TIER_TOKENS_MAX: Final = 100_000_000
"""Largest prompt size at which a tier can begin; every context window is far below."""

_UNITS: Final = {
    "input": Unit.PROMPT,
    "output": Unit.COMPLETION,
    "cache_read": Unit.CACHED_READ,
    "cache_write": Unit.CACHED_WRITE,
    "reasoning": Unit.REASONING,
    "input_audio": Unit.PROMPT_AUDIO,
    "output_audio": Unit.COMPLETION_AUDIO,
    "cache_write_1h": Unit.CACHED_WRITE_1H,
    "input_image": Unit.PROMPT_IMAGE,
    "output_image": Unit.COMPLETION_IMAGE,
}
_OWN_UNITS: Final = {
    "image": Unit.IMAGE,
    "second": Unit.SECOND,
    "character": Unit.CHARACTER,
}
"""Costs of what is no token, in USD per million: they stand for themselves."""

COST_KEYS: Final = {unit.value: key for key, unit in {**_UNITS, **_OWN_UNITS}.items()}
"""A unit's name -> the key that `quote` reads its price under."""

_TIERS: Final = "tiers"
_TIER: Final = "tier"
_OVER_200K: Final = "context_over_200k"
_OVER_200K_TOKENS: Final = 200_000

_WRITTEN: Final = frozenset({Unit.CACHED_WRITE, Unit.CACHED_WRITE_1H})
_ZERO_OUTPUT_MODES: Final = (Mode.EMBEDDING, Mode.RERANK)
_TOKEN_MODES: Final = (Mode.CHAT, Mode.EMBEDDING, Mode.RERANK, Mode.MODERATION)

_DOUBLE_NOISE: Final = Decimal("1e-12")
_NANO: Final = Decimal("1e-9")


class Quote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an offer costs: sorted rates, or none and the reason.

    `beyond` says that the source asks for something which no unit here can count, so that nobody
    else's price can be the whole price either.
    """

    rates: tuple[Rate, ...] = ()
    free: bool = False
    refusal: str = ""
    beyond: bool = False


class _NotAPrice(ValueError):
    """Why a cost cannot be believed; the text goes into the quote."""


class _Beyond(_NotAPrice):
    """The cost has a part that no unit can count."""


def quote(cost: Mapping[str, object] | None, mode: Mode) -> Quote:
    """The rates of a cost in models.dev's shape: USD per million tokens, Decimal or int.

    Tiers hold for prompts *above* their size, so a tier of 200,000 begins at 200,001 tokens.
    """
    try:
        if cost and cost.keys() <= _OWN_UNITS.keys():
            return _own_quote(cost, mode)
        return _quote(cost, mode)
    except _NotAPrice as error:
        return Quote(refusal=str(error)[:REFUSAL_CHARS_MAX], beyond=isinstance(error, _Beyond))


def nanousd_per_mtok(usd_per_mtok: object, usd_max: Decimal = USD_PER_MTOK_MAX) -> int:
    """A source's price in nano-USD per million tokens, or of what else `usd_max` is the bound of.

    What lies beyond twelve decimal places is the noise of a double and is dropped; what is then
    still finer than a nano-dollar is rounded up, so that no part of a price is lost.

    Raises:
        ValueError: not a number, negative, or of a size that no price per million has.
    """
    if isinstance(usd_per_mtok, bool) or not isinstance(usd_per_mtok, int | Decimal):
        raise _NotAPrice(f"a price is {usd_per_mtok!r}, which is not a number")
    amount = Decimal(usd_per_mtok)
    if not amount.is_finite() or amount < 0:
        raise _NotAPrice(f"a price is {amount}, which must be finite and not negative")
    if amount > usd_max or 0 < amount < USD_PER_MTOK_MIN:
        raise _NotAPrice(f"{amount} USD per million tokens cannot be a price: the unit is wrong")
    exact = amount.quantize(_DOUBLE_NOISE, ROUND_HALF_EVEN).quantize(_NANO, ROUND_CEILING)
    return nanousd_from_usd(f"{exact:f}")


def rates_text(rates: tuple[Rate, ...]) -> str:
    """Rates for people: `prompt=2.5 completion=10 prompt@200001=5`, USD per million tokens."""
    return " ".join(
        f"{rate.unit}{f'@{rate.prompt_tokens_min}' if rate.prompt_tokens_min else ''}"
        f"={usd_text(rate.nanousd_per_mtok)}"
        for rate in sorted(rates, key=lambda rate: rate.prompt_tokens_min)
    )


def _own_quote(cost: Mapping[str, object], mode: Mode) -> Quote:
    """What is sold by the image, by the second or by the character, and by no token at all."""
    rates = []
    for key, price in cost.items():
        unit = _OWN_UNITS[key]
        bound = USD_PER_MILLION_IMAGES_MAX if unit is Unit.IMAGE else USD_PER_MTOK_MAX
        rates.append(Rate(unit, 0, nanousd_per_mtok(price, bound)))
    if mode in _TOKEN_MODES:
        raise _NotAPrice(f"a price of {', '.join(cost)} says nothing about {mode}")
    if not all(rate.nanousd_per_mtok for rate in rates):
        raise _NotAPrice("an image, a second or a character costs zero")
    return Quote(rates=tuple(sorted(rates)))


def _quote(cost: Mapping[str, object] | None, mode: Mode) -> Quote:
    if not cost:
        raise _NotAPrice("the source gives no price")
    base = _part(cost, also=(_TIERS, _OVER_200K))
    if Unit.PROMPT not in base or Unit.COMPLETION not in base:
        raise _NotAPrice("the source gives no price for both input and output")
    free = base[Unit.PROMPT] == 0 and base[Unit.COMPLETION] == 0
    if free:
        if mode not in _TOKEN_MODES:
            raise _NotAPrice(f"a zero price per token says nothing about {mode}")
        if any(base.values()) or cost.get(_TIERS) or cost.get(_OVER_200K):
            raise _NotAPrice("input and output cost zero, but other parts do not")
    elif base[Unit.PROMPT] == 0 or (base[Unit.COMPLETION] == 0 and mode not in _ZERO_OUTPUT_MODES):
        raise _NotAPrice("one of input and output costs zero, the other does not")
    lower, kept = base, _believable(base)
    rates = [Rate(unit, 0, price) for unit, price in kept.items()]
    for size, stated in _tiers(cost):
        prices = {**_in_proportion(lower, stated), **stated}
        # A part that was priced below and is not believable here costs what contains it.
        costs_whole = {unit: prices[_whole(unit)] for unit in kept}
        lower, kept = prices, costs_whole | _believable(prices)
        rates += [Rate(unit, size + 1, price) for unit, price in kept.items()]
    if max(rate.nanousd_per_mtok for rate in rates) > USD_PER_MTOK_MAX * NANO_PER_USD:
        raise _NotAPrice("a part's price in a tier, in proportion to the whole, cannot be a price")
    return Quote(rates=tuple(sorted(rates)), free=free)


def _part(cost: Mapping[str, object], *, also: tuple[str, ...]) -> dict[Unit, int]:
    unknown = sorted(cost.keys() - _UNITS.keys() - set(also))
    if unknown:
        raise _Beyond(f"the source prices something unknown: {', '.join(map(repr, unknown))}")
    return {unit: nanousd_per_mtok(cost[key]) for key, unit in _UNITS.items() if key in cost}


def _tiers(cost: Mapping[str, object]) -> list[tuple[int, dict[Unit, int]]]:
    """Tiers by the prompt size that they lie above."""
    listed = cost.get(_TIERS)
    if listed is None and _OVER_200K in cost:
        # The older form of a single tier; where `tiers` is there, it repeats that.
        legacy = cost[_OVER_200K]
        if not isinstance(legacy, Mapping):
            raise _NotAPrice("the price above 200k tokens is not an object")
        listed = [{**legacy, _TIER: {"type": "context", "size": _OVER_200K_TOKENS}}]
    if not isinstance(listed, list | None):
        raise _NotAPrice("the price tiers are not a list")
    tiers: dict[int, dict[Unit, int]] = {}
    for tier in listed or ():
        size = _tier_size(tier)
        prices = _part(tier, also=(_TIER,))
        if Unit.PROMPT not in prices or Unit.COMPLETION not in prices:
            raise _NotAPrice("a price tier gives no price for both input and output")
        if size in tiers or not all(prices[unit] for unit in (Unit.PROMPT, Unit.COMPLETION)):
            raise _NotAPrice("two price tiers have the same size, or a tier costs zero")
        tiers[size] = prices
    return sorted(tiers.items())


def _tier_size(tier: object) -> int:
    condition = tier.get(_TIER) if isinstance(tier, Mapping) else None
    match condition:
        case {"type": "context", "size": int(size), **rest} if not rest and (
            0 < size <= TIER_TOKENS_MAX
        ):
            return size
    raise _Beyond(f"a price tier has a condition that is not known: {condition!r}")


def _believable(prices: Mapping[Unit, int]) -> dict[Unit, int]:
    """The prices without those of parts that a source cannot mean.

    Beside a priced whole, a part at zero means "not stated". A cache write below the prompt's
    price is a storage fee or a slip, since its tokens are read as any others. Without a price of
    its own a part costs what contains it.
    """
    kept: dict[Unit, int] = {}
    for unit, price in prices.items():
        whole = prices[_whole(unit)]
        stated = price > 0 or whole == 0 or unit in (Unit.PROMPT, Unit.COMPLETION)
        if stated and not (unit in _WRITTEN and price < whole):
            kept[unit] = price
    return kept


def _in_proportion(lower: Mapping[Unit, int], tier: Mapping[Unit, int]) -> dict[Unit, int]:
    """What parts that are priced below a tier but not in it cost there: as the whole rises."""
    return {
        unit: -(-price * tier[_whole(unit)] // lower[_whole(unit)])
        for unit, price in lower.items()
        if unit not in tier and lower[_whole(unit)]
    }


def _whole(unit: Unit) -> Unit:
    return Unit.COMPLETION if unit in COMPLETION_UNITS else Unit.PROMPT
