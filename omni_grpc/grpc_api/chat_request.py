"""Reads a ChatPrompt into the domain's ChatRequest, or says which field is wrong.

Messages are slow to touch, so each field is read once, here.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import (
    NO_SAMPLING,
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    Role,
    Sampling,
    ShortCredits,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import (
    CHOICE_COUNT_MAX,
    MESSAGE_COUNT_MAX,
    MODEL_ID_CHARS_MAX,
    PART_COUNT_MAX,
    STOP_COUNT_MAX,
    TOOL_COUNT_MAX,
)

_ROLES: Final[dict[int, Role]] = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}
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
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

WORD_CHARS_MAX: Final = 64
"""Longest word of a provider's own vocabulary; it goes upstream uncounted by the hold."""

TOOL_CALL_ID_CHARS_MAX: Final = 4_096
"""Ids go upstream uncounted by the hold too; the longest known carry a signature."""

_TOP_LOGPROBS_MAX: Final = 20
_OUTPUT_TOKENS_MAX: Final = 2**31 - 1


def chat_request(prompt: pb.ChatPrompt) -> ChatRequest:
    """The request that a prompt asks for.

    Raises:
        FieldInvalid: naming the field, such as `prompt.messages[0].role`.
    """
    if not prompt.model:
        raise _invalid("prompt.model", "is required: a model, an alias, or omni/auto")
    if len(prompt.model) > MODEL_ID_CHARS_MAX:
        raise _invalid("prompt.model", f"is longer than {MODEL_ID_CHARS_MAX} characters")
    _no_nul(prompt.model, "prompt.model")
    _count(prompt.messages, "prompt.messages", 1, MESSAGE_COUNT_MAX)
    _count(prompt.tools, "prompt.tools", 0, TOOL_COUNT_MAX)
    tools = tuple(_tool(tool, f"prompt.tools[{i}]") for i, tool in enumerate(prompt.tools))
    return ChatRequest(
        model=prompt.model,
        messages=tuple(
            _message(message, f"prompt.messages[{i}]") for i, message in enumerate(prompt.messages)
        ),
        tools=tools,
        tool_choice=_tool_choice(prompt, tools),
        parallel_tool_calls=(
            prompt.parallel_tool_calls if prompt.HasField("parallel_tool_calls") else None
        ),
        response_format=_response_format(prompt),
        sampling=_sampling(prompt.sampling) if prompt.HasField("sampling") else NO_SAMPLING,
        reasoning_effort=(
            _word(prompt.reasoning_effort, "prompt.reasoning_effort")
            if prompt.HasField("reasoning_effort")
            else None
        ),
        output_tokens_max=_in_range(
            prompt, "max_output_token_count", "prompt.", 1, _OUTPUT_TOKENS_MAX
        ),
        short_credits=_known(_SHORT, prompt.short_credits, "prompt.short_credits"),
    )


def _message(message: pb.Message, field: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise _invalid(f"{field}.role", "is required: SYSTEM, DEVELOPER, USER, ASSISTANT or TOOL")
    _count(message.parts, f"{field}.parts", 0, PART_COUNT_MAX)
    _count(message.tool_calls, f"{field}.tool_calls", 0, TOOL_COUNT_MAX)
    content = _content(message, field)
    if role == "assistant":
        if content is None and not message.tool_calls and not message.refusal:
            raise _invalid(f"{field}.parts", "is empty, and the turn has no tool calls or refusal")
    else:
        if content is None:
            raise _invalid(f"{field}.parts", "is required: a turn says something")
        for name in ("tool_calls", "refusal", "reasoning"):
            if getattr(message, name):
                raise _invalid(f"{field}.{name}", "belongs to assistant turns only")
    if (role == "tool") != bool(message.tool_call_id):
        raise _invalid(
            f"{field}.tool_call_id", "is required in a tool turn, and belongs to no other"
        )
    _tool_call_id(message.tool_call_id, f"{field}.tool_call_id")
    for name in ("name", "refusal", "reasoning"):
        _no_nul(getattr(message, name), f"{field}.{name}")
    return Message(
        role=role,
        content=content,
        name=message.name or None,
        tool_calls=tuple(
            _tool_call(call, f"{field}.tool_calls[{i}]")
            for i, call in enumerate(message.tool_calls)
        ),
        tool_call_id=message.tool_call_id or None,
        refusal=message.refusal or None,
        reasoning=message.reasoning or None,
    )


def _content(message: pb.Message, field: str) -> str | tuple[Part, ...] | None:
    parts = message.parts
    if not parts:
        return None
    if len(parts) == 1 and parts[0].WhichOneof("kind") == "text":
        _no_nul(parts[0].text, f"{field}.parts[0].text")
        return parts[0].text
    return tuple(_part(part, f"{field}.parts[{i}]") for i, part in enumerate(parts))


def _part(part: pb.Part, field: str) -> Part:
    match part.WhichOneof("kind"):
        case "text":
            _no_nul(part.text, f"{field}.text")
            return TextPart(text=part.text)
        case "image":
            if not part.image.uri.startswith(("https://", "http://", "data:")):
                raise _invalid(f"{field}.image.uri", "must be an https: or data: URL")
            _no_nul(part.image.uri, f"{field}.image.uri")
            detail = part.image.detail
            return ImagePart(
                url=part.image.uri,
                detail=_word(detail, f"{field}.image.detail") if detail else None,
            )
        case "audio":
            if not part.audio.data or not part.audio.format:
                raise _invalid(f"{field}.audio", "needs data and a format")
            data = base64.b64encode(part.audio.data).decode()
            return AudioPart(data=data, format=_word(part.audio.format, f"{field}.audio.format"))
        case "file":
            file = part.file
            if bool(file.file_id) == bool(file.data_uri):
                raise _invalid(f"{field}.file", "needs exactly one of file_id and data_uri")
            for name in ("file_id", "data_uri", "filename"):
                _no_nul(getattr(file, name), f"{field}.file.{name}")
            return FilePart(
                file_id=file.file_id or None,
                file_data=file.data_uri or None,
                filename=file.filename or None,
            )
        case _:
            raise _invalid(field, "is empty: set one of text, image, audio, file")


def _tool_call(call: pb.ToolCall, field: str) -> ToolCall:
    if not call.id or not call.name:
        raise _invalid(field, "needs an id and a name")
    _tool_call_id(call.id, f"{field}.id")
    for name in ("name", "arguments_json"):
        _no_nul(getattr(call, name), f"{field}.{name}")
    return ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)


