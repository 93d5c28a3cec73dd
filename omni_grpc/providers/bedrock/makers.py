"""What a request asks that Converse leaves to each maker's models: `top_k` and reasoning.

AWS documents both for Anthropic's models, in `additionalModelRequestFields` and in Anthropic's own
words. Claude up to 4.5 thinks within a budget of tokens; 4.6 takes a budget or an effort; later
models take an effort alone. The model's name tells which it is.
"""

import re
from typing import Final

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.providers.bedrock.wire import FORMAT
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.written import Json

THINKING_TOKENS_MIN: Final = 1_024
"""Anthropic's smallest budget; the output limit must be above it."""

_PERCENT: Final = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}
"""Of the output limit, for models that take a budget only; what is left is the answer's."""

_EFFORTS: Final = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh",
    "max": "max",
}  # fmt: skip

_NAME: Final = re.compile(r"anthropic\.claude-(?P<name>[a-z0-9.-]+)")
_FIRST_NAMES: Final = re.compile(r"(?:instant|v\d|(\d+)(?:-(\d+))?-[a-z])")
_LATER_NAMES: Final = re.compile(r"[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_BOTH_WAYS: Final = (4, 6)
_THINKS_UNASKED: Final = (5, 0)
_NEWEST: Final = (99, 0)


def model_fields(call: UpstreamCall) -> tuple[Json, list[str]]:
    """The fields of the model's own, and which of the answer's own fields are wanted back.

    Raises:
        FieldInvalid: the model has no such thing; one that may be left out is left out.
    """
    request = call.request
    version = claude_version(call.model)
    fields: Json = {}
    if request.sampling.top_k is not None and _is_there(request, "top_k", version):
        fields["top_k"] = request.sampling.top_k
    asks_summary = request.reasoning_summary is not None and _is_there(
        request, "reasoning_summary", version
    )
    if request.reasoning_budget is not None and _is_there(request, "reasoning_budget", version):
        fields |= _budget(call, request.reasoning_budget, version or _NEWEST)
    elif request.reasoning_effort is not None and _is_there(request, "reasoning_effort", version):
        fields |= _effort(call, request.reasoning_effort, version or _NEWEST)
    elif asks_summary and version is not None and version >= _THINKS_UNASKED:
        fields["thinking"] = {"type": "adaptive"}
    thinking = fields.get("thinking")
    if asks_summary and isinstance(thinking, dict) and thinking["type"] == "adaptive":
        thinking["display"] = "summarized"  # what those of a budget show anyway
    wants_stop = version is not None and request.sampling.stop
    return fields, ["/stop_sequence"] if wants_stop else []


def left_out_of(call: UpstreamCall) -> tuple[str, ...]:
    """The optional settings that `model_fields` leaves out for this model."""
    request = call.request
    if claude_version(call.model) is None:
        asked = {
            "top_k": request.sampling.top_k,
            "reasoning_budget": request.reasoning_budget,
            "reasoning_effort": request.reasoning_effort,
            "reasoning_summary": request.reasoning_summary,
        }
        return tuple(name for name, value in asked.items() if value is not None)
    thinking = model_fields(call)[0].get("thinking")
    if thinking is not None or not _loop_has_no_proof(request):
        return ()
    if request.reasoning_budget:
        return ("reasoning_budget",)
    asks = request.reasoning_effort not in (None, "none")
    return ("reasoning_effort",) if asks else ()


def claude_version(model: str) -> tuple[int, int] | None:
    """The version of Claude that a model's id or ARN names; None for any other model."""
    found = _NAME.search(model)
    if found is None:
        return None
    first = _FIRST_NAMES.match(found["name"])
    if first is not None:
        return int(first[1] or 2), int(first[2] or 0)
    later = _LATER_NAMES.match(found["name"])
    return _NEWEST if later is None else (int(later[1]), int(later[2] or 0))


def _is_there(request: ChatRequest, field: str, version: tuple[int, int] | None) -> bool:
    """Whether the model has it; False where it has not and the caller can do without."""
    if version is not None:
        return True
    if field in request.optional:
        return False
    raise FeatureUnsupported(
        f"{field} is documented for Anthropic's models alone there; leave it out, or ask a "
        f"model whose id names anthropic.",
        field=field,
    )


def _budget(call: UpstreamCall, asked: int, version: tuple[int, int]) -> Json:
    """Thinking within the caller's own budget."""
    if asked == 0:
        return _no_thinking(version)
    if version > _BOTH_WAYS:
        raise FeatureUnsupported(
            "This model takes no budget of reasoning; send reasoning_effort.",
            field="reasoning_budget",
        )
    limit = call.output_tokens_max
    # Where the limit is the gateway's own, or was lowered, it is not the caller's contradiction.
    budget = asked if call.request.output_tokens_max == limit else min(asked, limit - 1)
    return _thinking_within(call, budget, "reasoning_budget")


def _effort(call: UpstreamCall, effort: str, version: tuple[int, int]) -> Json:
    """An effort, or the budget that stands for it."""
    if effort == "none":
        return _no_thinking(version)
    if effort not in _EFFORTS:
        raise FieldInvalid(
            f"reasoning_effort must be none or one of {', '.join(_EFFORTS)}.",
            field="reasoning_effort",
        )
    if version >= _BOTH_WAYS:
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": _EFFORTS[effort]}}
    budget = max(call.output_tokens_max * _PERCENT[effort] // 100, THINKING_TOKENS_MIN)
    return _thinking_within(call, budget, "reasoning_effort")


def _no_thinking(version: tuple[int, int]) -> Json:
    """Told only to models that think unasked; others may not know the word."""
    return {"thinking": {"type": "disabled"}} if version >= _THINKS_UNASKED else {}


def _thinking_within(call: UpstreamCall, budget: int, field: str) -> Json:
    limit = call.output_tokens_max
    if not THINKING_TOKENS_MIN <= budget < limit:
        raise FieldInvalid(
            f"{field}: this model needs a reasoning budget of at least {THINKING_TOKENS_MIN} "
            f"tokens below the output limit, which is {limit}; raise the limit or leave reasoning "
            f"off.",
            field=field,
        )
    if _loop_has_no_proof(call.request):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _loop_has_no_proof(request: ChatRequest) -> bool:
    """Whether tool results answer a turn whose thinking was not carried back.

    With a budget such a turn is refused, so thinking stays off until the next user message.
    """
    if request.messages[-1].role != "tool":
        return False
    for message in reversed(request.messages):
        if message.role == "assistant":
            return not any(block.format == FORMAT for block in message.reasoning_blocks)
    return False
