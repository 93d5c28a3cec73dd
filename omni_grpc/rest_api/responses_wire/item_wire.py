"""The input items of a response as they are written, each read by its type.

Items that only OpenAI's own servers could resolve or run (references, hosted tools) are refused by
their type.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec

from omni_grpc.core.errors import FeatureUnsupported
from omni_grpc.core.limits import PART_COUNT_MAX
from omni_grpc.rest_api.openai.chat_wire import ABSENT, TOOL_CALL_ID_CHARS_MAX

_CallId = Annotated[str, msgspec.Meta(min_length=1, max_length=TOOL_CALL_ID_CHARS_MAX)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


# --- parts ------------------------------------------------------------------------------------
class WireInputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text."""

    text: str


class WireOutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """What an assistant said."""

    text: str


class WireRefusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What an assistant said when it refused."""

    refusal: str


class WireInputImage(msgspec.Struct, frozen=True, tag_field="type", tag="input_image"):
    """An image by URL or by a file's id."""

    image_url: str | None = None
    detail: _Word | None = None
    file_id: str | None = None


class WireInputFile(msgspec.Struct, frozen=True, tag_field="type", tag="input_file"):
    """A document by id, by URL or inline."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None
    file_url: str | None = None


class WireRecording(msgspec.Struct, frozen=True):
    """A recording."""

    data: _Text
    format: _Word


class WireInputAudio(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Audio."""

    input_audio: WireRecording


WireInputPart = WireInputText | WireInputImage | WireInputFile
WirePart = WireInputPart | WireInputAudio | WireOutputText | WireRefusal


# --- items ------------------------------------------------------------------------------------
class WireHead(msgspec.Struct, frozen=True):
    """What says how an item is read."""

    type: str | None = None
    role: msgspec.Raw = ABSENT


class WireMessageItem(msgspec.Struct, frozen=True):
    """A message; an assistant's too."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Annotated[tuple[WirePart, ...], msgspec.Meta(max_length=PART_COUNT_MAX)]


class WireCallItem(msgspec.Struct, frozen=True):
    """A call that the model made."""

    call_id: _CallId
    name: _Text
    arguments: str
    namespace: str | None = None


class WireCallOutputItem(msgspec.Struct, frozen=True):
    """What a function returned."""

    call_id: _CallId
    output: str | Annotated[tuple[WireInputPart, ...], msgspec.Meta(max_length=PART_COUNT_MAX)]


class WireThought(msgspec.Struct, frozen=True):
    """A part of a summary, or of the reasoning itself."""

    text: str


class WireReasoningItem(msgspec.Struct, frozen=True):
    """What the model thought: sealed, or its text."""

    summary: Annotated[tuple[WireThought, ...], msgspec.Meta(max_length=PART_COUNT_MAX)] = ()
    content: Annotated[tuple[WireThought, ...], msgspec.Meta(max_length=PART_COUNT_MAX)] | None = (
        None
    )
    encrypted_content: str | None = None


WireItem = WireMessageItem | WireCallItem | WireCallOutputItem | WireReasoningItem
_decode_head: Final = msgspec.json.Decoder(WireHead).decode
_DECODERS: Final[dict[str, msgspec.json.Decoder[WireItem]]] = {
    "message": msgspec.json.Decoder(WireMessageItem),
    "function_call": msgspec.json.Decoder(WireCallItem),
    "function_call_output": msgspec.json.Decoder(WireCallOutputItem),
    "reasoning": msgspec.json.Decoder(WireReasoningItem),
}


def decode_items(raws: Iterable[msgspec.Raw], field: str) -> tuple[WireItem, ...]:
    """Reads raw items.

    Args:
        raws: each one JSON value.
        field: the list's name, such as `input`.

    Raises:
        msgspec.ValidationError: with the whole path of the fault.
        FeatureUnsupported: an item of a type that this service does not carry.
    """
    found = []
    for place, raw in enumerate(raws):
        try:
            head = _decode_head(raw)
            kind = head.type or ("message" if bytes(head.role) else "item_reference")
            if kind not in _DECODERS:
                raise _refused_item(kind, f"{field}[{place}]")
            found.append(_DECODERS[kind].decode(raw))
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(_placed(str(error), f"{field}[{place}]")) from None
    return tuple(found)


def _refused_item(kind: str, field: str) -> FeatureUnsupported:
    why = (
        "refers to what only OpenAI's servers keep; send the item itself"
        if kind == "item_reference"
        else f"is of the type {kind[:64]!r}, which this service does not carry; send messages, "
        "reasoning, function calls and their outputs"
    )
    return FeatureUnsupported(f"{field}: the item {why}.", field=f"{field}.type")


def _placed(text: str, field: str) -> str:
    why, at, path = text.rpartition(" - at `")
    if not at:
        return f"{text} - at `$.{field}`"
    return f"{why}{at}{path.replace('$', f'$.{field}', 1)}"
