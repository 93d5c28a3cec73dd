from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog import Mode, quote
from omni_grpc.catalog.prices import nanousd_per_mtok, rates_text
from omni_grpc.core.money import Price, Unit

BASE = {"input": Decimal("2.5"), "output": 10}


def price_of(cost: dict[str, object], mode: Mode = Mode.CHAT) -> Price:
    found = quote(cost, mode)
    assert found.refusal == ""
    return Price(1, found.rates)


def refusal_of(cost: object, mode: Mode = Mode.CHAT) -> str:
    found = quote(cost, mode)  # type: ignore[arg-type] # sources may hold anything
    assert found.rates == ()
    assert not found.free
    assert found.refusal
    return found.refusal


def test_every_unit_becomes_exact_nanodollars():
    cost = BASE | {
        "cache_read": Decimal("1.25"),
        "cache_write": Decimal("3.125"),
        "reasoning": 12,
        "input_audio": 40,
        "output_audio": 80,
    }
    assert rates_text(quote(cost, Mode.CHAT).rates) == (
        "cached_read=1.25 cached_write=3.125 completion=10 completion_audio=80 prompt=2.5 "
        "prompt_audio=40 reasoning=12"
    )


@given(st.decimals(min_value="0.00001", max_value="10000", places=9))
def test_a_price_of_nine_places_is_kept_exactly(usd: Decimal):
    assert nanousd_per_mtok(usd) == int(usd * 10**9)


@given(st.decimals(min_value="0.00001", max_value="9999", places=12))
def test_a_finer_price_is_rounded_up(usd: Decimal):
    assert 0 <= nanousd_per_mtok(usd) - usd * 10**9 < 1


@pytest.mark.parametrize(
    ("usd", "nanousd"),
    [
        ("0.30000000000000004", 300_000_000),
        ("0.09999999999999999", 100_000_000),
        ("0.049999999999999996", 50_000_000),
        ("0.08333333333333334", 83_333_334),
    ],
)
def test_the_noise_of_doubles_is_dropped_and_real_digits_are_not(usd: str, nanousd: int):
    assert nanousd_per_mtok(Decimal(usd)) == nanousd


@pytest.mark.parametrize(
    "bad",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-0.01"),
        -1,
        10_001,
        10**400,
        Decimal("1e999999"),
        Decimal("1e-999999"),
        Decimal("0.0000025"),
        "2.5",
        True,
        None,
        [],
        {},
    ],
    ids=repr,
)
@pytest.mark.parametrize("key", ["input", "output", "cache_read", "reasoning", "input_audio"])
def test_what_cannot_be_a_price_leaves_the_offer_unpriced(key: str, bad: object):
    assert len(refusal_of({**BASE, key: bad})) <= 200


@pytest.mark.parametrize("cost", [None, {}, {"input": 1}, {"output": 1}, {"cache_read": 1}])
def test_without_prices_for_input_and_output_there_is_no_price(cost: object):
    assert "gives no price" in refusal_of(cost)


def test_an_unknown_cost_key_leaves_the_offer_unpriced():
    assert "'per_search'" in refusal_of({**BASE, "per_search": 1})
    tier = {**BASE, "per_search": 1, "tier": {"type": "context", "size": 1}}
    assert "'per_search'" in refusal_of({**BASE, "tiers": [tier]})


def test_zero_for_both_is_free_and_zero_for_one_is_unpriced():
    free = quote({"input": 0, "output": 0, "cache_read": 0}, Mode.CHAT)
    assert free.free
    assert Price(1, free.rates).rate(Unit.COMPLETION, 5) == 0
    assert "costs zero" in refusal_of({"input": 0, "output": 1})
    assert "costs zero" in refusal_of({"input": 1, "output": 0})
    for other in ({"reasoning": 1}, {"context_over_200k": BASE}, {"tiers": [BASE]}):
        assert "other parts do not" in refusal_of({"input": 0, "output": 0, **other})


def test_an_embedding_has_no_price_for_output_and_is_not_free():
    price = price_of({"input": Decimal("0.02"), "output": 0}, Mode.EMBEDDING)
    assert price.rate(Unit.PROMPT, 0) == 20_000_000
    assert not quote({"input": Decimal("0.02"), "output": 0}, Mode.EMBEDDING).free


@pytest.mark.parametrize("mode", [Mode.IMAGE, Mode.SPEECH, Mode.TRANSCRIPTION, Mode.VIDEO])
def test_a_zero_price_per_token_does_not_make_what_is_sold_otherwise_free(mode: Mode):
    refusal_of({"input": 0, "output": 0}, mode)
    refusal_of({"input": 1, "output": 0}, mode)


@pytest.mark.parametrize("key", ["cache_read", "cache_write", "reasoning", "output_audio"])
def test_a_part_at_zero_beside_a_priced_whole_costs_what_the_whole_costs(key: str):
    price = price_of({**BASE, key: 0})
    unit = {"cache_read": Unit.CACHED_READ, "cache_write": Unit.CACHED_WRITE}.get(key)
    unit = unit or {"reasoning": Unit.REASONING, "output_audio": Unit.COMPLETION_AUDIO}[key]
    assert not price.priced(unit)
    assert price.rate(unit, 0) > 0


