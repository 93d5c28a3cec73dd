"""A finished chat as Anthropic's message object, and what its stream shares with it."""

from typing import Final

import msgspec

from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    FinishReason,
    Part,
    ReasoningBlock,
    RefusalPart,
    TextPart,
    ToolCall,
)
from omni_grpc.core.turn_order import Calls, Words, chars_of, interleaved, text_of, words_of
from omni_grpc.core.usage import Usage
from omni_grpc.rest_api.anthropic.signatures import Signatures

JsonObject = dict[str, object]

INVALID_INPUT: Final = "invalid_json"
"""The one field of a tool's input that the model wrote, and that is no JSON object."""

_STOP_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "priority": "priority",
    "batch": "batch",
}
"""Anthropic's words for the tiers that providers name; others have none."""

_encode: Final = msgspec.json.Encoder().encode
_check_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_message(completion: ChatCompletion, signatures: Signatures) -> bytes:
    """The body of a plain answer."""
    choice = completion.choices[0] if completion.choices else None
    body: JsonObject = {
        "id": completion.call_id,
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "content": [] if choice is None else _content(choice.answer, signatures),
    }
    if choice is None:
        body |= stop_fields("stop", None, calls=False, refuses=False)
    else:
        body |= stop_fields(
            choice.finish_reason,
            choice.stop_sequence,
            calls=bool(choice.answer.tool_calls),
            refuses=bool(choice.answer.refusal),
        )
    body["usage"] = _usage(completion)
    return _encode(body)


# --- why it stopped ---------------------------------------------------------------------------
def stop_fields(
    finish: FinishReason, stop_sequence: str | None, *, calls: bool, refuses: bool
) -> JsonObject:
    """`stop_reason` and `stop_sequence`.

    Some providers say `stop` behind a call that was forced; clients run the tool by the reason.
    """
    reason = _STOP_REASONS[finish]
    if finish == "stop":
        if calls:
            reason = "tool_use"
        elif refuses:
            reason = "refusal"
        elif stop_sequence is not None:
            reason = "stop_sequence"
    named = stop_sequence if reason == "stop_sequence" else None
    return {"stop_reason": reason, "stop_sequence": named}


# --- content ----------------------------------------------------------------------------------
def _content(answer: Answer, signatures: Signatures) -> list[JsonObject]:
    blocks = answer.reasoning_blocks
    content: list[JsonObject] = []
    if answer.reasoning and not any(block.text for block in blocks):
        content.append(thinking_block(answer.reasoning))
    said: tuple[Part, ...] = (
        TextPart(text=answer.text or ""),
        RefusalPart(refusal=answer.refusal or ""),
    )
    calls = answer.tool_calls
    for item in interleaved(blocks, Words(0, chars_of(said)), Calls(0, len(calls))):
        match item:
            case Words():
                texts = (text_of(part) for part in words_of(said, item))
                content += [text_block(text) for text in texts]
            case Calls():
                content += [_tool_use(call) for call in calls[item.start : item.end]]
            case block:
                content.append(reasoning_block(block, signatures))
    return content


def text_block(text: str) -> JsonObject:
    """Words."""
    return {"type": "text", "text": text, "citations": None}


def thinking_block(text: str, signature: str = "") -> JsonObject:
    """Reasoning that can be read; without a signature it cannot go back to its model."""
    return {"type": "thinking", "thinking": text, "signature": signature}


def redacted_block(block: ReasoningBlock, signatures: Signatures) -> JsonObject:
    """Reasoning that cannot be read."""
    return {"type": "redacted_thinking", "data": signatures.wrapped(block)}


def reasoning_block(block: ReasoningBlock, signatures: Signatures) -> JsonObject:
    """A block of reasoning, readable where it has anything to read."""
    if is_hidden(block):
        return redacted_block(block, signatures)
    return thinking_block(block.text, signatures.signature(block))


def is_hidden(block: ReasoningBlock) -> bool:
    """Whether only its provider can read a block."""
    return block.kind == "encrypted" and not block.text


def tool_use_block(call_id: str, name: str, tool_input: object) -> JsonObject:
    """A call of a tool."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": tool_input}


def _tool_use(call: ToolCall) -> JsonObject:
    return tool_use_block(call.id, call.name, _input(call.arguments_json))


def _input(arguments: str) -> object:
    """The arguments as the model wrote them, where they are a JSON object as clients demand."""
    if not arguments.strip():
        return {}
    try:
        _check_object(arguments)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {INVALID_INPUT: arguments}
    return msgspec.Raw(arguments.encode())


# --- usage ------------------------------------------------------------------------------------
def usage_counts(usage: Usage) -> JsonObject:
    """The counts that a stream's end has too. `input_tokens` is what no cache had a part in."""
    read, written = usage.cached_read or 0, usage.cached_write or 0
    counts: JsonObject = {
        "input_tokens": max((usage.prompt or 0) - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.completion or 0,
    }
    if usage.reasoning is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


def _usage(completion: ChatCompletion) -> JsonObject:
    usage = completion.usage
    written, hour = usage.cached_write or 0, usage.cached_write_1h or 0
    return usage_counts(usage) | {
        "cache_creation": {
            "ephemeral_5m_input_tokens": max(written - hour, 0),
            "ephemeral_1h_input_tokens": hour,
        },
        "server_tool_use": None,
        "service_tier": _TIERS.get(completion.service_tier or ""),
    }
