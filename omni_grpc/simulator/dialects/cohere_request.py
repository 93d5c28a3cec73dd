"""What a request to Cohere's chat wants: the model's abilities, the prompt's count, the tools.

The prompt is counted over the request as it was read, by the same functions as the meter's.
"""

from typing import Final, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.cohere_body import (
    AssistantMessage,
    CohereBody,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("understand",)

_ROLES: Final = {
    SystemMessage: "system",
    UserMessage: "user",
    AssistantMessage: "assistant",
    ToolMessage: "tool",
}


def understand(chat: CohereBody, bare_model: str, facts: SimulatedModel | None) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    prompt_tokens = _count_prompt(chat)
    if facts is not None:
        _check_ability(chat, facts)
        if prompt_tokens > facts.context_tokens:
            over = prompt_tokens - facts.context_tokens
            text = f"too many tokens: size limit exceeded by {over} tokens."
            raise Rejected(400, f"{text} Try using shorter or fewer inputs.")
    messages = chat.messages
    last_user = max((i for i, m in enumerate(messages) if isinstance(m, UserMessage)), default=-1)
    limits = (chat.max_tokens, facts.output_tokens_max if facts else None)
    form = chat.json_format
    schema = None if form is None else _json(form.json_schema)
    told = [[_ROLES[type(message)], *message.texts] for message in messages]
    return Asked(
        model=bare_model,
        seed_facts=msgspec.json.encode((bare_model, chat.seed, told)),
        prompt_tokens=prompt_tokens,
        user_text="\n".join(messages[last_user].texts) if last_user >= 0 else "",
        tool_texts=tuple(
            "\n".join(message.texts)
            for message in messages[last_user + 1 :]
            if isinstance(message, ToolMessage)
        ),
        tools=()
        if chat.tool_choice == "NONE"
        else tuple(
            AskedTool(tool.function.name, _json(tool.function.parameters) or {"type": "object"})
            for tool in chat.tools or ()
        ),
        tool_must=chat.tool_choice == "REQUIRED",
        form="text" if form is None else "json" if schema is None else "schema",
        schema=schema,
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        stop=tuple(chat.stop_sequences or ()),
        effort=chat.effort,
        seen=_seen(chat, schema),
    )


def _check_ability(chat: CohereBody, facts: SimulatedModel) -> None:
    has_images = any(m.images for m in chat.messages if isinstance(m, UserMessage))
    if has_images and "image" not in facts.inputs:
        raise Rejected(400, f"invalid request: model '{facts.id}' does not support image input.")
    if chat.tools and not facts.tools:
        raise Rejected(400, f"invalid request: model '{facts.id}' does not support tools.")
    if chat.json_format is not None and not facts.structured:
        text = f"invalid request: model '{facts.id}' does not support response_format."
        raise Rejected(400, text)


def _count_prompt(chat: CohereBody) -> int:
    count = tokens.REPLY_PRIMING
    for message in chat.messages:
        count += _count_message(message)
    for tool in chat.tools or ():
        function = tool.function
        parameters = _written(function.parameters)
        count += tokens.count_tool(function.name, function.description, parameters)
    if chat.tools:
        count += tokens.TOOLS_OVERHEAD
    if chat.json_format is not None:
        count += tokens.count_text(_written(chat.json_format.json_schema) or "")
    return count


def _count_message(message: Message) -> int:
    count = tokens.count_message(_ROLES[type(message)], message.texts)
    if isinstance(message, UserMessage):
        count += sum(tokens.image_tokens(part.image_url.detail) for part in message.images)
    return count


def _written(raw: Raw) -> str | None:
    """JSON text exactly as it stood in the request; None if it was absent or null."""
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _json(raw: Raw) -> Json:
    text = _written(raw)
    return None if text is None else cast("Json", msgspec.json.decode(text))


def _seen(chat: CohereBody, schema: Json) -> dict[str, Json]:
    """Under the names of the OpenAI dialect; only what is there."""
    messages = chat.messages
    images = [part for m in messages if isinstance(m, UserMessage) for part in m.images]
    inline = sum(one.image_url.url.startswith("data:") for one in images)
    system = [text for m in messages if isinstance(m, SystemMessage) for text in m.texts]
    thoughts = [m.thoughts for m in messages if isinstance(m, AssistantMessage)]
    strict = bool(chat.strict_tools)
    seen: dict[str, Json] = {
        "system": "\n".join(system),
        "images": inline,
        "image_urls": len(images) - inline,
        "tool_results": sum(isinstance(m, ToolMessage) for m in messages),
        "reasoning_blocks": sum(map(len, thoughts)),
        "tools": [tool.function.name for tool in chat.tools or ()],
        "strict_tools": len(chat.tools or ()) if strict else 0,
        "stop": [*(chat.stop_sequences or ())],
    }
    form = None if chat.json_format is None else "json_object"
    asked: dict[str, Json] = {
        "tool_choice": None if chat.tool_choice is None else chat.tool_choice.lower(),
        "response_format": form if schema is None else "json_schema",
        "reasoning_effort": chat.effort,
        "reasoning_budget": None if chat.thinking is None else chat.thinking.token_budget,
        "temperature": chat.temperature,
        "top_p": chat.p,
        "top_k": chat.k,
        "seed": chat.seed,
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
        "logprobs": chat.logprobs,
        "safety_mode": chat.safety_mode,
    }
    told: dict[str, Json] = {name: value for name, value in seen.items() if value}
    told |= {name: value for name, value in asked.items() if value is not None}
    return told