def test_a_cache_write_below_the_prompt_price_is_not_believed():
    assert price_of({**BASE, "cache_write": 1}).rate(Unit.CACHED_WRITE, 0) == 2_500_000_000


def test_a_tier_holds_for_prompts_above_its_size():
    tier = {"input": 5, "output": 15, "tier": {"type": "context", "size": 200_000}}
    price = price_of({**BASE, "tiers": [tier]})
    assert price.rate(Unit.PROMPT, 200_000) == 2_500_000_000
    assert price.rate(Unit.PROMPT, 200_001) == 5_000_000_000
    assert price.rate(Unit.COMPLETION, 200_001) == 15_000_000_000


def test_the_older_form_of_a_tier_counts_where_the_newer_is_missing():
    legacy = {"input": 5, "output": 15}
    assert price_of({**BASE, "context_over_200k": legacy}).rate(Unit.PROMPT, 200_001) == 5 * 10**9
    tiers = [{**legacy, "tier": {"type": "context", "size": 272_000}}]
    price = price_of({**BASE, "tiers": tiers, "context_over_200k": legacy})
    assert price.rate(Unit.PROMPT, 272_000) == 2_500_000_000


def test_a_part_that_a_tier_does_not_name_rises_with_its_whole():
    tiers = [
        {"input": 5, "output": 15, "tier": {"type": "context", "size": 1_000}},
        {"input": 10, "output": 30, "tier": {"type": "context", "size": 2_000}},
    ]
    price = price_of({**BASE, "cache_read": Decimal("0.25"), "reasoning": 10, "tiers": tiers})
    assert price.rate(Unit.CACHED_READ, 1_001) == 500_000_000
    assert price.rate(Unit.CACHED_READ, 2_001) == 1_000_000_000
    assert price.rate(Unit.REASONING, 2_001) == 30_000_000_000


def test_a_part_that_is_not_believable_in_a_tier_costs_the_whole_there():
    tier = {"input": 5, "output": 15, "cache_write": 1, "tier": {"type": "context", "size": 9}}
    price = price_of({**BASE, "cache_write": 3, "tiers": [tier]})
    assert price.rate(Unit.CACHED_WRITE, 9) == 3_000_000_000
    assert price.rate(Unit.CACHED_WRITE, 10) == 5_000_000_000


@pytest.mark.parametrize(
    "tiers",
    [
        {},
        "x",
        [1],
        [{"input": 5, "output": 15}],
        [{"input": 5, "output": 15, "tier": {"type": "hour", "size": 1}}],
        [{"input": 5, "output": 15, "tier": {"type": "context", "size": 0}}],
        [{"input": 5, "output": 15, "tier": {"type": "context", "size": 10**12}}],
        [{"input": 5, "output": 15, "tier": {"type": "context", "size": 1, "region": "eu"}}],
        [{"input": 5, "tier": {"type": "context", "size": 1}}],
        [{"input": 5, "output": 0, "tier": {"type": "context", "size": 1}}],
        [{"input": 5, "output": 15, "tier": {"type": "context", "size": 1}}] * 2,
        [{"input": -5, "output": 15, "tier": {"type": "context", "size": 1}}],
    ],
    ids=repr,
)
def test_a_tier_that_is_not_understood_leaves_the_offer_unpriced(tiers: object):
    refusal_of({**BASE, "tiers": tiers})


def test_a_part_that_rises_beyond_any_price_leaves_the_offer_unpriced():
    tier = {"input": 10_000, "output": 10, "tier": {"type": "context", "size": 1}}
    cost = {"input": Decimal("0.00001"), "output": 10, "input_audio": 10, "tiers": [tier]}
    assert "in proportion" in refusal_of(cost)


_NUMBERS = st.one_of(st.decimals(), st.integers(), st.none(), st.booleans(), st.text(max_size=3))
_COSTS = st.dictionaries(
    st.sampled_from(["input", "output", "cache_read", "cache_write", "reasoning", "x", "tier"]),
    st.one_of(_NUMBERS, st.just({"type": "context", "size": 5})),
)


@given(_COSTS, st.none() | st.lists(_COSTS, max_size=3), st.none() | _COSTS, st.sampled_from(Mode))
def test_any_cost_is_a_sound_price_or_refused(
    cost: dict[str, object], tiers: object, legacy: object, mode: Mode
):
    if tiers is not None:
        cost["tiers"] = tiers
    if legacy is not None:
        cost["context_over_200k"] = legacy
    found = quote(cost, mode)
    assert bool(found.rates) != bool(found.refusal)
    if found.rates:
        assert all(0 <= rate.nanousd_per_mtok <= 10**13 for rate in found.rates)
        price = Price(1, found.rates)
        costs = price.rate(Unit.PROMPT, 0) + price.rate(Unit.COMPLETION, 0)
        assert found.free == (costs == 0)
