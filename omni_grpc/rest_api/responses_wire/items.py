"""The input items of a response as the turns of a chat.

A turn of an assistant is several items: reasoning, a message, calls of functions. They are put
together again in the order in which they stand.
"""

from collections.abc import Sequence
from typing import Final

from omni_grpc.core.chat import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    TextPart,
    ToolCall,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.rest_api.responses_wire.item_wire import (
    WireCallItem,
    WireCallOutputItem,
    WireInputAudio,
    WireInputFile,
    WireInputImage,
    WireInputText,
    WireItem,
    WireMessageItem,
    WireOutputText,
    WirePart,
    WireReasoningItem,
    WireRefusal,
)
from omni_grpc.rest_api.responses_wire.reasoning import ReasoningSeal
from omni_grpc.rest_api.responses_wire.tools import full_name

_FILE_URLS: Final = ("https://", "http://")
_IMAGE_URLS: Final = (*_FILE_URLS, "data:")


# --- the conversation -------------------------------------------------------------------------
class Conversation:
    """Puts items together to messages, and remembers where each came from."""

    def __init__(self, seal: ReasoningSeal) -> None:
        self.places: list[str] = []
        """Of each message, the field of its first item."""
        self._seal = seal
        self._messages: list[Message] = []
        self._turn: _Turn | None = None
        self._blocks: list[ReasoningBlock] = []
        self._thoughts: list[str] = []
        self._called: set[str] = set()

    def say(self, message: Message, place: str) -> None:
        """Takes a message that is no assistant's."""
        self._end_turn()
        self._messages.append(message)
        self.places.append(place)

    def add(self, items: Sequence[WireItem], field: str) -> None:
        """Takes items in their order.

        Raises:
            FieldInvalid: naming the part of an item that is wrong.
        """
        for index, item in enumerate(items):
            place = f"{field}[{index}]"
            match item:
                case WireReasoningItem():
                    self._think(item, place)
                case WireCallItem():
                    turn = self._open_turn(place)
                    name = full_name(item.namespace, item.name)
                    turn.calls.append(
                        ToolCall(id=item.call_id, name=name, arguments_json=item.arguments)
                    )
                    self._called.add(item.call_id)
                case WireCallOutputItem():
                    self._return(item, place)
                case WireMessageItem(role="assistant"):
                    self._answer(item, place)
                case WireMessageItem():
                    content = _content(item.content, f"{place}.content")
                    self.say(Message(role=item.role, content=content), place)

    def messages(self) -> tuple[Message, ...]:
        """The whole conversation."""
        self._end_turn()
        return tuple(self._messages)

    def _think(self, item: WireReasoningItem, place: str) -> None:
        if item.encrypted_content is not None:
            field = f"{place}.encrypted_content"
            self._blocks += self._seal.open(item.encrypted_content, field)
            return
        self._thoughts += (part.text for part in item.content or item.summary)

    def _return(self, item: WireCallOutputItem, place: str) -> None:
        if item.call_id not in self._called:
            raise _invalid(
                f"{place}.call_id",
                "names no function_call of the input; send the call before its output",
            )
        content = _content(item.output, f"{place}.output") or ""
        self.say(Message(role="tool", content=content, tool_call_id=item.call_id), place)

    def _answer(self, item: WireMessageItem, place: str) -> None:
        # What is said behind calls belongs to their turn: their outputs have not come yet.
        if self._turn is not None and self._turn.has_spoken and not self._turn.calls:
            self._close(self._turn)
        turn = self._open_turn(place)
        if isinstance(item.content, str):
            turn.texts.append(item.content)
            return
        for index, part in enumerate(item.content):
            if isinstance(part, WireRefusal):
                turn.refusals.append(part.refusal)
            elif isinstance(part, WireOutputText | WireInputText):
                turn.texts.append(part.text)
            else:
                raise _invalid(
                    f"{place}.content[{index}]", "must be output_text or refusal: an assistant's"
                )
        if not turn.has_spoken:
            raise _invalid(f"{place}.content", "is empty")

    def _open_turn(self, place: str) -> "_Turn":
        if self._turn is None:
            self._turn = _Turn()
            self.places.append(place)
        self._take_thoughts(self._turn)
        return self._turn

    def _take_thoughts(self, turn: "_Turn") -> None:
        turn.blocks += self._blocks
        turn.thoughts += self._thoughts
        self._drop_thoughts()

    def _drop_thoughts(self) -> None:
        self._blocks.clear()
        self._thoughts.clear()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._take_thoughts(self._turn)
            self._close(self._turn)
        self._drop_thoughts()  # of a turn that came to nothing else no provider takes the thoughts

    def _close(self, turn: "_Turn") -> None:
        self._messages.append(turn.message())
        self._turn = None


