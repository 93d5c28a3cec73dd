"""Prices of what is no chat: bounds above every charge, nothing free, counts kept as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.money import Price, Rate, Unit, charge, worst_case_of
from omni_grpc.core.usage import Usage, UsageSource, rare_counts, usage_of

counts = st.integers(0, 10**7)
rates = st.integers(0, 10**14)
TOKEN_UNITS = (Unit.PROMPT, Unit.PROMPT_IMAGE, Unit.COMPLETION, Unit.COMPLETION_IMAGE)


@given(
    prompt=counts, seen=counts, completion=counts, painted=counts, markup=st.integers(0, 10**6),
    found=st.tuples(rates, rates, rates, rates),
)  # fmt: skip
def test_tokens_never_cost_more_than_their_worst_case(
    prompt: int, seen: int, completion: int, painted: int, markup: int, found: tuple[int, ...]
) -> None:
    price = Price(
        1, tuple(Rate(unit, 0, rate) for unit, rate in zip(TOKEN_UNITS, found, strict=True))
    )
    usage = Usage(
        prompt=prompt,
        prompt_image=min(seen, prompt),
        completion=completion,
        completion_image=min(painted, completion),
    )
    most = Usage(prompt=prompt, completion=completion)
    assert charge(usage, price, markup) <= worst_case_of(most, price, markup)


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        (Unit.IMAGE, Usage(image=3)),
        (Unit.SECOND, Usage(second=3)),
        (Unit.CHARACTER, Usage(character=3)),
    ],
)
def test_what_is_no_token_costs_its_own_price_and_is_never_free(unit: Unit, most: Usage) -> None:
    price = Price(1, (Rate(unit, 0, 333_333),))
    assert worst_case_of(most, price, 0) == charge(most, price, 0) == 1
    assert charge(most, Price(1, (Rate(unit, 0, 40 * 10**12),)), 50_000) == 126_000_000
    tokens = Price(1, (Rate(Unit.PROMPT, 0, 1), Rate(Unit.COMPLETION, 0, 1)))
    for calculate in (worst_case_of, charge):
        with pytest.raises(ValueError, match="no rate"):
            calculate(most, tokens, 0)
        with pytest.raises(ValueError, match="no rate"):
            calculate(Usage(prompt=1), price, 0)


@given(
    st.tuples(*[st.none() | counts] * 7),
    st.none() | st.tuples(*[st.none() | counts] * 6),
    st.sampled_from(UsageSource),
)
def test_stored_counts_are_the_usage_that_they_came_from(
    common: tuple[int | None, ...], rare: tuple[int | None, ...] | None, source: UsageSource
) -> None:
    usage = usage_of(common, rare, source)
    assert usage.source is source
    assert (usage.prompt, usage.completion_audio) == (common[0], common[-1])
    again = rare_counts(usage)
    assert usage_of(common, again, source) == usage
    assert (again is None) == (rare is None or not any(one is not None for one in rare))


def test_too_many_stored_counts_are_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        usage_of((None,) * 7, (None,) * 7)
