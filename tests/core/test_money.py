"""Money: every charge is exact but for one rounding up, and a hold covers what it promises."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omni_grpc.core.money import (
    COMPLETION_UNITS,
    PROMPT_UNITS,
    NanoUsd,
    Price,
    Rate,
    Unit,
    charge,
    nanousd_from_usd,
    output_tokens_covered,
    usd_text,
    worst_case,
)
from omni_grpc.core.usage import Usage

TOKENS_MAX = 2_000_000
RATE_MAX = 10**13
"""The dearest rate that the catalog's table takes."""

tokens = st.integers(0, TOKENS_MAX)
rates = st.one_of(st.integers(0, RATE_MAX), st.integers(0, 20))
markups = st.integers(0, 2_000_000)
amounts = st.integers(-(2**63), 2**63 - 1)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """A price with a base rate of both wholes, and any of the parts and tiers."""
    found = {(Unit.PROMPT, 0): draw(rates), (Unit.COMPLETION, 0): draw(rates)}
    for unit in Unit:
        for tier in draw(st.sets(st.sampled_from((0, 1_000, 200_000)), max_size=2)):
            found.setdefault((unit, tier), draw(rates))
    return Price(1, tuple(sorted(Rate(unit, tier, rate) for (unit, tier), rate in found.items())))


@st.composite
def usages(draw: st.DrawFn, prompt_max: int = TOKENS_MAX, output_max: int = TOKENS_MAX) -> Usage:
    """A usage whose parts fit into their wholes; some parts are not said."""

    def parts(whole: int, count: int) -> list[int | None]:
        found: list[int | None] = []
        for _ in range(count):
            part = draw(st.none() | st.integers(0, whole))
            whole -= part or 0
            found.append(part)
        return found

    prompt, output = draw(st.integers(0, prompt_max)), draw(st.integers(0, output_max))
    cached_read, cached_write, prompt_audio = parts(prompt, 3)
    reasoning, completion_audio = parts(output, 2)
    return Usage(
        prompt=prompt,
        cached_read=cached_read,
        cached_write=cached_write,
        prompt_audio=prompt_audio,
        completion=output,
        reasoning=reasoning,
        completion_audio=completion_audio,
    )


def exact(usage: Usage, price: Price, markup_ppm: int) -> Fraction:
    """The charge before its one rounding, written out part by part."""
    prompt = usage.prompt or 0
    counts = {
        Unit.CACHED_READ: usage.cached_read or 0,
        Unit.CACHED_WRITE: usage.cached_write or 0,
        Unit.PROMPT_AUDIO: usage.prompt_audio or 0,
        Unit.REASONING: usage.reasoning or 0,
        Unit.COMPLETION_AUDIO: usage.completion_audio or 0,
    }
    counts[Unit.PROMPT] = prompt - sum(counts[unit] for unit in PROMPT_UNITS if unit in counts)
    counts[Unit.COMPLETION] = (usage.completion or 0) - sum(
        counts[unit] for unit in COMPLETION_UNITS if unit in counts
    )
    total = Fraction(0)
    for unit, count in counts.items():
        whole = Unit.PROMPT if unit in PROMPT_UNITS else Unit.COMPLETION
        tiers = {
            candidate: max(
                (rate for rate in price.rates if rate.unit is candidate
                 and rate.prompt_tokens_min <= prompt),
                key=lambda rate: rate.prompt_tokens_min,
                default=None,
            )
            for candidate in (unit, whole)
        }  # fmt: skip
        rate = tiers[unit] or tiers[whole]
        assert rate is not None
        total += Fraction(count * rate.nanousd_per_mtok, 1_000_000)
    return total * (1_000_000 + markup_ppm) / 1_000_000


# --- charge -------------------------------------------------------------------------------------
@given(usage=usages(), price=prices(), markup_ppm=markups)
def test_a_charge_is_the_exact_sum_rounded_up_once(
    usage: Usage, price: Price, markup_ppm: int
) -> None:
    before = exact(usage, price, markup_ppm)
    assert before <= charge(usage, price, markup_ppm) < before + 1


@given(usage=usages(), price=prices(), markup_ppm=markups, more=st.integers(1, 1_000_000))
def test_more_of_an_answer_or_of_a_markup_never_costs_less(
    usage: Usage, price: Price, markup_ppm: int, more: int
) -> None:
    base = charge(usage, price, markup_ppm)
    longer = Usage(
        prompt=usage.prompt,
        cached_read=usage.cached_read,
        cached_write=usage.cached_write,
        prompt_audio=usage.prompt_audio,
        completion=(usage.completion or 0) + more,
        reasoning=usage.reasoning,
        completion_audio=usage.completion_audio,
    )
    assert charge(longer, price, markup_ppm) >= base
    assert charge(usage, price, markup_ppm + more) >= base


@given(
    first=tokens, second=tokens, low=rates, high=rates, tier=st.integers(1, TOKENS_MAX)
)  # fmt: skip
def test_a_longer_prompt_never_costs_less_while_tiers_rise(
    first: int, second: int, low: int, high: int, tier: int
) -> None:
    low, high = sorted((low, high))
    price = Price(
        1, (Rate(Unit.PROMPT, 0, low), Rate(Unit.PROMPT, tier, high), Rate(Unit.COMPLETION, 0, 0))
    )
    shorter, longer = sorted((first, second))
    assert charge(Usage(prompt=shorter), price, 0) <= charge(Usage(prompt=longer), price, 0)


