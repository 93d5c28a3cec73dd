"""What a chat-completions request wants: the model's abilities, the prompt's count, the tools.

The prompt is counted over the request as it was read, by the same functions as the meter's.
"""

from typing import Final, Literal, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.openai_body import (
    AudioPart,
    ChatBody,
    FilePart,
    ImagePart,
    NamedTool,
    TextPart,
)
from omni_grpc.simulator.dialects.openai_seen import seen
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("understand",)

_INPUT_OF: Final = {ImagePart: "image", AudioPart: "audio", FilePart: "file"}


def understand(chat: ChatBody, bare_model: str, facts: SimulatedModel | None) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    prompt_tokens = _count_prompt(chat)
    if facts is not None:
        _check_ability(chat, facts)
        if prompt_tokens > facts.context_tokens:
            message = (
                f"This model's maximum context length is {facts.context_tokens} tokens. "
                f"However, your messages resulted in {prompt_tokens} tokens."
            )
            code = "context_length_exceeded"
            raise Rejected(400, message, param="messages", code=code)
    last_user = max((i for i, m in enumerate(chat.messages) if m.role == "user"), default=-1)
    after = chat.messages[last_user + 1 :]
    limits = (chat.tokens_max, facts.output_tokens_max if facts else None)
    schema = chat.response_format.json_schema if chat.response_format else None
    return Asked(
        model=bare_model,
        seed_facts=_seed_facts(chat, bare_model),
        prompt_tokens=prompt_tokens,
        user_text=chat.messages[last_user].text if last_user >= 0 else "",
        tool_texts=tuple(message.text for message in after if message.role == "tool"),
        tools=_callable_tools(chat),
        tool_must=chat.tool_choice not in (None, "none", "auto"),
        tool_parallel=chat.parallel_tool_calls is not False,
        form=_form(chat),
        schema=_json(schema.schema) if schema else None,
        choices=chat.n or 1,
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        effort=chat.effort,
        seen=seen(chat),
    )


def _check_ability(chat: ChatBody, facts: SimulatedModel) -> None:
    for index, message in enumerate(chat.messages):
        for part in message.parts:
            needed = _INPUT_OF.get(type(part))
            if needed is not None and needed not in facts.inputs:
                text = f"The model '{facts.id}' does not take {needed} input."
                raise Rejected(400, text, param=f"messages[{index}].content")
    if chat.tools and not facts.tools:
        raise Rejected(400, f"The model '{facts.id}' does not support tools.", param="tools")
    if _form(chat) != "text" and not facts.structured:
        text = f"The model '{facts.id}' does not support this response format."
        raise Rejected(400, text, param="response_format")


def _count_prompt(chat: ChatBody) -> int:
    count = tokens.REPLY_PRIMING
    for message in chat.messages:
        texts = message.counted_texts()
        count += tokens.count_message(message.role, texts, message.name)
        for part in message.parts:
            if isinstance(part, ImagePart):
                count += tokens.image_tokens(part.image_url.detail)
            elif isinstance(part, AudioPart):
                count += tokens.AUDIO_TOKENS
            elif isinstance(part, FilePart):
                count += tokens.FILE_TOKENS
    for tool in chat.tools or ():
        function = tool.function
        parameters = _written(function.parameters)
        count += tokens.count_tool(function.name, function.description, parameters)
    if chat.tools:
        count += tokens.TOOLS_OVERHEAD
    schema = chat.response_format.json_schema if chat.response_format else None
    if schema is not None:
        count += tokens.count_text(_written(schema.schema) or "")
    return count


def _seed_facts(chat: ChatBody, bare_model: str) -> bytes:
    """Model, messages and seed; the same text as a string or as one part is the same message."""
    messages = [
        (
            message.role,
            message.name,
            list(message.counted_texts()),
            [part for part in message.parts if not isinstance(part, TextPart)],
        )
        for message in chat.messages
    ]
    return msgspec.json.encode((bare_model, chat.seed, messages))


def _callable_tools(chat: ChatBody) -> tuple[AskedTool, ...]:
    choice = chat.tool_choice
    if choice == "none":
        return ()
    only = choice.function.name if isinstance(choice, NamedTool) else None
    return tuple(
        AskedTool(tool.function.name, _json(tool.function.parameters) or {"type": "object"})
        for tool in chat.tools or ()
        if only is None or tool.function.name == only
    )


def _form(chat: ChatBody) -> Literal["text", "json", "schema"]:
    kind = chat.response_format.type if chat.response_format else "text"
    if kind == "json_schema":
        return "schema"
    return "json" if kind == "json_object" else "text"


def _written(raw: Raw) -> str | None:
    """JSON text exactly as it stood in the request; None if it was absent or null."""
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _json(raw: Raw) -> Json:
    text = _written(raw)
    return None if text is None else cast("Json", msgspec.json.decode(text))
