"""What a Messages request wants, in no dialect, and which part of its prompt is to be kept.

The prompt is counted by the same functions as the meter's: a tool's result as a message of its
own, the system prompt as one.
"""

from collections.abc import Iterable
from typing import Final, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
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
)
from omni_grpc.simulator.dialects.anthropic_checks import cache_marks
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("PromptCount", "count_prompt", "understand")

_EFFORTS: Final = {"max": "xhigh"}


class PromptCount(msgspec.Struct, frozen=True):
    """A prompt's tokens, and where the prefixes that shall be kept end."""

    tokens: int
    marks: tuple[tuple[int, str], ...]

    def written(self, read: int) -> tuple[int, int]:
        """What is written to the cache for five minutes and for an hour, beyond what is read."""
        lives = {"5m": 0, "1h": 0}
        start = read
        for end, ttl in self.marks:
            lives[ttl] += max(end - start, 0)
            start = max(start, end)
        return lives["5m"], lives["1h"]


def understand(
    body: MessagesBody, count: int, bare_model: str, facts: SimulatedModel | None
) -> Asked:
    """What the request wants, its prompt being `count` tokens.

    `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    if facts is not None:
        _check_ability(body, facts, count)
    user_text, tool_texts = _last_words(body)
    choice = body.tool_choice
    effort = body.output_config.effort if body.output_config else None
    return Asked(
        model=bare_model,
        seed_facts=_seed_facts(body, bare_model),
        prompt_tokens=count,
        user_text=user_text,
        tool_texts=tool_texts,
        tools=_callable_tools(body),
        tool_must=choice is not None and choice.type in ("any", "tool"),
        tool_parallel=choice is None or not choice.disable_parallel_tool_use,
        form="text" if body.schema is None else "schema",
        schema=None if body.schema is None else _json(body.schema),
        tokens_max=body.max_tokens,
        stop=tuple(body.stop_sequences or ()),
        effort=_EFFORTS.get(effort or "", effort) if body.thinks else "none",
        seen=_seen(body),
    )


def _check_ability(body: MessagesBody, facts: SimulatedModel, count: int) -> None:
    if body.max_tokens > facts.output_tokens_max:
        raise Rejected(
            400,
            f"max_tokens: {body.max_tokens} > {facts.output_tokens_max}, which is the maximum "
            f"allowed number of output tokens for {facts.id}",
        )
    if count > facts.context_tokens:
        message = f"prompt is too long: {count} tokens > {facts.context_tokens} maximum"
        raise Rejected(400, message)
    kinds = {type(part) for part in _media(body)}
    if ImageBlock in kinds and "image" not in facts.inputs:
        raise Rejected(400, f"The model '{facts.id}' does not support image input.")
    if DocumentBlock in kinds and "file" not in facts.inputs:
        raise Rejected(400, f"The model '{facts.id}' does not support PDF input.")
    if body.tools and not facts.tools:
        raise Rejected(400, f"tools: '{facts.id}' does not support tools.")
    if body.schema is not None and not facts.structured:
        raise Rejected(400, f"'{facts.id}' does not support output format.")


# --- counting ---------------------------------------------------------------------------------
class _Counter:
    """Adds up a prompt in the order of its prefix."""

    def __init__(self) -> None:
        self.total = 0
        self.marks: list[tuple[int, str]] = []

    def mark(self, control: CacheControl | None) -> None:
        if control is not None:
            self.marks.append((self.total, control.ttl))

    def block(self, block: InputBlock) -> None:
        """The inside of a block; what is around it counts with its message."""
        match block:
            case TextBlock():
                self.total += tokens.count_text(block.text)
            case ImageBlock():
                self.total += tokens.image_tokens(None)
            case DocumentBlock():
                self.total += tokens.FILE_TOKENS
            case ThinkingBlock():
                self.total += tokens.count_text(block.thinking)
            case RedactedThinkingBlock():
                pass
            case ToolUseBlock():
                self.total += tokens.count_text(block.name)
                self.total += tokens.count_text(bytes(block.input).decode())
            case ToolResultBlock():
                for part in block.parts:
                    self.block(part)
        if not isinstance(block, ThinkingBlock | RedactedThinkingBlock):
            self.mark(block.cache_control)

    def turn(self, role: str, blocks: Iterable[InputBlock]) -> None:
        """A message, and one more for each tool's result in it."""
        said: str | None = None
        for block in blocks:
            speaker = "tool" if isinstance(block, ToolResultBlock) else role
            if speaker == "tool" or speaker != said:
                self.total += tokens.count_message(speaker, ())
            said = speaker
            self.block(block)