def test_a_context_tier_reprices_all_tokens_of_the_request() -> None:
    price = Price(
        1,
        (
            Rate(Unit.PROMPT, 0, 1_000_000),
            Rate(Unit.PROMPT, 200, 2_000_000),
            Rate(Unit.COMPLETION, 0, 3_000_000),
            Rate(Unit.COMPLETION, 200, 5_000_000),
        ),
    )
    assert charge(Usage(prompt=199, completion=10), price, 0) == 199 + 30
    assert charge(Usage(prompt=200, completion=10), price, 0) == 400 + 50


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), 0),
        (Usage(prompt=0, completion=0), 0),
        (Usage(prompt=10, cached_read=4), 6 * 10 + 4 * 1),
        (Usage(prompt=10, cached_write=4), 10 * 10),  # not priced by itself: as the prompt
        (Usage(completion=10, reasoning=10), 10 * 20),
        (Usage(completion=10, reasoning=3, completion_audio=2), 5 * 20 + 3 * 20 + 2 * 90),
        (Usage(prompt=1, cached_read=3), 3 * 1),  # a provider's odd count is never negative
    ],
)
def test_parts_cost_their_own_price_or_that_of_what_contains_them(usage: Usage, cost: int) -> None:
    price = Price(
        1,
        (
            Rate(Unit.PROMPT, 0, 10_000_000),
            Rate(Unit.CACHED_READ, 0, 1_000_000),
            Rate(Unit.COMPLETION, 0, 20_000_000),
            Rate(Unit.COMPLETION_AUDIO, 0, 90_000_000),
        ),
    )
    assert charge(usage, price, 0) == cost


def test_the_smallest_price_is_not_lost() -> None:
    """1.3e-10 USD a token is 130 nano-USD a million: one token costs one nano-dollar, not none."""
    price = Price(1, (Rate(Unit.PROMPT, 0, 130), Rate(Unit.COMPLETION, 0, 130)))
    assert charge(Usage(prompt=1), price, 0) == 1
    assert charge(Usage(prompt=1_000_000), price, 0) == 130
    assert charge(Usage(prompt=1_000_000), price, 50_000) == 137  # 136.5


def test_what_has_no_price_is_an_error_and_never_free() -> None:
    with pytest.raises(ValueError, match="no rate for completion"):
        charge(Usage(completion=1), Price(1, (Rate(Unit.PROMPT, 0, 1),)), 0)
    with pytest.raises(ValueError, match="no rate for cached_read"):
        charge(Usage(prompt=1, cached_read=1), Price(1, (Rate(Unit.PROMPT, 10, 1),)), 0)


# --- holds --------------------------------------------------------------------------------------
@given(data=st.data(), price=prices(), markup_ppm=markups, prompt_max=tokens, output_max=tokens)
def test_the_worst_case_covers_every_usage_within_its_bounds(
    data: st.DataObject, price: Price, markup_ppm: int, prompt_max: int, output_max: int
) -> None:
    usage = data.draw(usages(prompt_max, output_max))
    most = worst_case(prompt_max, output_max, price, markup_ppm)
    assert charge(usage, price, markup_ppm) <= most


@given(
    price=prices(), markup_ppm=markups, prompt=st.integers(0, 10_000),
    output=st.integers(0, 100_000), amount=st.integers(0, 10**15),
)  # fmt: skip
def test_the_covered_output_is_the_longest_that_fits(
    price: Price, markup_ppm: int, prompt: int, output: int, amount: int
) -> None:
    assume(worst_case(prompt, 0, price, markup_ppm) <= amount)
    covered = output_tokens_covered(NanoUsd(amount), prompt, output, price, markup_ppm)
    assert 0 <= covered <= output
    assert worst_case(prompt, covered, price, markup_ppm) <= amount
    if covered < output:
        assert worst_case(prompt, covered + 1, price, markup_ppm) > amount


@given(price=prices(), markup_ppm=markups, prompt=tokens, output=tokens)
def test_the_worst_case_covers_its_own_output(
    price: Price, markup_ppm: int, prompt: int, output: int
) -> None:
    most = worst_case(prompt, output, price, markup_ppm)
    assert output_tokens_covered(most, prompt, output, price, markup_ppm) == output


def test_nothing_is_covered_when_not_even_the_prompt_fits() -> None:
    price = Price(1, (Rate(Unit.PROMPT, 0, 1_000_000), Rate(Unit.COMPLETION, 0, 1_000_000)))
    assert output_tokens_covered(NanoUsd(9), 10, 5, price, 0) == 0


# --- texts --------------------------------------------------------------------------------------
@given(amount=amounts)
def test_an_amount_is_written_without_loss(amount: int) -> None:
    text = usd_text(amount)
    assert Fraction(text) * 10**9 == amount
    assert not text.endswith(".")
    if "." in text:
        assert not text.endswith("0")


@given(amount=st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_again(amount: int) -> None:
    assert nanousd_from_usd(usd_text(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", 10**9),
        ("0.000000001", 1),
        ("2.50", 2_500_000_000),
        ("9223372036.854775807", 2**63 - 1),
    ],
)
def test_dollars_are_read_exactly(text: str, amount: int) -> None:
    assert nanousd_from_usd(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1,5",
        "NaN",
        "sNaN",
        "Infinity",
        "-1",
        "1e-9",
        "0.0000000001",
        "1e999999",
        "1.0000000000000000000000000000001",
        "1_000",
        " 1 ",
        "\u0661",
        "1.",
    ],
)
def test_what_is_no_amount_of_dollars_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dollars"):
        nanousd_from_usd(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1, "0.000000001"), (-1_500_000_000, "-1.5"), (10**18, "1000000000")],
)
def test_amounts_are_written_plainly(amount: int, text: str) -> None:
    assert usd_text(amount) == text
