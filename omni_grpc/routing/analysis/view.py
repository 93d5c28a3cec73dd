"""What routing looks at of a request: a few thousand characters, and counts.

A request may carry megabytes. This keeps what says what is wanted: the head of the system prompt,
the last thing that the user said, and a little of what came before it. Every other step of the
analysis reads a `PromptView` and nothing else, so its time is bounded whatever comes in. Texts are
kept as they came, lone surrogates and control characters included.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    TextPart,
    Tool,
)

TEXT_CHARS_MAX: Final = 2_500
"""Characters that are encoded: as many as the encoder reads."""

SYSTEM_CHARS_MAX: Final = 400
"""Characters of the system prompt: its first sentences say what the service is for."""

EARLIER_CHARS_MAX: Final = 400
"""Characters of the turns before the last one."""

SHORT_TURN_CHARS: Final = 160
"""Up to this length, a last turn is likely to lean on the turns before it ("and in French?")."""

TOOLS_MAX: Final = 16
"""Tools whose names are read."""

TOOL_CHARS_MAX: Final = 60
"""Characters of a tool's name and of its description that are read."""

RECENT_MESSAGES: Final = 8
"""Messages from the end among which tool results make a conversation a run of an agent: two
rounds of call, result and answer, and the last question."""

FormatKind = Literal["text", "json_object", "json_schema"]


class PromptView(msgspec.Struct, frozen=True, kw_only=True):
    """The bounded view of one request.

    Attributes:
        text: what the encoder shall read: the three below, `earlier` where `user` is short.
        user: head and tail of the user's last turn, `TEXT_CHARS_MAX` and a line feed at most.
        system: the head of the system prompt.
        earlier: the user's turn before, and the head of the answer to it.
        tools: names of the tools offered, with the head of their descriptions.
        user_chars: length of the whole last turn.
        turns: how often the user spoke.
        tool_count: tools offered; 0 where the request forbids their use.
        tool_results: results of tools among the last `RECENT_MESSAGES` messages.
        images: image parts in the last turn of the user.
        images_before: image parts in all other turns.
        audios: audio parts, in all turns.
        files: file parts, in all turns.
        response_format: the form that the answer shall have, if one is asked for.
    """

    text: str
    user: str
    system: str = ""
    earlier: str = ""
    tools: str = ""
    user_chars: int = 0
    turns: int = 1
    tool_count: int = 0
    tool_results: int = 0
    images: int = 0
    images_before: int = 0
    audios: int = 0
    files: int = 0
    response_format: FormatKind | None = None

    @property
    def is_alone(self) -> bool:
        """Whether there are the words of one turn, and nothing around them."""
        return not (
            self.turns != 1
            or self.system
            or self.earlier
            or self.tool_count
            or self.tool_results
            or self.images
            or self.images_before
            or self.audios
            or self.files
            or self.response_format
        )


def view_of(request: ChatRequest) -> PromptView:
    """Looks at a request. Takes time by the number of messages and parts, not by their length."""
    messages = request.messages
    last = _last_user(messages)
    said = _Counts()
    for place, message in enumerate(messages):
        said.add(message, is_last_turn=place == last)
    user_texts = () if last is None else _texts(messages[last])
    user = _ends(user_texts, TEXT_CHARS_MAX)
    user_chars = sum(map(len, user_texts))
    rules = [text for message in messages if _rules(message) for text in _texts(message)]
    system = _head(rules, SYSTEM_CHARS_MAX)
    earlier = _earlier(messages[:last]) if last else ""
    offered = () if _tools_off(request) else request.tools
    form = request.response_format
    return PromptView(
        text=encoded_text(system=system, earlier=earlier, user=user, user_chars=user_chars),
        user=user,
        system=system,
        earlier=earlier,
        tools=tool_words(offered),
        user_chars=user_chars,
        turns=said.turns,
        tool_count=len(offered),
        tool_results=[one.role for one in messages[-RECENT_MESSAGES:]].count("tool"),
        images=said.images,
        images_before=said.images_before,
        audios=said.audios,
        files=said.files,
        response_format=None if form is None else form.kind,
    )


def encoded_text(*, system: str, earlier: str, user: str, user_chars: int) -> str:
    """The one text that stands for a prompt, at most `TEXT_CHARS_MAX` characters.

    It is the user's words alone where there is nothing else to know, so that a plain prompt is
    encoded exactly as recorded ones were.
    """
    before = [system] if system else []
    if earlier and user_chars <= SHORT_TURN_CHARS:
        before.append(earlier)
    if not before:
        return user
    lead = "\n".join(before) + "\n"
    return lead + _ends((user,), TEXT_CHARS_MAX - len(lead) - 1)


def tool_words(offered: Iterable[Tool]) -> str:
    """Names and heads of descriptions, bounded, a line for each tool."""
    lines = []
    for place, tool in enumerate(offered):
        if place == TOOLS_MAX:
            break
        about = (tool.description or "")[:TOOL_CHARS_MAX]
        lines.append(f"{tool.name[:TOOL_CHARS_MAX]} {about}")
    return "\n".join(lines)


class _Counts:
    """What is counted over all messages."""

    def __init__(self) -> None:
        self.turns = self.images = self.images_before = 0
        self.audios = self.files = 0

    def add(self, message: Message, *, is_last_turn: bool) -> None:
        if message.role == "user":
            self.turns += 1
        if not isinstance(message.content, tuple):
            return
        for part in message.content:
            match part:
                case ImagePart():
                    self.images += is_last_turn
                    self.images_before += not is_last_turn
                case AudioPart():
                    self.audios += 1
                case FilePart():
                    self.files += 1
                case _:
                    pass


def _last_user(messages: tuple[Message, ...]) -> int | None:
    """Where the user spoke last. A conversation without a user is read from its last message."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user":
            return place
    for place in range(len(messages) - 1, -1, -1):
        if not _rules(messages[place]):
            return place
    return None


def _rules(message: Message) -> bool:
    return message.role in ("system", "developer")


def _tools_off(request: ChatRequest) -> bool:
    return request.tool_choice is not None and request.tool_choice.mode == "none"


def _texts(message: Message) -> tuple[str, ...]:
    content = message.content
    if isinstance(content, str):
        return (content,)
    return tuple(part.text for part in content or () if isinstance(part, TextPart))


def _earlier(before: tuple[Message, ...]) -> str:
    """The user's last turn of those before, and the head of what was answered to it."""
    half = EARLIER_CHARS_MAX // 2
    answered = ""
    for message in reversed(before):
        if message.role == "assistant" and not answered:
            answered = _head(_texts(message), half - 1)
        elif message.role == "user":
            asked = _head(_texts(message), half)
            return f"{asked}\n{answered}" if answered else asked
    return answered


def _head(texts: Iterable[str], chars: int) -> str:
    """The first `chars` characters of texts, a line feed between two."""
    pieces: list[str] = []
    left = chars
    for text in texts:
        if left <= 0:
            break
        pieces.append(text[:left])
        left -= len(pieces[-1]) + 1
    return "\n".join(pieces)


def _ends(texts: tuple[str, ...], chars: int) -> str:
    """The head and the tail of texts, half of `chars` each, a line feed between two."""
    if sum(map(len, texts)) + len(texts) - 1 <= chars:
        return "\n".join(texts)
    half = chars // 2
    tail = _head((text[: -half - 1 : -1] for text in reversed(texts)), half)[::-1]
    return f"{_head(texts, half)}\n{tail}"
