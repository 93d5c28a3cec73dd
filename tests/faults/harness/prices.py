"""What the provider's log says that an attempt costs, by prices of the model's own.

The simulator's models are priced in whole nano-dollars a token, so no rounding is involved, and the
product's own arithmetic is not used to check itself.
"""

from dataclasses import dataclass

from omni_grpc.simulator import SIMULATED_MODELS, CallRecord

_PER_TOKEN = {
    f"sim/{model.id}": (
        model.prompt_nanousd_per_mtok // 10**6,
        model.cached_read_nanousd_per_mtok // 10**6,
        model.completion_nanousd_per_mtok // 10**6,
    )
    for model in SIMULATED_MODELS
}
_OWN_BEHAVIOUR = {f"sim/{model.id}": model.behaviour for model in SIMULATED_MODELS}


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


def price_of(prompt: int, cached: int, completion: int, model: str) -> int:
    prompt_price, cached_price, completion_price = _PER_TOKEN[model]
    return (prompt - cached) * prompt_price + cached * cached_price + completion * completion_price


def is_refused(record: CallRecord) -> bool:
    """An HTTP status instead of an answer: nothing was generated."""
    return record.status >= 400


def was_lost_unanswered(record: CallRecord) -> bool:
    """The provider ended the connection, or broke off, before any of the answer."""
    return record.outcome in ("cut", "error") and record.completion_tokens == 0


def cost_of(record: CallRecord) -> Cost:
    """What the provider generated costs, as the gateway can know it."""
    model = model_of(record)
    usage = told(record, "usage")
    sent = price_of(record.prompt_tokens, 0, record.completion_tokens, model)
    if record.outcome == "finished":
        if told(record, "bad_json_after"):
            seen = int(told(record, "bad_json_after"))
            return Cost(price_of(record.prompt_tokens, 0, seen, model), sent)
        if usage == "zero":
            return Cost(0, 0)
        if usage == "over":
            completion = 2 * max(record.planned_tokens, record.max_tokens or 0) + 7
            whole = price_of(record.prompt_tokens, record.cached_tokens, completion, model)
            return Cost(whole, whole)
        if usage == "none":
            return Cost(sent, sent)
        whole = price_of(
            record.prompt_tokens, record.cached_tokens, record.completion_tokens, model
        )
        return Cost(whole, whole)
    if record.outcome == "cut" and told(record, "cut") in ("rst", "true"):
        return Cost(price_of(record.prompt_tokens, 0, 0, model), sent)
    return Cost(sent, sent)
