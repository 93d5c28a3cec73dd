"""How hard a model shall think, in Anthropic's words: `thinking` and an effort.

Models from 4.6 on decide by themselves how much (adaptive thinking) and take an effort; those
before take a budget only, so for them an effort becomes a share of the output limit. A budget that
the caller set goes out as it is: a model that takes none says so itself.
"""

import re
from typing import Final

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.anthropic.turns import FORMAT
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.written import Json

BUDGET_TOKENS_MIN: Final = 1_024
"""Anthropic's own least budget; it must also stay below the output limit."""

_EFFORTS: Final = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh",
    "max": "max",
}  # fmt: skip
_PERCENT: Final = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}
"""Of the output limit, for models that take a budget only; what is left is the answer's."""

_BUDGET_ONLY: Final = re.compile(
    r"claude-(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:$|[-@](?:\d{8}|latest)))"
)


def reasoning_of(call: UpstreamCall) -> tuple[Json | None, str | None]:
    """The request's `thinking`, and its effort; None for what is not sent.

    Raises:
        FieldInvalid: the effort is unknown, or the budget does not fit the output limit.
    """
    request = call.request
    effort = request.reasoning_effort
    is_old = _BUDGET_ONLY.match(call.model) is not None
    if effort == "none" or request.reasoning_budget == 0:
        return {"type": "disabled"}, None
    if effort is not None and effort not in _EFFORTS:
        raise FieldInvalid(
            f"reasoning_effort must be none or one of {', '.join(_EFFORTS)}.",
            field="reasoning_effort",
        )
    display: Json = {} if request.reasoning_summary is None else {"display": "summarized"}
    word = None if effort is None or is_old else _EFFORTS[effort]
    if request.reasoning_budget is not None or (is_old and effort is not None):
        if _loop_has_no_proof(request):
            return None, word  # `unproven_of` names it
        return {"type": "enabled", "budget_tokens": _budget(call), **display}, word
    if effort is None and (is_old or not display):
        return None, None
    return {"type": "adaptive", **display}, word


def unproven_of(call: UpstreamCall) -> tuple[str, ...]:
    """The field by which thinking was asked that the conversation lacks the proof for."""
    request = call.request
    if request.reasoning_effort == "none" or not _loop_has_no_proof(request):
        return ()
    if request.reasoning_budget:
        return ("reasoning_budget",)
    if request.reasoning_effort is not None and _BUDGET_ONLY.match(call.model):
        return ("reasoning_effort",)
    return ()


def _budget(call: UpstreamCall) -> int:
    """Within the limits, where it is not the caller's own numbers that contradict each other."""
    request, limit = call.request, call.output_tokens_max
    asked = request.reasoning_budget
    if asked is None:
        share = _PERCENT[request.reasoning_effort or "medium"]
        field, budget = "reasoning_effort", max(limit * share // 100, BUDGET_TOKENS_MIN)
    else:
        field, budget = "reasoning_budget", asked
        if request.output_tokens_max != limit:  # it was lowered, or is the gateway's own
            budget = min(budget, limit - 1)
    if not BUDGET_TOKENS_MIN <= budget < limit:
        raise FieldInvalid(
            f"{field}: this model needs a reasoning budget of at least {BUDGET_TOKENS_MIN} tokens "
            f"below the output limit, which is {limit}; raise the limit or leave reasoning off.",
            field=field,
        )
    return budget


def _loop_has_no_proof(request: ChatRequest) -> bool:
    """Whether tool results answer a turn whose thinking was not carried back.

    With a budget the API refuses such a turn, so thinking stays off until the next user message.
    """
    if request.messages[-1].role != "tool":
        return False
    for message in reversed(request.messages):
        if message.role == "assistant":
            return not any(block.format == FORMAT for block in message.reasoning_blocks)
    return False
