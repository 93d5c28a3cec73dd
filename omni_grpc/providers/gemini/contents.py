"""The turns of a conversation in Google's words: contents of roles user and model.

System messages, wherever they stand, are the one system instruction, in their order. A tool's
result is a part of the user's turn, by the name of its function; the results of one turn stand
together, as Google demands.
"""

from collections.abc import Iterator, Mapping, Sequence

from omni_grpc.core.chat import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ToolCall,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.gemini import media, signatures
from omni_grpc.providers.gemini.decode import MADE_ID
from omni_grpc.providers.gemini.models import needs_signatures
from omni_grpc.providers.written import FAILED_SILENTLY, raw_object

_Json = dict[str, object]


def system_parts(messages: Sequence[Message]) -> list[_Json]:
    """The parts of the system instruction.

    Raises:
        FieldInvalid: a system message holds anything but text.
    """
    parts: list[_Json] = []
    for place, message in enumerate(messages):
        if message.role not in ("system", "developer"):
            continue
        for index, part in enumerate(_parts(message)):
            if not isinstance(part, TextPart):
                field = f"messages[{place}].content[{index}]"
                raise FieldInvalid(f"{field} must be text: it is a system prompt.", field=field)
            parts.append({"text": part.text})
    return parts


def contents_of(messages: Sequence[Message], model: str) -> list[_Json]:
    """The turns.

    Raises:
        FieldInvalid: a part cannot be written, arguments are no JSON object, or a tool's message
            answers no call.
    """
    contents: list[_Json] = []
    called: dict[str, str] = {}
    results: list[_Json] | None = None
    for place, message in enumerate(messages):
        field = f"messages[{place}]"
        if message.role == "tool":
            part = _tool_result(message, called, field)
            if results is None:
                results = []
                contents.append({"role": "user", "parts": results})
            results.append(part)
        elif message.role == "assistant":
            results = None
            called |= {call.id: call.name for call in message.tool_calls}
            # Google takes no turn without parts; an assistant that said nothing is none.
            if parts := list(_model_parts(message, model, field)):
                contents.append({"role": "model", "parts": parts})
        elif message.role == "user":
            results = None
            parts = [
                _part(part, f"{field}.content[{index}]")
                for index, part in enumerate(_parts(message))
            ]
            contents.append({"role": "user", "parts": parts})
    return contents


# --- the model's turn -------------------------------------------------------------------------
def _model_parts(message: Message, model: str, field: str) -> Iterator[_Json]:
    blocks = message.reasoning_blocks
    for text, signature in signatures.thoughts_in(blocks):
        yield {"text": text, "thought": True, "thoughtSignature": signature}
    parts = _parts(message)
    if message.refusal is not None:
        parts = (*parts, RefusalPart(refusal=message.refusal))
    texts = [_text_of(part) for part in parts]
    if all(text is not None for text in texts):
        whole = "".join(text for text in texts if text is not None)
        for piece in signatures.cut(whole, blocks):
            text_part: _Json = {"text": whole[piece.start : piece.end]}
            yield text_part if piece.signature is None else _signed(text_part, piece.signature)
    else:
        yield from (_part(part, f"{field}.content[{i}]") for i, part in enumerate(parts))
    yield from _calls(message, model, field)


def _calls(message: Message, model: str, field: str) -> Iterator[_Json]:
    found = signatures.calls_in(message.reasoning_blocks)
    is_signed = any(call.id in found for call in message.tool_calls)
    for index, call in enumerate(message.tool_calls):
        where = f"{field}.tool_calls[{index}].arguments"
        part: _Json = {"functionCall": _call(call, where)}
        signature = found.get(call.id)
        if signature is None and index == 0 and not is_signed and needs_signatures(model):
            signature = signatures.UNSIGNED
        yield part if signature is None else _signed(part, signature)


def _call(call: ToolCall, field: str) -> _Json:
    arguments = raw_object(call.arguments_json or "{}", field)
    return _id(call.id) | {"name": call.name, "args": arguments}


def _id(call_id: str) -> _Json:
    return {} if call_id.startswith(MADE_ID) else {"id": call_id}


def _signed(part: _Json, signature: str) -> _Json:
    return part | {"thoughtSignature": signature}


def _text_of(part: Part) -> str | None:
    match part:
        case TextPart():
            return part.text
        case RefusalPart():
            return part.refusal
        case _:
            return None


# --- the user's turn --------------------------------------------------------------------------
def _tool_result(message: Message, called: Mapping[str, str], field: str) -> _Json:
    call_id = message.tool_call_id or ""
    name = called.get(call_id)
    if name is None:
        raise FieldInvalid(
            f"{field}.tool_call_id names no tool call of an assistant's message before it; Google "
            f"takes a result by its function's name.",
            field=f"{field}.tool_call_id",
        )
    parts = _parts(message)
    texts = [text for part in parts if (text := _text_of(part)) is not None]
    others = [
        _part(part, f"{field}.content[{index}]")
        for index, part in enumerate(parts)
        if _text_of(part) is None
    ]
    text = "\n".join(texts)
    said = {"error": text or FAILED_SILENTLY} if message.tool_failed else _response(text)
    response = _id(call_id) | {"name": name, "response": said}
    return {"functionResponse": response | ({"parts": others} if others else {})}


def _response(text: str) -> object:
    """A JSON object as the tool wrote it; any other text as the output of one."""
    if text.lstrip(" \t\r\n").startswith("{"):
        try:
            return raw_object(text, "")
        except FieldInvalid:
            pass
    return {"output": text}


# --- parts ------------------------------------------------------------------------------------
def _parts(message: Message) -> tuple[Part, ...]:
    content = message.content
    if isinstance(content, str):
        return (TextPart(text=content),)
    return content or ()


def _part(part: Part, field: str) -> _Json:
    match part:
        case TextPart():
            return {"text": part.text}
        case ImagePart():
            return media.image(part, field)
        case AudioPart():
            return media.audio(part)
        case FilePart():
            return media.file(part, field)
        case _:
            return {"text": part.refusal}