def count_prompt(body: MessagesBody) -> PromptCount:
    """The tokens of the prompt."""
    counter = _Counter()
    if body.tools:
        counter.total += tokens.TOOLS_OVERHEAD
    for tool in body.tools or ():
        schema = bytes(tool.input_schema).decode()
        counter.total += tokens.count_tool(tool.name, tool.description, schema)
        counter.mark(tool.cache_control)
    counter.turn("system", body.system_blocks)
    for turn in body.messages:
        counter.turn(turn.role, turn.blocks)
    if body.schema is not None:
        counter.total += tokens.count_text(bytes(body.schema).decode())
    total = counter.total + tokens.REPLY_PRIMING
    return PromptCount(total, tuple(counter.marks))


# --- what is said -----------------------------------------------------------------------------
def _last_words(body: MessagesBody) -> tuple[str, tuple[str, ...]]:
    """The last text of the user, and the results of tools that came after it."""
    results: list[str] = []
    for turn in reversed(body.messages):
        if turn.role != "user":
            continue
        texts = [block.text for block in turn.blocks if isinstance(block, TextBlock)]
        if texts:
            return "\n".join(texts), tuple(results)
        results[:0] = [block.text for block in turn.blocks if isinstance(block, ToolResultBlock)]
    return "", tuple(results)


def _seed_facts(body: MessagesBody, bare_model: str) -> bytes:
    """Model and messages; the same text as a string or as one block is the same message."""
    system = [block.text for block in body.system_blocks]
    turns = [
        (turn.role, [_marks_removed(block) for block in turn.blocks]) for turn in body.messages
    ]
    return msgspec.json.encode((bare_model, system, turns))


def _marks_removed(block: InputBlock) -> InputBlock:
    if isinstance(block, ThinkingBlock | RedactedThinkingBlock):
        return block
    return msgspec.structs.replace(block, cache_control=None)


def _callable_tools(body: MessagesBody) -> tuple[AskedTool, ...]:
    choice = body.tool_choice
    if choice is not None and choice.type == "none":
        return ()
    return tuple(
        AskedTool(tool.name, _json(tool.input_schema))
        for tool in body.tools or ()
        if choice is None or choice.name is None or tool.name == choice.name
    )


def _media(body: MessagesBody) -> list[ImageBlock | DocumentBlock]:
    found: list[ImageBlock | DocumentBlock] = []
    for block in body.blocks():
        parts = block.parts if isinstance(block, ToolResultBlock) else (block,)
        found += [part for part in parts if isinstance(part, ImageBlock | DocumentBlock)]
    return found


def _seen(body: MessagesBody) -> dict[str, Json]:
    """What was understood, under the names of the OpenAI dialect; only what is there."""
    seen: dict[str, Json] = {}
    _see_content(body, seen)
    _see_tools(body, seen)
    seen["system"] = "\n".join(block.text for block in body.system_blocks)
    seen["response_format"] = None if body.schema is None else "json_schema"
    if body.output_config is not None:
        seen["reasoning_effort"] = body.output_config.effort
    if body.thinking is not None and not body.thinks:
        seen["reasoning_effort"] = "none"
    seen["reasoning_budget"] = body.budget
    seen["reasoning_summary"] = "auto" if body.display == "summarized" else None
    seen["temperature"] = body.temperature
    seen["top_p"] = body.top_p
    seen["top_k"] = body.top_k
    seen["stop"] = list(body.stop_sequences or ())
    seen["cache_marks"] = len(cache_marks(body))
    return {name: value for name, value in seen.items() if not _is_nothing(value)}


def _is_nothing(value: Json) -> bool:
    return value is None or value in ([], "") or (value == 0 and type(value) is int)


def _see_content(body: MessagesBody, seen: dict[str, Json]) -> None:
    blocks = list(body.blocks())
    media = [(type(part), part.source.__struct_config__.tag) for part in _media(body)]
    seen["images"] = media.count((ImageBlock, "base64"))
    seen["image_urls"] = media.count((ImageBlock, "url"))
    seen["image_ids"] = media.count((ImageBlock, "file"))
    seen["file_urls"] = media.count((DocumentBlock, "url"))
    seen["file_ids"] = media.count((DocumentBlock, "file"))
    seen["files"] = sum(
        kind is DocumentBlock and source not in ("url", "file") for kind, source in media
    )
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    seen["tool_results"] = len(results)
    seen["failed_tool_results"] = sum(bool(one.is_error) for one in results)
    seen["reasoning_blocks"] = sum(
        isinstance(block, ThinkingBlock | RedactedThinkingBlock) for block in blocks
    )


def _see_tools(body: MessagesBody, seen: dict[str, Json]) -> None:
    seen["tools"] = [tool.name for tool in body.tools or ()]
    seen["strict_tools"] = sum(bool(tool.strict) for tool in body.tools or ())
    choice = body.tool_choice
    if choice is None:
        return
    named: Json = {"name": choice.name}
    mode = "required" if choice.type == "any" else choice.type
    seen["tool_choice"] = named if choice.type == "tool" else mode
    if choice.disable_parallel_tool_use:
        seen["parallel_tool_calls"] = False


def _json(raw: Raw) -> Json:
    return cast("Json", msgspec.json.decode(raw))
