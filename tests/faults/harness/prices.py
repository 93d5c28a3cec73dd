"""What the provider's log says that an attempt costs, by prices of the model's own.

The simulator's models are priced in whole nano-dollars a token, so no rounding is involved, and the
product's own arithmetic is not used to check itself.
"""

from dataclasses import dataclass
from typing import NamedTuple

from omni_grpc.simulator import SIMULATED_MODELS, CallRecord

_OWN_BEHAVIOUR = {f"sim/{model.id}": model.behaviour for model in SIMULATED_MODELS}


class Prices(NamedTuple):
    """Nano-dollars a token."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attempt costs: a range where the gateway cannot know all that was sent."""

    least: int
    most: int

    @property
    def exact(self) -> bool:
        return self.least == self.most

    def covers(self, cost: int) -> bool:
        return self.least <= cost <= self.most


def model_of(record: CallRecord) -> str:
    return record.model if record.model.startswith("sim/") else f"sim/{record.model}"


def told(record: CallRecord, key: str) -> str:
    """The value of a behaviour, the prompt's before the model's own; empty if there is none."""
    for text in (record.behaviour, _OWN_BEHAVIOUR.get(model_of(record), "")):
        for pair in reversed(text.split(",")):
            name, _, value = pair.partition("=")
            if name == key:
                return value or "true"
    return ""


def price_of(prompt: int, cached: int, completion: int, prices: Prices) -> int:
    fresh = prompt - cached
    return fresh * prices.prompt + cached * prices.cached + completion * prices.completion


def is_refused(record: CallRecord) -> bool:
    """An HTTP status instead of an answer: nothing was generated."""
    return record.status >= 400


def was_lost_unanswered(record: CallRecord) -> bool:
    """The provider ended the connection, or broke off, before any of the answer.

    A plain answer comes whole or not at all: of one that cannot be read nothing came.
    """
    if not record.stream and told(record, "bad_json_after"):
        return True
    return record.outcome in ("cut", "error") and record.completion_tokens == 0


def may_be_unknown(record: CallRecord) -> bool:
    """The provider said nothing until the gateway left: nobody knows whether it worked."""
    is_silent = told(record, "hang_after") in ("request", "headers")
    return record.outcome == "cancelled" and record.completion_tokens == 0 and is_silent


def cost_of(record: CallRecord, prices: Prices) -> Cost:
    """What the provider generated costs, as the gateway can know it."""
    prompt, cached, sent = record.prompt_tokens, record.cached_tokens, record.completion_tokens
    counted = price_of(prompt, 0, sent, prices)
    usage = told(record, "usage")
    if record.outcome == "cut" and told(record, "cut") in ("rst", "true"):
        return Cost(price_of(prompt, 0, 0, prices), counted)
    if told(record, "bad_json_after"):
        # What came after it cannot be known, and the gateway may have left by then.
        return Cost(price_of(prompt, 0, int(told(record, "bad_json_after")), prices), counted)
    if record.outcome != "finished" or usage == "none":
        return Cost(counted, counted)
    if usage == "zero":
        return Cost(0, 0)
    if usage == "over":
        sent = 2 * max(record.planned_tokens, record.max_tokens or 0) + 7
    whole = price_of(prompt, cached, sent, prices)
    return Cost(whole, whole)
