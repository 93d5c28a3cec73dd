from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omni_grpc_client import nanousd, usd


@pytest.mark.parametrize(
    ("amount_nanousd", "amount_usd"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (1_500_000_000, "1.5"),
        (-42, "-0.000000042"),
        (2**63 - 1, "9223372036.854775807"),
    ],
)
def test_nano_dollars_are_dollars_exactly(amount_nanousd, amount_usd):
    assert usd(amount_nanousd) == Decimal(amount_usd)
    assert nanousd(amount_usd) == amount_nanousd


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_amount_goes_there_and_back(amount_nanousd):
    assert nanousd(usd(amount_nanousd)) == amount_nanousd


def test_whole_dollars_may_be_an_int():
    assert nanousd(5) == 5_000_000_000


@pytest.mark.parametrize("wrong", ["0.0000000001", "NaN", "Infinity", "five", "", "1" * 60])
def test_what_is_no_exact_amount_is_refused(wrong):
    with pytest.raises(ValueError, match="amount of dollars"):
        nanousd(wrong)


@pytest.mark.parametrize("wrong", [0.1, None])
def test_a_float_is_refused(wrong):
    with pytest.raises(TypeError):
        nanousd(wrong)
