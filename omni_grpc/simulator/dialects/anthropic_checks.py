"""What the parts of a Messages request demand of each other, as Anthropic's errors tell it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, cast

import msgspec

from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.anthropic_body import (
    CacheControl,
    DocumentBlock,
    ImageBlock,
    InputBlock,
    MessagesBody,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)
from omni_grpc.simulator.dialects.anthropic_proofs import is_redacted, is_signed, place_of
from omni_grpc.simulator.instances import Json

__all__ = ("cache_marks", "check_body", "check_version")

VERSIONS: Final = ("2023-06-01", "2026-10-21")
VERTEX_VERSIONS: Final = ("vertex-2023-10-16", "2026-10-21")
STRICT_VERSION: Final = "2026-10-21"
"""Since it sampling parameters are refused, and documents in what an assistant said."""

CACHE_MARKS_MAX: Final = 4
TOP_P_THINKING_MIN: Final = 0.95
"""Anthropic's own limits."""


def check_version(headers: Mapping[str, str], body: MessagesBody, *, vertex: bool) -> str:
    """The version that the caller speaks.

    Raises:
        Rejected: 400, it is missing or unknown, or the model stands in the wrong place.
    """
    version = body.anthropic_version if vertex else headers.get("anthropic-version")
    name = "anthropic_version" if vertex else "anthropic-version"
    if version is None:
        raise Rejected(400, f"{name}: {'Field' if vertex else 'header is'} required")
    if version not in (VERTEX_VERSIONS if vertex else VERSIONS):
        raise Rejected(400, f'{name}: "{version}" is not a valid version')
    if vertex and body.model is not None:
        raise Rejected(400, "model: Extra inputs are not permitted")
    if not vertex and body.model is None:
        raise Rejected(400, "model: Field required")
    if not vertex and body.anthropic_version is not None:
        raise Rejected(400, "anthropic_version: Extra inputs are not permitted")
    return version


def check_body(body: MessagesBody, version: str) -> None:
    """Check a request.

    Raises:
        Rejected: 400 and what is wrong with it.
    """
    _check_turns(body, version)
    _check_tools(body)
    _check_tool_turns(_merged(body.messages))
    _check_sampling(body, version)
    _check_thinking(body)
    _check_marks(body)
    if body.schema is not None:
        _check_schema(_json(body.schema), "output_config.format.schema")


# --- turns ------------------------------------------------------------------------------------
def _check_turns(body: MessagesBody, version: str) -> None:
    if not body.messages:
        raise Rejected(400, "messages: at least one message is required")
    for prompt in body.system_blocks:
        _check_text(prompt, "system")
    last = len(body.messages) - 1
    for place, turn in enumerate(body.messages):
        where = f"messages.{place}"
        if turn.role == "system":
            raise Rejected(400, f"{where}: role 'system' is not supported on this model")
        if not turn.content and not (turn.role == "assistant" and place == last):
            raise Rejected(
                400,
                f"{where}: all messages must have non-empty content except for the optional "
                "final assistant message",
            )
        for index, block in enumerate(turn.blocks):
            _check_block(block, turn, f"{where}.content.{index}", version)
    _check_places(_merged(body.messages))
    final = body.messages[-1].blocks
    if body.messages[-1].role == "assistant" and final and isinstance(final[-1], TextBlock):
        text = final[-1].text
        if text != text.rstrip():
            message = "messages: final assistant content cannot end with trailing whitespace"
            raise Rejected(400, message)


def _check_block(block: InputBlock, turn: Turn, where: str, version: str) -> None:
    match block:
        case TextBlock():
            _check_text(block, where)
        case ImageBlock() | DocumentBlock():
            if turn.role == "assistant" and (
                isinstance(block, ImageBlock) or version == STRICT_VERSION
            ):
                raise Rejected(400, f"{where}: this block is only permitted in `user` messages")
            _check_data(block, where)
        case ToolResultBlock():
            if turn.role == "assistant":
                raise Rejected(400, f"{where}: `tool_result` blocks can only be in `user` messages")
            _check_result(block, where)
        case ToolUseBlock() | ThinkingBlock() | RedactedThinkingBlock():
            if turn.role == "user":
                message = f"{where}: `{_tag(block)}` blocks can only be in `assistant` messages"
                raise Rejected(400, message)
            _check_made(block, where)


