"""The input of a request to the Responses API: messages, calls, their outputs, and reasoning.

Each item is read by its type and checked against those before it, as OpenAI does: an output
answers a call, reasoning is the simulator's own and is followed by what it led to.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from msgspec import Raw

from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.responses_body import invalid
from omni_grpc.simulator.dialects.responses_sealed import open_reasoning

__all__ = (
    "CallItem",
    "FilePart",
    "ImagePart",
    "InputPart",
    "Item",
    "MessageItem",
    "OutputItem",
    "ReasoningItem",
    "RefusalPart",
    "read_items",
)

_Status = Literal["in_progress", "completed", "incomplete"]


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """What all input parts have."""

    prompt_cache_breakpoint: Raw = Raw()


class TextPart(_Part, tag="input_text", kw_only=True):
    """Text for the model."""

    text: str


class ImagePart(_Part, tag="input_image", kw_only=True):
    """An image, by URL, data URL or id."""

    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None


class FilePart(_Part, tag="input_file", kw_only=True):
    """A file, by id, URL or inline."""

    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class OutputTextPart(msgspec.Struct, tag="output_text", forbid_unknown_fields=True):
    """Text of the model."""

    text: str
    annotations: list[Raw] | None = None
    logprobs: list[Raw] | None = None


class RefusalPart(msgspec.Struct, tag="refusal", forbid_unknown_fields=True):
    """What the model said when it refused."""

    refusal: str


InputPart = TextPart | ImagePart | FilePart
_Content = TextPart | ImagePart | FilePart | OutputTextPart | RefusalPart


class MessageItem(msgspec.Struct, forbid_unknown_fields=True):
    """A message."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[_Content]
    type: Literal["message"] = "message"
    id: str | None = None
    status: _Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None

    @property
    def parts(self) -> list[_Content]:
        """The content's parts; none if it is a string."""
        return self.content if isinstance(self.content, list) else []

    @property
    def texts(self) -> list[str]:
        """Everything of it that counts as text."""
        return [self.content] if isinstance(self.content, str) else list(texts_of(self.content))


class CallItem(msgspec.Struct, forbid_unknown_fields=True):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: _Status | None = None


class OutputItem(msgspec.Struct, forbid_unknown_fields=True):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputPart]
    id: str | None = None
    status: _Status | None = None

    @property
    def parts(self) -> list[InputPart]:
        """The output's parts; none if it is a string."""
        return self.output if isinstance(self.output, list) else []

    @property
    def texts(self) -> list[str]:
        """Everything of it that counts as text."""
        return [self.output] if isinstance(self.output, str) else list(texts_of(self.output))


class _SummaryText(msgspec.Struct, tag="summary_text", forbid_unknown_fields=True):
    text: str


class _ReasoningText(msgspec.Struct, tag="reasoning_text", forbid_unknown_fields=True):
    text: str


class ReasoningItem(msgspec.Struct, forbid_unknown_fields=True):
    """Reasoning that comes back. `opened` is what was in it."""

    type: Literal["reasoning"]
    summary: list[_SummaryText]
    id: str | None = None
    content: list[_ReasoningText] | None = None
    encrypted_content: str | None = None
    status: _Status | None = None

    @property
    def opened(self) -> str:
        """The text that is inside; empty where there is none, or not ours."""
        return open_reasoning(self.encrypted_content or "", self.id) or ""


Item = MessageItem | CallItem | OutputItem | ReasoningItem

_DECODERS: Final[dict[str, msgspec.json.Decoder[Item]]] = {
    "message": msgspec.json.Decoder(MessageItem),
    "function_call": msgspec.json.Decoder(CallItem),
    "function_call_output": msgspec.json.Decoder(OutputItem),
    "reasoning": msgspec.json.Decoder(ReasoningItem),
}


class _Head(msgspec.Struct):
    type: str = "message"
    id: str | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