class _Turn:
    """An assistant's turn, as far as its items were read."""

    __slots__ = ("blocks", "calls", "refusals", "texts", "thoughts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.refusals: list[str] = []
        self.calls: list[ToolCall] = []
        self.blocks: list[ReasoningBlock] = []
        self.thoughts: list[str] = []

    @property
    def has_spoken(self) -> bool:
        return bool(self.texts or self.refusals)

    def message(self) -> Message:
        texts = self.texts
        content: str | tuple[Part, ...] | None = None
        if len(texts) == 1:
            content = texts[0]
        elif texts:
            content = tuple(TextPart(text=text) for text in texts)
        return Message(
            role="assistant",
            content=content,
            refusal="".join(self.refusals) or None,
            tool_calls=tuple(self.calls),
            # What is sealed says it all; the text stands for it only where nothing is.
            reasoning=None if self.blocks else "\n".join(self.thoughts) or None,
            reasoning_blocks=tuple(self.blocks),
        )


# --- parts of a message -----------------------------------------------------------------------
def _content(wire: str | Sequence[WirePart], field: str) -> str | tuple[Part, ...] | None:
    """The content; one text alone is a text, which every provider reads in every role."""
    if isinstance(wire, str):
        return wire
    if len(wire) == 1 and isinstance(wire[0], WireInputText):
        return wire[0].text
    parts = tuple(_part(part, f"{field}[{index}]") for index, part in enumerate(wire))
    if not parts and field.endswith(".content"):
        raise _invalid(field, "is empty; send a text or some parts")
    return parts or None


def _part(wire: WirePart, field: str) -> Part:
    match wire:
        case WireInputText(text=text):
            return TextPart(text=text)
        case WireInputImage():
            return _image(wire, field)
        case WireInputFile():
            return _file(wire, field)
        case WireInputAudio(input_audio=recording):
            return AudioPart(data=recording.data, format=recording.format)
        case _:
            raise _invalid(field, "is what an assistant says; send input_text")


def _image(wire: WireInputImage, field: str) -> ImagePart:
    if wire.file_id:
        if wire.image_url:
            raise _invalid(field, "needs exactly one of image_url and file_id")
        return ImagePart(file_id=wire.file_id, detail=wire.detail)
    if wire.image_url is None or not wire.image_url.startswith(_IMAGE_URLS):
        raise _invalid(f"{field}.image_url", "must be an https: or data: URL")
    return ImagePart(url=wire.image_url, detail=wire.detail)


def _file(wire: WireInputFile, field: str) -> FilePart:
    if bool(wire.file_id) + bool(wire.file_data) + bool(wire.file_url) != 1:
        raise _invalid(field, "needs exactly one of file_id, file_data and file_url")
    if wire.file_url and not wire.file_url.startswith(_FILE_URLS):
        raise _invalid(f"{field}.file_url", "must be an https: URL")
    return FilePart(
        file_id=wire.file_id or None,
        file_data=wire.file_data or None,
        file_url=wire.file_url or None,
        filename=wire.filename,
    )


def _invalid(field: str, why: str) -> FieldInvalid:
    return FieldInvalid(f"{field} {why}.", field=field)
