"""How large a prompt is: an upper bound that is held for, and a count where one is needed.

The bound reads no tokenizer: a token is at least one byte of text, and media have fixed ceilings.
The count is that of `catalog.tokens`, which an estimate is charged by.
"""

import base64
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from omni_grpc.catalog import tokens
from omni_grpc.core.audio import pcm_seconds
from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
)

IMAGE_TOKENS_BOUND: Final = 48_169
"""An image at high detail in the dearest published scheme: gpt-4o-mini, 2,833 and 8 times 5,667."""

IMAGE_TOKENS_BOUND_LOW: Final = 2_833
"""An image at low detail in the same scheme."""

AUDIO_TOKENS_PER_SECOND: Final = 40
"""Google's scheme has 32, OpenAI's 10."""

AUDIO_CHARS_PER_SECOND_MIN: Final = 1_000
"""Base64 of speech at 6 kbit/s, the lowest rate of the codecs that are taken: below it there is
silence alone, as in a transcription."""

_AUDIO_HEAD_CHARS: Final = 4_096
"""How much of a file is decoded for its length: a WAV's format and data begin within it."""

UNBOUNDED: Final = 2**40
"""A document may fill any context window, so the window itself is the bound."""

_MESSAGE_BOUND: Final = 8
_PROMPT_BOUND: Final = 32
_TOOL_BOUND: Final = 16

_EXPLAINED_BOUND: Final = 600
"""What a provider says to its model of tools, or of a schema, in a prompt of its own: Anthropic's
has 346 tokens today and had 530."""


class PromptSize:
    """The size of one prompt: its bound at once, its count when first asked for."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self.bound = prompt_upper_bound(request)

    @cached_property
    def tokens(self) -> int:
        """The count by the default tokenizer: near enough to compare with a window."""
        return prompt_tokens(self._request, tokens.DEFAULT_MODEL)

    def fits(self, window: int | None) -> bool:
        """Whether it fits; counts only where the bound does not say."""
        return window is None or self.bound <= window or self.tokens <= window


def prompt_upper_bound(request: ChatRequest) -> int:
    """Tokens that the prompt cannot exceed, whatever the model's tokenizer."""
    bound = _PROMPT_BOUND
    for message in request.messages:
        bound += _MESSAGE_BOUND + (tokens.upper_bound(message.name) if message.name else 0)
        content = message.content
        if isinstance(content, str):
            bound += tokens.upper_bound(content)
        elif content is not None:
            for part in content:
                bound += _part_bound(part)
        bound += sum(tokens.upper_bound(text) for text in _said(message))
        for block in message.reasoning_blocks:
            bound += _MESSAGE_BOUND + sum(
                tokens.upper_bound(text)
                for text in (block.text, block.signature or "", block.data or "")
            )
        bound += sum(_MESSAGE_BOUND + tokens.upper_bound(call.id) for call in message.tool_calls)
        if message.tool_call_id:
            bound += tokens.upper_bound(message.tool_call_id)
    for tool in request.tools:
        bound += _TOOL_BOUND + sum(
            tokens.upper_bound(text)
            for text in (tool.name, tool.description or "", tool.parameters_json or "")
        )
    form = request.response_format
    schema = None if form is None else form.schema_json
    if schema is not None:
        bound += tokens.upper_bound(schema) + _TOOL_BOUND
    if request.tools or schema is not None:
        bound += _EXPLAINED_BOUND
    return bound


def prompt_tokens(request: ChatRequest, model: str) -> int:
    """Tokens of the prompt by `catalog.tokens`; an estimate for models of other families."""
    count = tokens.REPLY_PRIMING
    for message in request.messages:
        count += tokens.count_message(message.role, _texts(message), message.name, model)
        if not isinstance(message.content, str) and message.content is not None:
            for part in message.content:
                if isinstance(part, ImagePart):
                    count += tokens.image_tokens(part.detail)
                elif isinstance(part, AudioPart):
                    count += tokens.AUDIO_TOKENS
                elif isinstance(part, FilePart):
                    count += tokens.FILE_TOKENS
    for tool in request.tools:
        count += tokens.count_tool(tool.name, tool.description, tool.parameters_json, model)
    if request.tools:
        count += tokens.TOOLS_OVERHEAD
    form = request.response_format
    if form is not None and form.schema_json is not None:
        count += tokens.count_text(form.schema_json, model)
    return count


def _part_bound(part: TextPart | ImagePart | AudioPart | FilePart | RefusalPart) -> int:
    match part:
        case TextPart(text=text) | RefusalPart(refusal=text):
            return tokens.upper_bound(text)
        case ImagePart(detail="low"):
            return IMAGE_TOKENS_BOUND_LOW
        case ImagePart():
            return IMAGE_TOKENS_BOUND
        case AudioPart(data=data):
            return _audio_bound(data)
        case FilePart():
            return UNBOUNDED


def _audio_bound(data: str) -> int:
    """By the length that a WAV's own rate gives it; of anything else by its size."""
    try:
        head = base64.b64decode(data[:_AUDIO_HEAD_CHARS])
    except ValueError:  # its provider will say so
        head = b""
    seconds = pcm_seconds(head, len(data) * 3 // 4) or len(data) // AUDIO_CHARS_PER_SECOND_MIN + 1
    return seconds * AUDIO_TOKENS_PER_SECOND


def _texts(message: Message) -> Iterator[str]:
    content = message.content
    if isinstance(content, str):
        yield content
    elif content is not None:
        for part in content:
            if isinstance(part, TextPart):
                yield part.text
            elif isinstance(part, RefusalPart):
                yield part.refusal
    yield from _said(message)


def _said(message: Message) -> Iterator[str]:
    """What an assistant's turn carries beside its content."""
    if message.refusal:
        yield message.refusal
    if message.reasoning:
        yield message.reasoning
    else:
        for block in message.reasoning_blocks:
            yield block.text
    for call in message.tool_calls:
        yield call.name
        yield call.arguments_json
