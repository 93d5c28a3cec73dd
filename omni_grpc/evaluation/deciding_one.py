"""One decision as the product makes it: from a prompt's text through the public scoring path."""

from collections.abc import Sequence

import msgspec

from omni_grpc.evaluation.data import CHARS_PER_TOKEN
from omni_grpc.routing.learned import Guard, Quality
from omni_grpc.routing.scoring import Candidate, Scored, balanced, rank


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
    predictions = quality.predict(encoded, heads)
    tokens = quality.output_tokens(encoded, heads)
    prompt_tokens = max(1, len(prompt) // CHARS_PER_TOKEN)
    candidates = [
        Candidate(
            id=seller.name,
            model=seller.head,
            cost_nanousd=1e9
            * (prompt_tokens * seller.prompt_usd + tokens[seller.head] * seller.output_usd),
            prediction=predictions[seller.head],
            is_premium=seller is premium,
        )
        for seller in sellers
    ]
    typical = quality.typical_tokens(premium.head)
    escalate = Guard(quality).escalates(encoded, premium.head)
    scored: list[Scored] = rank(
        candidates,
        balanced(quality.cost_weight(premium.head)),
        typical_nanousd=1e9 * (typical[0] * premium.prompt_usd + typical[1] * premium.output_usd),
        escalate=escalate,
    )
    considered = tuple(
        Considered(
            one.candidate.id,
            one.score,
            one.candidate.prediction.mean,
            one.candidate.cost_nanousd / 1e9,
            one.too_poor,
        )
        for one in scored
    )
    return Decision(prompt_id, considered[0].model, escalate, considered)
