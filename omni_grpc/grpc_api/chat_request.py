"""Reads a ChatPrompt into the domain's ChatRequest, or says which field is wrong.

Messages are slow to touch, so each field is read once.
"""

from collections.abc import Sequence
from typing import Final

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import (
    NO_SAMPLING,
    OPTIONAL_FIELDS,
    ChatRequest,
    ReasoningSummary,
    ResponseFormat,
    SafetySetting,
    Sampling,
    ShortCredits,
    Tool,
    ToolChoice,
    ToolMode,
)
from omni_grpc.core.limits import (
    CHOICE_COUNT_MAX,
    MESSAGE_COUNT_MAX,
    MODEL_ID_CHARS_MAX,
    STOP_COUNT_MAX,
    TOOL_COUNT_MAX,
)
from omni_grpc.grpc_api.chat_checks import (
    check_count,
    check_function_name,
    check_json_object,
    check_no_nul,
    invalid,
    unknown,
    word,
)
from omni_grpc.grpc_api.chat_message import cache_ttl, read_message
from omni_grpc.grpc_api.routing_preferences import end_user, preferences, tags

_MODES: Final[dict[int, ToolMode]] = {
    pb.TOOL_MODE_AUTO: "auto",
    pb.TOOL_MODE_NONE: "none",
    pb.TOOL_MODE_REQUIRED: "required",
}
_SHORT: Final = {
    pb.SHORT_CREDITS_UNSPECIFIED: ShortCredits.REFUSE,
    pb.SHORT_CREDITS_REFUSE: ShortCredits.REFUSE,
    pb.SHORT_CREDITS_SHORTEN: ShortCredits.SHORTEN,
}
_SUMMARIES: Final[dict[int, ReasoningSummary]] = {
    pb.REASONING_SUMMARY_AUTO: "auto",
    pb.REASONING_SUMMARY_CONCISE: "concise",
    pb.REASONING_SUMMARY_DETAILED: "detailed",
}

SAFETY_SETTINGS_MAX: Final = 32
"""Google names about a dozen kinds of content."""

_NOTHING: Final[frozenset[str]] = frozenset()
_INT32_MAX: Final = 2**31 - 1
_TOP_LOGPROBS_MAX: Final = 20


def chat_request(prompt: pb.ChatPrompt) -> ChatRequest:
    """The request that a prompt asks for.

    Raises:
        FieldInvalid: naming the field, such as `prompt.messages[0].role`.
    """
    if not prompt.model:
        raise invalid("prompt.model", "is required: a model, an alias, or omni/auto")
    if len(prompt.model) > MODEL_ID_CHARS_MAX:
        raise invalid("prompt.model", f"is longer than {MODEL_ID_CHARS_MAX} characters")
    check_no_nul(prompt.model, "prompt.model")
    check_count(prompt.messages, "prompt.messages", 1, MESSAGE_COUNT_MAX)
    check_count(prompt.tools, "prompt.tools", 0, TOOL_COUNT_MAX)
    tools = tuple(_tool(tool, f"prompt.tools[{i}]") for i, tool in enumerate(prompt.tools))
    return ChatRequest(
        model=prompt.model,
        messages=tuple(
            read_message(message, f"prompt.messages[{i}]")
            for i, message in enumerate(prompt.messages)
        ),
        tools=tools,
        tool_choice=_tool_choice(prompt, tools),
        parallel_tool_calls=(
            prompt.parallel_tool_calls if prompt.HasField("parallel_tool_calls") else None
        ),
        response_format=_response_format(prompt),
        sampling=_sampling(prompt.sampling) if prompt.HasField("sampling") else NO_SAMPLING,
        reasoning_effort=(
            word(prompt.reasoning_effort, "prompt.reasoning_effort")
            if prompt.HasField("reasoning_effort")
            else None
        ),
        reasoning_budget=_in_range(
            prompt, "reasoning_budget_token_count", "prompt.", 1, _INT32_MAX
        ),
        reasoning_summary=_summary(prompt.reasoning_summary),
        safety=_safety(prompt.safety_settings) if prompt.safety_settings else (),
        optional=_optional(prompt.optional_fields) if prompt.optional_fields else _NOTHING,
        output_tokens_max=_in_range(prompt, "max_output_token_count", "prompt.", 1, _INT32_MAX),
        short_credits=_known(_SHORT, prompt.short_credits, "prompt.short_credits"),
        preferences=preferences(prompt),
        end_user=end_user(prompt.end_user),
        tags=tags(prompt.tags) if prompt.tags else {},
    )


def _tool(tool: pb.Tool, field: str) -> Tool:
    check_function_name(tool.name, f"{field}.name")
    check_no_nul(tool.description, f"{field}.description")
    if tool.parameters_json:
        check_json_object(tool.parameters_json, f"{field}.parameters_json")
    return Tool(
        name=tool.name,
        description=tool.description or None,
        parameters_json=tool.parameters_json or None,
        strict=tool.strict if tool.HasField("strict") else None,
        cache=cache_ttl(tool.cache_ttl, field),
    )


