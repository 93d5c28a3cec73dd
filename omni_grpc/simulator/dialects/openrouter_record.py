"""The record of a generation as OpenRouter keeps it: what was billed, whoever saw the answer."""

from datetime import UTC, datetime

import msgspec

from omni_grpc.simulator.log import CallRecord
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("record_body",)

_UNITS_PER_PRICE = 1_000_000
_NANO_PER_USD = 1_000_000_000


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    model: str
    created_at: str
    provider_name: str
    streamed: bool
    cancelled: bool
    is_byok: bool
    finish_reason: str | None
    tokens_prompt: int
    tokens_completion: int
    native_tokens_prompt: int
    native_tokens_completion: int
    native_tokens_reasoning: int
    native_tokens_cached: int
    total_cost: float
    usage: float


class _Envelope(msgspec.Struct, frozen=True):
    data: _Record


def record_body(record: CallRecord, facts: SimulatedModel | None) -> bytes:
    """The record of a call that has ended; `facts` price it, None for a model without a price."""
    prompt, completion = record.billed_prompt_tokens, record.billed_completion_tokens
    cost = _cost_usd(record, facts) if facts is not None else 0.0
    return msgspec.json.encode(
        _Envelope(
            _Record(
                id=record.id,
                model=record.model,
                created_at=datetime.now(UTC).isoformat(),
                provider_name="Simulator",
                streamed=record.stream,
                cancelled=record.outcome == "cancelled",
                is_byok=False,
                finish_reason="stop" if record.outcome == "finished" else None,
                tokens_prompt=prompt,
                tokens_completion=completion,
                native_tokens_prompt=prompt,
                native_tokens_completion=completion,
                native_tokens_reasoning=min(record.reasoning_tokens, completion),
                native_tokens_cached=min(record.cached_tokens, prompt),
                total_cost=cost,
                usage=cost,
            )
        )
    )


def _cost_usd(record: CallRecord, facts: SimulatedModel) -> float:
    cached = min(record.cached_tokens, record.billed_prompt_tokens)
    nano = (
        (record.billed_prompt_tokens - cached) * facts.prompt_nanousd_per_mtok
        + cached * facts.cached_read_nanousd_per_mtok
        + record.billed_completion_tokens * facts.completion_nanousd_per_mtok
    ) / _UNITS_PER_PRICE
    return nano / _NANO_PER_USD
