"""One decision as the product makes it: from a prompt's text through the public scoring path."""

from collections.abc import Sequence

import msgspec
import numpy as np

from omni_grpc.evaluation.data import CHARS_PER_TOKEN
from omni_grpc.routing.learned import Guard, Quality
from omni_grpc.routing.scoring import balanced, ranking, reference_cost, score_parts


class Seller(msgspec.Struct, frozen=True):
    """A model that may be chosen, with its prices in dollars a token."""

    name: str
    head: str
    prompt_usd: float
    output_usd: float


class Considered(msgspec.Struct, frozen=True):
    """A model in a decision. `too_poor` is below the floor of quality."""

    model: str
    score: float
    quality: float
    cost_usd: float
    too_poor: bool


class Decision(msgspec.Struct, frozen=True):
    """What was decided for one prompt; `considered` is in order, the chosen model first."""

    id: str
    model: str
    escalated: bool
    considered: tuple[Considered, ...]


def decide(quality: Quality, sellers: Sequence[Seller], prompt_id: str, prompt: str) -> Decision:
    """Decides on one prompt, with the weights as shipped; the first seller is the premium model."""
    encoded = quality.encode(prompt)
    premium = sellers[0]
    heads = [seller.head for seller in sellers]
    known = quality.predict(encoded, heads, premium.head)
    predictions = [known[head] for head in heads]
    tokens = quality.output_tokens(encoded, heads)
    prompt_tokens = max(1, len(prompt) // CHARS_PER_TOKEN)
    cost = np.array(
        [
            1e9 * (prompt_tokens * one.prompt_usd + tokens[one.head] * one.output_usd)
            for one in sellers
        ]
    )
    typical = quality.typical_tokens(premium.head)
    typical_nanousd = 1e9 * (typical[0] * premium.prompt_usd + typical[1] * premium.output_usd)
    escalate = Guard(quality).escalates(encoded, premium.head)
    parts = score_parts(
        balanced(quality.cost_weight(premium.head)),
        cost_nanousd=cost,
        reference_nanousd=reference_cost(cost[0], typical_nanousd),
        quality=np.array([one.mean for one in predictions]),
        doubt=np.array([one.doubt for one in predictions]),
        premium=0,
    )
    considered = tuple(
        Considered(
            sellers[place].name,
            float(parts.total[place]),
            predictions[place].mean,
            float(cost[place]) / 1e9,
            bool(parts.too_poor[place]),
        )
        for place in ranking(parts, escalate_to=0 if escalate else None)
    )
    return Decision(prompt_id, considered[0].model, escalate, considered)
