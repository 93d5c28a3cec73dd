"""Prices by the image, the second and the character: exact, bounded, never mixed with guesses."""

from decimal import Decimal

import pytest

from omni_grpc.catalog import Mode, OfferFacts, Quote, quote
from omni_grpc.catalog.facts import fault_of
from omni_grpc.core.money import Rate, Unit


@pytest.mark.parametrize(
    ("cost", "mode", "rate"),
    [
        ({"image": 40_000}, Mode.IMAGE, Rate(Unit.IMAGE, 0, 40_000 * 10**9)),
        ({"image": 10_000_000}, Mode.IMAGE, Rate(Unit.IMAGE, 0, 10**16)),
        ({"second": Decimal(100)}, Mode.TRANSCRIPTION, Rate(Unit.SECOND, 0, 10**11)),
        ({"character": Decimal("1.5")}, Mode.SPEECH, Rate(Unit.CHARACTER, 0, 1_500_000_000)),
    ],
)
def test_what_is_sold_by_no_token_has_its_exact_price(
    cost: dict[str, object], mode: Mode, rate: Rate
) -> None:
    assert quote(cost, mode) == Quote(rates=(rate,))


@pytest.mark.parametrize(
    ("cost", "mode"),
    [
        ({"image": 0}, Mode.IMAGE),
        ({"image": -1}, Mode.IMAGE),
        ({"image": 10_000_001}, Mode.IMAGE),
        ({"second": 10_001}, Mode.TRANSCRIPTION),
        ({"character": True}, Mode.SPEECH),
        ({"image": 1}, Mode.CHAT),
        ({"second": 1}, Mode.EMBEDDING),
        ({"image": 1, "input": 1, "output": 1}, Mode.IMAGE),
        ({"minute": 1}, Mode.TRANSCRIPTION),
    ],
)
def test_what_cannot_be_a_price_is_none(cost: dict[str, object], mode: Mode) -> None:
    found = quote(cost, mode)
    assert found.rates == ()
    assert found.refusal


@pytest.mark.parametrize(
    ("mode", "unit", "taken"),
    [
        (Mode.IMAGE, Unit.IMAGE, True),
        (Mode.SPEECH, Unit.CHARACTER, True),
        (Mode.TRANSCRIPTION, Unit.SECOND, True),
        (Mode.CHAT, Unit.IMAGE, False),
        (Mode.IMAGE, Unit.SECOND, False),
        (Mode.EMBEDDING, Unit.CHARACTER, False),
    ],
)
def test_an_offer_is_sold_by_the_unit_of_its_kind(mode: Mode, unit: Unit, taken: bool) -> None:
    facts = OfferFacts(
        provider="p",
        provider_model="m",
        model="m",
        display_name="m",
        mode=mode,
        quote=Quote(rates=(Rate(unit, 0, 1),)),
    )
    assert (fault_of(facts) is None) == taken
