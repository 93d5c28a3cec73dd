"""What a request asks that Converse leaves to each maker's models: `top_k` and reasoning.

AWS documents both for Anthropic's models, in `additionalModelRequestFields` and in Anthropic's own
words. Claude up to 4.5 thinks within a budget of tokens; 4.6 takes a budget or an effort; later
models take an effort alone. The model's name tells which it is.
"""

import re
from typing import Final

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.providers.bedrock.written import Json
from omni_grpc.providers.calls import UpstreamCall

THINKING_TOKENS_MIN: Final = 1_024
"""Anthropic's smallest budget; the output limit must be above it."""

_BUDGET_SHARES: Final = {
    "minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.9, "max": 0.9,
}  # fmt: skip
"""How much of the output limit a model of budgets may think, by the effort that was asked."""

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
    if request.reasoning_budget is not None and _is_there(request, "reasoning_budget", version):
        fields["thinking"] = _budget(request, version)
    elif request.reasoning_effort is not None and _is_there(request, "reasoning_effort", version):
        fields |= _effort(request.reasoning_effort, call.output_tokens_max, version)
    if request.reasoning_summary is not None and _is_there(request, "reasoning_summary", version):
        thinking = fields.get("thinking")
        if isinstance(thinking, dict) and thinking.get("type") == "adaptive":
            thinking["display"] = "summarized"  # what those of a budget show anyway
    wants_stop = version is not None and request.sampling.stop
    return fields, ["/stop_sequence"] if wants_stop else []


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


def _budget(request: ChatRequest, version: tuple[int, int] | None) -> Json:
    if version is not None and version > _BOTH_WAYS:
        raise FeatureUnsupported(
            "This model takes no budget of reasoning; send reasoning_effort.",
            field="reasoning_budget",
        )
    return {"type": "enabled", "budget_tokens": request.reasoning_budget}


def _effort(effort: str, output_tokens_max: int, version: tuple[int, int] | None) -> Json:
    if version is None:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}} if version >= _THINKS_UNASKED else {}
    if effort not in _EFFORTS:
        raise FieldInvalid(
            f"reasoning_effort must be one of none, {', '.join(_EFFORTS)}.",
            field="reasoning_effort",
        )
    if version >= _BOTH_WAYS:
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": _EFFORTS[effort]}}
    if output_tokens_max <= THINKING_TOKENS_MIN:
        raise FieldInvalid(
            f"Reasoning takes at least {THINKING_TOKENS_MIN} tokens of the output; allow more.",
            field="reasoning_effort",
        )
    budget = max(THINKING_TOKENS_MIN, int(output_tokens_max * _BUDGET_SHARES[effort]))
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}
