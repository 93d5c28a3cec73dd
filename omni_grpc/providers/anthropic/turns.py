"""A conversation in Anthropic's words: system prompts apart, turns of blocks that alternate.

System and developer messages go into the top-level `system` in their order, also those from the
middle: only the newest models take them in their place. Consecutive messages of one side become
one turn, so that all results of parallel tool calls stand in the turn after them. Thinking goes
back where it stood: the API refuses the latest turn in another order. What the API refuses as
empty is left out, and so is thinking that nothing follows. Names of participants have no place
there.
"""

import re
from typing import Final

from omni_grpc.core.chat import (
    AudioPart,
    CacheTtl,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningBlock,
    RefusalPart,
    TextPart,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.turn_order import Calls, is_interleaved, is_text, turn_of
from omni_grpc.providers.anthropic.data_urls import data_of, text_of
from omni_grpc.providers.written import FAILED_SILENTLY, Json, present, raw_object

FORMAT: Final = "anthropic"
"""The mark of reasoning that Anthropic's models made and signed."""

_THINKING: Final = frozenset({"thinking", "redacted_thinking"})
_ALIASES: Final = {"image/jpg": "image/jpeg"}
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")
_TEXTS: Final = frozenset({"application/json", "application/xml", "application/yaml"})
"""Media types beside `text/…` that are texts; the API takes all of them as plain text."""


class Conversation:
    """The turns of a request, and what they need beside them."""

    def __init__(self, messages: tuple[Message, ...]) -> None:
        """Take the messages.

        Raises:
            FieldInvalid: one of them cannot be said there.
        """
        self.system: list[Json] = []
        self.names_files = False
        self._turns: list[tuple[str, list[Json]]] = []
        for place, message in enumerate(messages):
            self._take(message, f"messages[{place}]")
        self._end_turn()
        self.turns: list[Json] = [{"role": role, "content": said} for role, said in self._turns]
        if not self.turns:
            raise FieldInvalid(
                "Anthropic needs at least one message with content beside system prompts.",
                field="messages",
            )

    def _take(self, message: Message, field: str) -> None:
        match message.role:
            case "system" | "developer":
                self.system += self._texts(message, field)
            case "user":
                self._add("user", self._blocks(message, field))
            case "tool":
                self._add("user", [self._tool_result(message, field)])
            case "assistant":
                self._add("assistant", self._said(message, field))

    def _add(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        turns = self._turns
        if turns and turns[-1][0] != role:
            self._end_turn()
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))

    def _end_turn(self) -> None:
        if not self._turns:
            return
        # "The final block in an assistant message cannot be `thinking`."
        said = self._turns[-1][1]
        while said and said[-1]["type"] in _THINKING:
            said.pop()
        if not said:
            self._turns.pop()

    # --- messages -----------------------------------------------------------------------------
    def _texts(self, message: Message, field: str) -> list[Json]:
        blocks = self._blocks(message, field)
        if any(block["type"] != "text" for block in blocks):
            raise FieldInvalid(f"{field}: a system prompt can only hold text.", field=field)
        return blocks

    def _said(self, message: Message, field: str) -> list[Json]:
        calls: list[Json] = [
            {
                "type": "tool_use",
                "id": _tool_id(call.id),
                "name": call.name,
                "input": raw_object(
                    call.arguments_json or "{}", f"{field}.tool_calls[{place}].function.arguments"
                ),
            }
            for place, call in enumerate(message.tool_calls)
        ]
        blocks: list[Json] = []
        if message.reasoning_blocks:
            thoughts = [one for one in message.reasoning_blocks if one.format == FORMAT]
            if is_interleaved(thoughts) and is_text(message.content):
                return self._in_order(message, thoughts, calls, field)
            blocks = [block for one in thoughts if (block := _reasoning(one)) is not None]
        blocks += self._blocks(message, field)
        if message.refusal:
            blocks.append({"type": "text", "text": message.refusal})
        return blocks + calls

    def _in_order(
        self, message: Message, thoughts: list[ReasoningBlock], calls: list[Json], field: str
    ) -> list[Json]:
        blocks: list[Json] = []
        for item in turn_of(message, thoughts):
            match item:
                case Calls():
                    blocks += calls[item.start : item.end]
                case ReasoningBlock():
                    thought = _reasoning(item)
                    blocks += [] if thought is None else [thought]
                case _:
                    said = (self._block(part, field) for part in item)
                    # Between others a piece may be blank, which the API refuses.
                    blocks += [one for one in said if one is not None and str(one["text"]).strip()]
        return blocks

    def _tool_result(self, message: Message, field: str) -> Json:
        blocks = self._blocks(message, field)
        # A mark inside a result counts for the whole of it: only there the API documents it.
        marks = [mark for block in blocks if (mark := block.pop("cache_control", None))]
        if message.tool_failed and not blocks:
            blocks = [{"type": "text", "text": FAILED_SILENTLY}]
        return present(
            type="tool_result",
            tool_use_id=_tool_id(message.tool_call_id or ""),
            content=blocks or None,
            is_error=message.tool_failed or None,
            cache_control=marks[-1] if marks else None,
        )

    # --- parts --------------------------------------------------------------------------------
    def _blocks(self, message: Message, field: str) -> list[Json]:
        content = message.content
        if not isinstance(content, tuple):
            return [{"type": "text", "text": content}] if content else []
        blocks = (
            self._block(part, f"{field}.content[{place}]") for place, part in enumerate(content)
        )
        return [block for block in blocks if block is not None]

    def _block(self, part: Part, field: str) -> Json | None:
        match part:
            case TextPart():
                return (
                    _marked({"type": "text", "text": part.text}, part.cache) if part.text else None
                )
            case RefusalPart():
                return {"type": "text", "text": part.refusal} if part.refusal else None
            case ImagePart():
                return _marked(self._image(part, field), part.cache)
            case FilePart():
                return _marked(self._file(part, field), part.cache)
            case AudioPart():
                raise FieldInvalid(f"{field}: Anthropic takes no audio.", field=field)

    def _image(self, part: ImagePart, field: str) -> Json:
        if part.file_id is None:
            return _image(part.url, field)
        self.names_files = True
        return {"type": "image", "source": {"type": "file", "file_id": part.file_id}}

    def _file(self, part: FilePart, field: str) -> Json:
        if part.file_id is not None:
            self.names_files = True
            return _document({"type": "file", "file_id": part.file_id}, part.filename)
        if part.file_url is not None:
            return _document({"type": "url", "url": part.file_url}, part.filename)
        kind, data = data_of(part.file_data or "", field)
        if kind.startswith("image/"):
            return _image(part.file_data or "", field)
        if kind == "application/pdf":
            return _document({"type": "base64", "media_type": kind, "data": data}, part.filename)
        if kind.startswith("text/") or kind in _TEXTS:
            text = text_of(data, field)
            return _document(
                {"type": "text", "media_type": "text/plain", "data": text}, part.filename
            )
        raise FieldInvalid(
            f"{field}: Anthropic takes PDF, text and image files, not {kind}.", field=field
        )


def _tool_id(call_id: str) -> str:
    """An id as Anthropic takes it; other providers' ids have dots and colons."""
    return _NOT_IN_IDS.sub("_", call_id) or "_"


def _document(source: Json, title: str | None) -> Json:
    return present(type="document", source=source, title=title)


def _image(url: str, field: str) -> Json:
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, data = data_of(url, field)
    media_type = _ALIASES.get(kind, kind)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _reasoning(block: ReasoningBlock) -> Json | None:
    """The block as it came; None for one that lacks its proof."""
    if block.data is not None:
        return {"type": "redacted_thinking", "data": block.data}
    if block.signature is None:
        return None
    return {"type": "thinking", "thinking": block.text, "signature": block.signature}


def cache_control(ttl: CacheTtl) -> Json:
    """A mark; five minutes are the default and are not written."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def _marked(block: Json, ttl: CacheTtl | None) -> Json:
    return block if ttl is None else {**block, "cache_control": cache_control(ttl)}