def _tool(tool: pb.Tool, field: str) -> Tool:
    _function_name(tool.name, f"{field}.name")
    _no_nul(tool.description, f"{field}.description")
    if tool.parameters_json:
        _json_object(tool.parameters_json, f"{field}.parameters_json")
    return Tool(
        name=tool.name,
        description=tool.description or None,
        parameters_json=tool.parameters_json or None,
        strict=tool.strict if tool.HasField("strict") else None,
    )


def _tool_choice(prompt: pb.ChatPrompt, tools: Sequence[Tool]) -> ToolChoice | None:
    choice = prompt.tool_choice
    match choice.WhichOneof("choice"):
        case "mode":
            if choice.mode == pb.TOOL_MODE_UNSPECIFIED:
                return None
            mode = _MODES.get(choice.mode)
            if mode is None:
                raise _unknown("prompt.tool_choice.mode")
            if not tools and mode != "none":
                raise _invalid("prompt.tool_choice", "needs tools to choose from")
            return ToolChoice(mode=mode)
        case "tool_name":
            if all(tool.name != choice.tool_name for tool in tools):
                raise _invalid("prompt.tool_choice.tool_name", "names none of the tools")
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
            _function_name(schema.name, f"{field}.name")
            _json_object(schema.schema_json, f"{field}.schema_json")
            _no_nul(schema.description, f"{field}.description")
            return ResponseFormat(
                kind="json_schema",
                name=schema.name,
                description=schema.description or None,
                schema_json=schema.schema_json,
                strict=schema.strict if schema.HasField("strict") else None,
            )
        case _:
            return None


def _sampling(sampling: pb.Sampling) -> Sampling:
    field = "prompt.sampling."
    _count(sampling.stop_sequences, f"{field}stop_sequences", 0, STOP_COUNT_MAX)
    for i, stop in enumerate(sampling.stop_sequences):
        if not stop:
            raise _invalid(f"{field}stop_sequences[{i}]", "is empty")
        _no_nul(stop, f"{field}stop_sequences[{i}]")
    for token, bias in sampling.logit_bias.items():
        _no_nul(token, f"{field}logit_bias")
        if not (-100 <= bias <= 100):  # noqa: PLR2004 - the contract's own bound
            raise _invalid(f"{field}logit_bias[{token!r}]", "must be in [-100, 100]")
    logprobs = sampling.logprobs if sampling.HasField("logprobs") else None
    top_logprobs = _in_range(sampling, "top_logprob_count", field, 0, _TOP_LOGPROBS_MAX)
    if top_logprobs is not None and not logprobs:
        raise _invalid(f"{field}top_logprob_count", "needs logprobs")
    top_p = _in_range(sampling, "top_p", field, 0, 1)
    if top_p == 0:
        raise _invalid(f"{field}top_p", "must be above 0")
    return Sampling(
        temperature=_in_range(sampling, "temperature", field, 0, 2),
        top_p=top_p,
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
        raise _invalid(f"{prefix}{name}", f"must be in [{low}, {high}]")
    return value


def _known(
    values: dict["pb.ShortCredits", ShortCredits], value: "pb.ShortCredits", field: str
) -> ShortCredits:
    found = values.get(value)
    if found is None:
        raise _unknown(field)
    return found


def _count(values: Sequence[object], field: str, low: int, high: int) -> None:
    if not low <= len(values) <= high:
        raise _invalid(field, f"has {len(values)} elements; {low} to {high} are allowed")


def _function_name(name: str, field: str) -> None:
    if not _NAME.fullmatch(name):
        raise _invalid(field, "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")


def _json_object(text: str, field: str) -> None:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        raise _invalid(field, "is not the text of a JSON object") from None
    except RecursionError:
        raise _invalid(field, "is nested too deeply to be read") from None
    if _NUL_IN_JSON.search(text):
        raise _invalid(field, "contains a NUL character")


def _word(text: str, field: str) -> str:
    if not 1 <= len(text) <= WORD_CHARS_MAX:
        raise _invalid(field, f"must be a word of 1 to {WORD_CHARS_MAX} characters")
    _no_nul(text, field)
    return text


def _tool_call_id(text: str, field: str) -> None:
    if len(text) > TOOL_CALL_ID_CHARS_MAX:
        raise _invalid(field, f"is longer than {TOOL_CALL_ID_CHARS_MAX} characters")
    _no_nul(text, field)


def _no_nul(text: str, field: str) -> None:
    if "\x00" in text:
        raise _invalid(field, "contains a NUL character")


def _unknown(field: str) -> FieldInvalid:
    return _invalid(field, "has a value that this server does not know")


def _invalid(field: str, why: str) -> FieldInvalid:
    return FieldInvalid(f"{field} {why}.", field=field)
