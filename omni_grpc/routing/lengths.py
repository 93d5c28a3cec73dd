"""How long the output of each offer will be: its answer, and what its model reasons before it.

Predictions of answers rest on models that do not reason, and reasoning is output as well: without
it the cost of a model that reasons would be told several times too low. Choices and estimates ask
here, so that both tell the same.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.limits import OUTPUT_TOKENS_DEFAULT
from omni_grpc.routing.offer_table import UNLIMITED, Ability, Amounts, OfferTable
from omni_grpc.routing.reasoning import asked_growth, asks_for_reasoning, unasked_growth
from omni_grpc.routing.speeds import Reasoned, SpeedMeter

GUESS_WEIGHT: Final = 5.0
"""Calls that a guess of how far a model reasons counts as beside what calls measured."""


class Lengths(msgspec.Struct, frozen=True):
    """By row of a table: tokens of output, and how many times longer than the answer that is."""

    tokens: Amounts
    growth: Amounts


def lengths(
    table: OfferTable,
    request: ChatRequest,
    answers: Amounts,
    speeds: Mapping[str, SpeedMeter],
) -> Lengths:
    """How long the output of each row will probably be, within the limits of request and model.

    Args:
        table: the offers.
        request: what is asked.
        answers: tokens of each row's answer without reasoning.
        speeds: what calls measured, by offer.
    """
    if asks_for_reasoning(request):
        growth = np.where(table.able(Ability.REASONING), asked_growth(request, answers), 1.0)
    else:
        growth = table.unasked_growth
        reasoned = {
            row: meter.reasoned
            for offer_id, meter in speeds.items()
            if meter.reasoned is not None and (row := table.row_of.get(offer_id)) is not None
        }
        if reasoned:
            growth = growth.copy()
        for row, found in reasoned.items():
            growth[row] = _measured(float(growth[row]), found)
    most = request.output_tokens_max
    limits = np.minimum(table.outputs, most) if most else table.outputs_default
    return Lengths(np.minimum(answers * growth, limits), growth)


def length(offer: Offer, request: ChatRequest, answer: float, meter: SpeedMeter | None) -> float:
    """What `lengths` says of one offer, whether a table has it or not."""
    if not asks_for_reasoning(request):
        growth = unasked_growth(offer)
        if meter is not None and meter.reasoned is not None:
            growth = _measured(growth, meter.reasoned)
    else:
        growth = float(asked_growth(request, np.array([answer]))[0]) if offer.reasoning else 1.0
    most = request.output_tokens_max or OUTPUT_TOKENS_DEFAULT
    return min(answer * growth, most, offer.output_tokens_max or UNLIMITED)


def _measured(guess: float, found: Reasoned) -> float:
    """A guess, moved by what calls measured: the more of them, the further."""
    guessed = GUESS_WEIGHT * (guess - 1.0)
    return 1.0 + (guessed + found.weight * found.ratio) / (GUESS_WEIGHT + found.weight)