def _check_places(turns: list[tuple[str, list[InputBlock]]]) -> None:
    """No turn ends with thinking; the latest of an assistant has it where the answer had it."""
    said = [(place, blocks) for place, (role, blocks) in enumerate(turns) if role == "assistant"]
    for place, blocks in said:
        if blocks and isinstance(blocks[-1], ThinkingBlock | RedactedThinkingBlock):
            message = f"messages.{place}: The final block in an assistant message cannot be "
            raise Rejected(400, f"{message}`{_tag(blocks[-1])}`.")
    for place, blocks in said[-1:]:
        before: list[str] = []
        for index, block in enumerate(blocks):
            if not isinstance(block, ThinkingBlock | RedactedThinkingBlock):
                # Texts side by side are one: a client may have joined them.
                if not (isinstance(block, TextBlock) and before[-1:] == ["text"]):
                    before.append(_tag(block))
                continue
            proof = block.signature if isinstance(block, ThinkingBlock) else block.data
            if place_of(proof) != " ".join(before):
                raise Rejected(
                    400,
                    f"messages.{place}.content.{index}: `thinking` or `redacted_thinking` blocks "
                    "in the latest assistant message cannot be modified. These blocks must remain "
                    "as they were in the original response.",
                )


def _check_result(block: ToolResultBlock, where: str) -> None:
    if block.is_error and not block.content:
        raise Rejected(400, f"{where}: content cannot be empty if `is_error` is true")
    for index, part in enumerate(block.parts):
        if not isinstance(part, TextBlock):
            _check_data(part, f"{where}.content.{index}")


def _check_made(block: ToolUseBlock | ThinkingBlock | RedactedThinkingBlock, where: str) -> None:
    match block:
        case ThinkingBlock() if not is_signed(block.thinking, block.signature):
            raise Rejected(400, f"{where}: Invalid `signature` in `thinking` block")
        case RedactedThinkingBlock() if not is_redacted(block.data):
            raise Rejected(400, f"{where}: Invalid `data` in `redacted_thinking` block")
        case ToolUseBlock() if not isinstance(_json(block.input), dict):
            message = f"{where}.tool_use.input: Input should be a valid dictionary"
            raise Rejected(400, message)
        case _:
            pass


def _check_text(block: TextBlock, where: str) -> None:
    if not block.text:
        raise Rejected(400, f"{where}: text content blocks must be non-empty")
    if not block.text.strip():
        raise Rejected(400, f"{where}: text content blocks must contain non-whitespace text")


def _check_data(block: ImageBlock | DocumentBlock, where: str) -> None:
    source = block.source
    data = getattr(source, "data", None)
    if data is None or _tag(source) != "base64":
        return
    try:
        empty = not base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        empty = True
    if empty:
        raise Rejected(400, f"{where}.{_tag(block)}.source.base64.data: Invalid base64 data")


def _tag(struct: msgspec.Struct) -> str:
    return str(struct.__struct_config__.tag)


# --- tools ------------------------------------------------------------------------------------
def _check_tools(body: MessagesBody) -> None:
    tools = body.tools or []
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise Rejected(400, "tools: Tool names must be unique.")
    for place, tool in enumerate(tools):
        schema = _json(tool.input_schema)
        if not isinstance(schema, dict) or schema.get("type") != "object":
            where = f"tools.{place}.custom.input_schema.type"
            raise Rejected(400, f"{where}: Input should be 'object'")
        if tool.strict:
            _check_schema(schema, f"tools.{place}.custom")
    _check_choice(body, names)


def _check_choice(body: MessagesBody, names: list[str]) -> None:
    choice = body.tool_choice
    if choice is None:
        return
    if not names:
        message = "tool_choice: may only be specified while providing tools"
        raise Rejected(400, message)
    if choice.type == "tool":
        if choice.name is None:
            raise Rejected(400, "tool_choice.tool.name: Field required")
        if choice.name not in names:
            raise Rejected(400, f"Tool '{choice.name}' not found in provided tools")
    elif choice.name is not None:
        raise Rejected(400, f"tool_choice.{choice.type}.name: Extra inputs are not permitted")


def _merged(turns: list[Turn]) -> list[tuple[str, list[InputBlock]]]:
    """The turns as the model sees them: consecutive ones of a side are one."""
    merged: list[tuple[str, list[InputBlock]]] = []
    for turn in turns:
        if merged and merged[-1][0] == turn.role:
            merged[-1][1].extend(turn.blocks)
        else:
            merged.append((turn.role, list(turn.blocks)))
    return merged