def _tool_choice(prompt: pb.ChatPrompt, tools: Sequence[Tool]) -> ToolChoice | None:
    choice = prompt.tool_choice
    match choice.WhichOneof("choice"):
        case "mode":
            if choice.mode == pb.TOOL_MODE_UNSPECIFIED:
                return None
            mode = _MODES.get(choice.mode)
            if mode is None:
                raise unknown("prompt.tool_choice.mode")
            if not tools and mode != "none":
                raise invalid("prompt.tool_choice", "needs tools to choose from")
            return ToolChoice(mode=mode)
        case "tool_name":
            if all(tool.name != choice.tool_name for tool in tools):
                raise invalid("prompt.tool_choice.tool_name", "names none of the tools")
            return ToolChoice(name=choice.tool_name)
        case _:
            return None


def _response_format(prompt: pb.ChatPrompt) -> ResponseFormat | None:
    field = "prompt.response_format.json_schema"
    form = prompt.response_format
    match form.WhichOneof("kind"):
        case "json_object":
            return ResponseFormat(kind="json_object")
        case "json_schema":
            schema = form.json_schema
            check_function_name(schema.name, f"{field}.name")
            check_json_object(schema.schema_json, f"{field}.schema_json")
            check_no_nul(schema.description, f"{field}.description")
            return ResponseFormat(
                kind="json_schema",
                name=schema.name,
                description=schema.description or None,
                schema_json=schema.schema_json,
                strict=schema.strict if schema.HasField("strict") else None,
            )
        case _:
            return None


def _summary(value: "pb.ReasoningSummary") -> ReasoningSummary | None:
    if value == pb.REASONING_SUMMARY_UNSPECIFIED:
        return None
    summary = _SUMMARIES.get(value)
    if summary is None:
        raise unknown("prompt.reasoning_summary")
    return summary


def _safety(settings: Sequence[pb.SafetySetting]) -> tuple[SafetySetting, ...]:
    field = "prompt.safety_settings"
    check_count(settings, field, 0, SAFETY_SETTINGS_MAX)
    return tuple(
        SafetySetting(
            category=word(one.category, f"{field}[{i}].category"),
            threshold=word(one.threshold, f"{field}[{i}].threshold"),
        )
        for i, one in enumerate(settings)
    )


def _optional(names: Sequence[str]) -> frozenset[str]:
    for i, name in enumerate(names):
        if name not in OPTIONAL_FIELDS:
            raise invalid(
                f"prompt.optional_fields[{i}]",
                f"is no setting that can be left out; use {', '.join(sorted(OPTIONAL_FIELDS))}",
            )
    return frozenset(names)


def _sampling(sampling: pb.Sampling) -> Sampling:
    field = "prompt.sampling."
    check_count(sampling.stop_sequences, f"{field}stop_sequences", 0, STOP_COUNT_MAX)
    for i, stop in enumerate(sampling.stop_sequences):
        if not stop:
            raise invalid(f"{field}stop_sequences[{i}]", "is empty")
        check_no_nul(stop, f"{field}stop_sequences[{i}]")
    for token, bias in sampling.logit_bias.items():
        check_no_nul(token, f"{field}logit_bias")
        if not (-100 <= bias <= 100):  # noqa: PLR2004 - the contract's own bound
            raise invalid(f"{field}logit_bias[{token!r}]", "must be in [-100, 100]")
    logprobs = sampling.logprobs if sampling.HasField("logprobs") else None
    top_logprobs = _in_range(sampling, "top_logprob_count", field, 0, _TOP_LOGPROBS_MAX)
    if top_logprobs is not None and not logprobs:
        raise invalid(f"{field}top_logprob_count", "needs logprobs")
    top_p = _in_range(sampling, "top_p", field, 0, 1)
    if top_p == 0:
        raise invalid(f"{field}top_p", "must be above 0")
    return Sampling(
        temperature=_in_range(sampling, "temperature", field, 0, 2),
        top_p=top_p,
        top_k=_in_range(sampling, "top_k", field, 1, _INT32_MAX),
        frequency_penalty=_in_range(sampling, "frequency_penalty", field, -2, 2),
        presence_penalty=_in_range(sampling, "presence_penalty", field, -2, 2),
        seed=sampling.seed if sampling.HasField("seed") else None,
        stop=tuple(sampling.stop_sequences),
        choice_count=_in_range(sampling, "choice_count", field, 1, CHOICE_COUNT_MAX),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        logit_bias=dict(sampling.logit_bias) or None,
    )


def _in_range(
    message: pb.Sampling | pb.ChatPrompt, name: str, prefix: str, low: int, high: int
) -> "int | None":
    """An optional number; also floats, whose type the caller's field states. NaN is refused."""
    if not message.HasField(name):
        return None
    value: int = getattr(message, name)
    if not (low <= value <= high):
        raise invalid(f"{prefix}{name}", f"must be in [{low}, {high}]")
    return value


def _known(
    values: dict["pb.ShortCredits", ShortCredits], value: "pb.ShortCredits", field: str
) -> ShortCredits:
    found = values.get(value)
    if found is None:
        raise unknown(field)
    return found
