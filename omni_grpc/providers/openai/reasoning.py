"""Blocks of reasoning as `reasoning_details`, in which OpenRouter gives them and takes them back.

A stream brings a block in pieces: text and summaries grow, the signature comes last, and what is
encrypted comes whole. A provider that knows nothing of them sends none. What has another shape is
passed by: the answer is worth more than its reasoning.
"""

from typing import Final, get_args

from omni_grpc.core.chat import Message, ReasoningBlock
from omni_grpc.providers.spec import DialectName

OWN_FORMAT: Final = "openai"
"""The format of a block that came from this dialect without one of its own."""

_FOREIGN_FORMATS: Final = frozenset(get_args(DialectName)) - {OWN_FORMAT}
"""Blocks that other dialects made; their names are no formats of OpenRouter's."""

_TEXT: Final = "reasoning.text"
_SUMMARY: Final = "reasoning.summary"
_ENCRYPTED: Final = "reasoning.encrypted"


def details_of(message: Message) -> list[dict[str, object]]:
    """The blocks of a turn that came from this dialect, as they go back."""
    return [
        _detail(block, place)
        for place, block in enumerate(message.reasoning_blocks)
        if block.format not in _FOREIGN_FORMATS
    ]


def _detail(block: ReasoningBlock, place: int) -> dict[str, object]:
    detail: dict[str, object] = {"type": f"reasoning.{block.kind}", "index": place}
    if block.kind == "encrypted":
        detail["data"] = block.data or ""
    elif block.kind == "summary":
        detail["summary"] = block.text
    else:
        detail["text"] = block.text
        if block.signature is not None:
            detail["signature"] = block.signature
    if block.id is not None:
        detail["id"] = block.id
    if block.format != OWN_FORMAT:
        detail["format"] = block.format
    return detail


class BlockPieces:
    """The blocks of one choice while they come."""

    __slots__ = ("_format", "_id", "_index", "_is_open", "_kind", "_signature", "_texts")

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._is_open = False
        self._kind = ""
        self._index: object = None
        self._id: str | None = None
        self._format: str | None = None
        self._signature: str | None = None
        self._texts: list[str] = []

    def take(self, details: object) -> tuple[list[ReasoningBlock], str]:
        """The blocks that a piece of `reasoning_details` completes, and its text."""
        whole: list[ReasoningBlock] = []
        if not isinstance(details, list):
            return whole, ""
        texts = [self._take(detail, whole) for detail in details if isinstance(detail, dict)]
        return whole, "".join(texts)

    def end(self) -> list[ReasoningBlock]:
        """The last block, if there is one: nothing more of it will come."""
        whole: list[ReasoningBlock] = []
        self._close(whole)
        return whole

    def _take(self, detail: dict[str, object], whole: list[ReasoningBlock]) -> str:
        kind = detail.get("type")
        if kind == _ENCRYPTED:
            self._close(whole)
            data = _text(detail, "data")
            if data:
                name = _text(detail, "format") or OWN_FORMAT
                block = ReasoningBlock(
                    kind="encrypted", format=name, data=data, id=_text(detail, "id")
                )
                whole.append(block)
            return ""
        if kind not in (_TEXT, _SUMMARY):
            return ""
        if not self._continues(detail, kind):
            self._close(whole)
        self._is_open = True
        self._kind = kind
        self._index = detail.get("index")
        self._id = self._id or _text(detail, "id")
        self._format = self._format or _text(detail, "format")
        self._signature = _text(detail, "signature") or self._signature
        text = _text(detail, "text" if kind == _TEXT else "summary") or ""
        self._texts.append(text)
        return text

    def _continues(self, detail: dict[str, object], kind: str) -> bool:
        return kind == self._kind and detail.get("index") == self._index

    def _close(self, whole: list[ReasoningBlock]) -> None:
        if self._is_open:
            text = "".join(self._texts)
            if text or self._signature:
                whole.append(
                    ReasoningBlock(
                        kind="text" if self._kind == _TEXT else "summary",
                        format=self._format or OWN_FORMAT,
                        text=text,
                        signature=self._signature,
                        id=self._id,
                    )
                )
        self._clear()


def blocks_of(details: object) -> tuple[tuple[ReasoningBlock, ...], str]:
    """The blocks of a whole answer, and their text."""
    pieces = BlockPieces()
    whole, text = pieces.take(details)
    return (*whole, *pieces.end()), text


def _text(detail: dict[str, object], name: str) -> str | None:
    value = detail.get(name)
    return value if isinstance(value, str) and value else None
