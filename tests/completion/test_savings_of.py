"""What an answer saved: the same tokens at other prices, with the markup, to the nano-dollar."""

import pytest

from omni_grpc.completion.savings import savings_of
from omni_grpc.core.money import Price, Rate, Unit, charge
from omni_grpc.core.usage import Usage
from omni_grpc.routing import Baseline, Plan

DEAR = Price(
    7,
    (
        Rate(Unit.PROMPT, 0, 2_500_000_001),
        Rate(Unit.PROMPT, 1_000, 5_000_000_003),
        Rate(Unit.CACHED_READ, 0, 250_000_007),
        Rate(Unit.COMPLETION, 0, 10_000_000_001),
    ),
)
CHEAP = Price(8, (Rate(Unit.PROMPT, 0, 1_000_000), Rate(Unit.COMPLETION, 0, 2_000_000)))
USAGE = Usage(prompt=1_001, cached_read=500, completion=33)
MARKUP_PPM = 70_000


def plan(premium: Price | None = DEAR, single: Price | None = None) -> Plan:
    return Plan(
        attempts=(),
        asked="omni/auto",
        premium=None if premium is None else Baseline("a/dear", premium),
        best_single=None if single is None else Baseline("b/single", single),
    )


def test_the_same_tokens_are_priced_as_a_charge_is() -> None:
    found = savings_of(plan(single=CHEAP), USAGE, 1_000, MARKUP_PPM)
    assert found is not None
    premium = charge(USAGE, DEAR, MARKUP_PPM)
    assert (found.premium_model, found.premium_nanousd) == ("a/dear", premium)
    assert found.saved_nanousd == premium - 1_000
    assert (found.single_model, found.single_nanousd) == (
        "b/single",
        charge(USAGE, CHEAP, MARKUP_PPM),
    )


def test_where_routing_cost_more_savings_are_negative() -> None:
    found = savings_of(plan(CHEAP), USAGE, 10**9, 0)
    assert found is not None
    assert found.saved_nanousd == charge(USAGE, CHEAP, 0) - 10**9 < 0


@pytest.mark.parametrize(
    ("premium", "usage"),
    [
        (None, USAGE),
        (DEAR, Usage(prompt=1, image=1)),  # the premium model sells no pictures
        (Price(9, ()), USAGE),
        (DEAR, Usage(prompt=2**62, completion=1)),  # no sum of money
    ],
)
def test_what_cannot_be_compared_is_not(premium: Price | None, usage: Usage) -> None:
    assert savings_of(plan(premium), usage, 5, 0) is None


def test_a_single_model_that_cannot_be_priced_is_left_out() -> None:
    found = savings_of(plan(single=Price(9, ())), USAGE, 5, 0)
    assert found is not None
    assert (found.single_model, found.single_nanousd) == ("", None)