def _check_tool_turns(turns: list[tuple[str, list[InputBlock]]]) -> None:
    """Each call has its result at the head of the next turn, and each result its call."""
    asked: list[str] = []
    for place, (_, blocks) in enumerate(turns):
        count = next(
            (i for i, block in enumerate(blocks) if not isinstance(block, ToolResultBlock)),
            len(blocks),
        )
        results = {one.tool_use_id for one in blocks[:count] if isinstance(one, ToolResultBlock)}
        if missing := [one for one in asked if one not in results]:
            raise Rejected(
                400,
                f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}. Each `tool_use` block must have a "
                "corresponding `tool_result` block in the next message.",
            )
        for index, block in enumerate(blocks):
            if isinstance(block, ToolResultBlock) and block.tool_use_id not in asked:
                raise Rejected(
                    400,
                    f"messages.{place}.content.{index}: unexpected `tool_use_id` found in "
                    f"`tool_result` blocks: {block.tool_use_id}. Each `tool_result` block must "
                    "have a corresponding `tool_use` block in the previous message.",
                )
        asked = [block.id for block in blocks if isinstance(block, ToolUseBlock)]
    if asked:
        raise Rejected(
            400,
            f"messages.{len(turns) - 1}: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(asked)}.",
        )


# --- settings ---------------------------------------------------------------------------------
def _check_sampling(body: MessagesBody, version: str) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if version == STRICT_VERSION and getattr(body, name) is not None:
            raise Rejected(400, f"{name}: Extra inputs are not permitted")
    for place, text in enumerate(body.stop_sequences or ()):
        if not text.strip():
            where = f"stop_sequences.{place}"
            raise Rejected(400, f"{where}: each stop sequence must contain non-whitespace")


def _check_thinking(body: MessagesBody) -> None:
    if not body.thinks:
        return
    if body.budget is not None and body.budget >= body.max_tokens:
        message = "`max_tokens` must be greater than `thinking.budget_tokens`."
        raise Rejected(400, message)
    if body.temperature not in (None, 1):
        message = "`temperature` may only be set to 1 when thinking is enabled."
        raise Rejected(400, message)
    if body.top_p is not None and body.top_p < TOP_P_THINKING_MIN:
        message = (
            f"`top_p` must be greater than or equal to {TOP_P_THINKING_MIN} or unset when "
            "thinking is enabled."
        )
        raise Rejected(400, message)
    if body.top_k is not None:
        raise Rejected(400, "`top_k` must be unset when thinking is enabled.")
    if body.tool_choice is not None and body.tool_choice.type in ("any", "tool"):
        message = "Thinking may not be enabled when tool_choice forces tool use."
        raise Rejected(400, message)
    if body.budget is not None:
        _check_loop(body)


def _check_loop(body: MessagesBody) -> None:
    """With a budget, a turn whose tools are being answered must begin with its thinking."""
    turns = _merged(body.messages)
    if len(turns) > 1 and all(isinstance(one, ToolResultBlock) for one in turns[-1][1]):
        first = turns[-2][1][0]
        if not isinstance(first, ThinkingBlock | RedactedThinkingBlock):
            raise Rejected(
                400,
                f"messages.{len(turns) - 2}.content.0.type: Expected `thinking` or "
                f"`redacted_thinking`, but found `{_tag(first)}`. When `thinking` is enabled, a "
                "final `assistant` message must start with a thinking block.",
            )


def cache_marks(body: MessagesBody) -> list[CacheControl]:
    """All marks, in the order of the prefix: tools, system, messages."""
    marks = [tool.cache_control for tool in body.tools or ()]
    marks += [block.cache_control for block in body.system_blocks]
    for block in body.blocks():
        if isinstance(block, ToolResultBlock):
            marks += [part.cache_control for part in block.parts]
        if not isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            marks.append(block.cache_control)
    return [mark for mark in marks if mark is not None]


def _check_marks(body: MessagesBody) -> None:
    marks = cache_marks(body)
    if len(marks) > CACHE_MARKS_MAX:
        raise Rejected(
            400,
            f"A maximum of {CACHE_MARKS_MAX} blocks with cache_control may be provided. Found "
            f"{len(marks)}.",
        )
    lives = [mark.ttl for mark in marks]
    if lives != sorted(lives):  # "1h" sorts before "5m"
        raise Rejected(
            400, "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
        )


def _check_schema(schema: Json, where: str) -> None:
    """An object of a schema that is enforced says that it has no other properties."""
    if isinstance(schema, list):
        for one in schema:
            _check_schema(one, where)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Rejected(
            400,
            f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false",
        )
    for name in ("properties", "$defs", "definitions"):
        group = schema.get(name)
        for one in group.values() if isinstance(group, dict) else ():
            _check_schema(one, where)
    for name in ("items", "anyOf", "allOf"):
        _check_schema(schema.get(name), where)


def _json(raw: msgspec.Raw) -> Json:
    try:
        return cast("Json", msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(400, f"The request body is not valid JSON: {error}") from None
