"""What of a chat-completions request was understood, for the log."""

from collections.abc import Iterator

from omni_grpc.simulator.dialects.openai_body import (
    AudioPart,
    ChatBody,
    FilePart,
    ImagePart,
    Message,
    NamedTool,
    Part,
    RefusalPart,
    TextPart,
)
from omni_grpc.simulator.instances import Json

__all__ = ("seen",)


def seen(chat: ChatBody) -> dict[str, Json]:
    """The fields that the request has, by their names; of content only how much there is."""
    facts: dict[str, Json] = {**_content(chat), **_tools(chat), **_settings(chat)}
    return {name: value for name, value in facts.items() if value not in (None, "", [], {})}


def _content(chat: ChatBody) -> dict[str, Json]:
    parts = [part for message in chat.messages for part in message.parts]
    images = [part for part in parts if isinstance(part, ImagePart)]
    files = [part for part in parts if isinstance(part, FilePart)]
    inline = sum(part.image_url.url.startswith("data:") for part in images)
    by_id = sum(part.file.file_id is not None for part in files)
    systems = [m.text for m in chat.messages if m.role in ("system", "developer")]
    return {
        "images": inline or None,
        "image_urls": len(images) - inline or None,
        "audios": sum(isinstance(part, AudioPart) for part in parts) or None,
        "files": len(files) - by_id or None,
        "file_ids": by_id or None,
        "system": "\n".join(systems),
        "tool_results": sum(message.role == "tool" for message in chat.messages) or None,
        "reasoning_blocks": sum(_thoughts(message) for message in chat.messages) or None,
        "refusals": sum(isinstance(part, RefusalPart) for part in parts)
        + sum(bool(message.refusal) for message in chat.messages)
        or None,
        "cache_marks": sum(1 for _ in _cache_marks(chat, parts)) or None,
    }


def _thoughts(message: Message) -> int:
    """The blocks of reasoning that came back; a text without blocks is one."""
    return len(message.reasoning_details or ()) or bool(message.reasoning_content)


def _cache_marks(chat: ChatBody, parts: list[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, TextPart | ImagePart | FilePart) and part.cache_control is not None:
            yield part.cache_control.ttl
    for tool in chat.tools or ():
        if tool.cache_control is not None:
            yield tool.cache_control.ttl


def _tools(chat: ChatBody) -> dict[str, Json]:
    choice = chat.tool_choice
    return {
        "tools": [tool.function.name for tool in chat.tools or ()],
        "tool_choice": {"name": choice.function.name} if isinstance(choice, NamedTool) else choice,
        "parallel_tool_calls": chat.parallel_tool_calls,
        "strict_tools": sum(bool(tool.function.strict) for tool in chat.tools or ()) or None,
        "response_format": chat.response_format.type if chat.response_format else None,
    }


def _settings(chat: ChatBody) -> dict[str, Json]:
    reasoning = chat.reasoning
    return {
        "reasoning_effort": chat.effort,
        "reasoning_budget": reasoning.max_tokens if reasoning else None,
        "reasoning_summary": reasoning.summary if reasoning else None,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "top_k": chat.top_k,
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
        "logit_bias": dict(chat.logit_bias or {}),
        "seed": chat.seed,
        "stop": [chat.stop] if isinstance(chat.stop, str) else list(chat.stop or ()),
        "logprobs": chat.logprobs,
        "n": chat.n,
    }