def texts_of(parts: list[_Content] | list[InputPart]) -> Iterator[str]:
    """What of the parts counts as text."""
    for part in parts:
        if isinstance(part, TextPart | OutputTextPart):
            yield part.text
        elif isinstance(part, RefusalPart):
            yield part.refusal


def read_items(given: str | list[Raw]) -> list[Item]:
    """The input's items, checked.

    Raises:
        Rejected: 400 or 404 and what is wrong with one of them.
    """
    if isinstance(given, str):
        return [MessageItem(role="user", content=given)]
    items = [_item(raw, f"input[{index}]") for index, raw in enumerate(given)]
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if isinstance(item, MessageItem):
            _check_content(item, where)
        elif isinstance(item, ReasoningItem):
            _check_reasoning(item, items[index + 1 :], where)
    _check_calls(items)
    return items


def _item(raw: Raw, where: str) -> Item:
    try:
        head = _decode_head(raw)
        decoder = _DECODERS.get(head.type)
        if decoder is not None:
            return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid(error, where) from None
    if head.type == "item_reference":
        raise _not_stored(head.id)
    names = ", ".join(f"'{name}'" for name in _DECODERS)
    message = f"Invalid value: '{head.type}'. Supported values are: {names}."
    raise Rejected(400, message, param=f"{where}.type", code="invalid_value")


def _not_stored(item_id: str | None) -> Rejected:
    message = (
        f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to "
        "false. Try again with `store` set to true, or remove this item from your input."
    )
    return Rejected(404, message, param="input")


def _check_content(item: MessageItem, where: str) -> None:
    for index, part in enumerate(item.parts):
        said = isinstance(part, OutputTextPart | RefusalPart)
        if said != (item.role == "assistant"):
            tag = part.__struct_config__.tag
            allowed = (
                "'output_text' and 'refusal'"
                if not said
                else "'input_text', 'input_image' and 'input_file'"
            )
            message = f"Invalid value: '{tag}'. Supported values are: {allowed}."
            param = f"{where}.content[{index}]"
            raise Rejected(400, message, param=param, code="invalid_value")
        if isinstance(part, ImagePart) and not (part.image_url or part.file_id):
            param = f"{where}.content[{index}].image_url"
            raise Rejected(400, f"Missing required parameter: '{param}'.", param=param)
        if isinstance(part, FilePart) and not (part.file_id or part.file_data or part.file_url):
            param = f"{where}.content[{index}].file_id"
            raise Rejected(400, f"Missing required parameter: '{param}'.", param=param)


def _check_reasoning(item: ReasoningItem, after: list[Item], where: str) -> None:
    if item.encrypted_content is None:
        raise _not_stored(item.id)
    if open_reasoning(item.encrypted_content, item.id) is None:
        message = (
            f"The encrypted content {item.encrypted_content[:4]}...{item.encrypted_content[-4:]} "
            "could not be verified. Reason: Encrypted content could not be decrypted or parsed."
        )
        param = f"{where}.encrypted_content"
        raise Rejected(400, message, param=param, code="invalid_encrypted_content")
    follower = next((one for one in after if not isinstance(one, ReasoningItem)), None)
    is_own = isinstance(follower, CallItem) or (
        isinstance(follower, MessageItem) and follower.role == "assistant"
    )
    if not is_own:
        message = (
            f"Item '{item.id}' of type 'reasoning' was provided without its required following "
            "item."
        )
        raise Rejected(400, message, param="input")


def _check_calls(items: list[Item]) -> None:
    open_calls: dict[str, None] = {}
    for item in items:
        if isinstance(item, CallItem):
            open_calls[item.call_id] = None
        elif isinstance(item, OutputItem):
            if item.call_id not in open_calls:
                message = f"No tool call found for function call output with call_id {item.call_id}"
                raise Rejected(400, f"{message}.", param="input")
            del open_calls[item.call_id]
    for call_id in open_calls:
        message = f"No tool output found for function call {call_id}."
        raise Rejected(400, message, param="input")
