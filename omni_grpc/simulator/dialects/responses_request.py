"""What a request to the Responses API wants: the model's abilities, the prompt's count, the tools.

The prompt is counted over the items as they were read, by the same functions as the meter's.
"""

from typing import Final, Literal, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.responses_body import (
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    ResponsesBody,
)
from omni_grpc.simulator.dialects.responses_items import (
    CallItem,
    FilePart,
    ImagePart,
    Item,
    MessageItem,
    OutputItem,
    ReasoningItem,
    RefusalPart,
)
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("understand",)

_INPUT_OF: Final = {ImagePart: "image", FilePart: "file"}


def understand(
    body: ResponsesBody, items: list[Item], bare_model: str, facts: SimulatedModel | None
) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    prompt_tokens = _count_prompt(body, items)
    if facts is not None:
        _check_ability(body, items, facts)
        if prompt_tokens > facts.context_tokens:
            message = (
                "Your input exceeds the context window of this model. Please adjust your input "
                "and try again."
            )
            raise Rejected(400, message, param="input", code="context_length_exceeded")
    form = body.format
    last_user = max((i for i, item in enumerate(items) if _is_user(item)), default=-1)
    limits = (body.max_output_tokens, facts.output_tokens_max if facts else None)
    user = items[last_user]
    return Asked(
        model=bare_model,
        seed_facts=msgspec.json.encode((bare_model, body.instructions, [*map(_told, items)])),
        prompt_tokens=prompt_tokens,
        user_text="\n".join(user.texts) if isinstance(user, MessageItem) else "",
        tool_texts=tuple(
            "\n".join(item.texts) for item in items[last_user + 1 :] if isinstance(item, OutputItem)
        ),
        tools=_callable_tools(body),
        tool_must=body.tool_choice not in (None, "none", "auto"),
        tool_parallel=body.parallel_tool_calls is not False,
        form=_form(body),
        schema=_json(form.schema) if isinstance(form, JsonSchemaFormat) else None,
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        effort=body.effort,
        seen=_seen(body, items),
    )


def _is_user(item: Item) -> bool:
    return isinstance(item, MessageItem) and item.role == "user"


def _told(item: Item) -> Json:
    """What of an item the answer depends on: a string and one part of it are the same."""
    match item:
        case MessageItem():
            return [item.role, *item.texts]
        case CallItem():
            return ["call", item.name, item.arguments]
        case OutputItem():
            return ["output", *item.texts]
        case ReasoningItem():
            return ["reasoning", item.opened]


def _check_ability(body: ResponsesBody, items: list[Item], facts: SimulatedModel) -> None:
    for index, item in enumerate(items):
        for part in item.parts if isinstance(item, MessageItem | OutputItem) else ():
            needed = _INPUT_OF.get(type(part))
            if needed is not None and needed not in facts.inputs:
                text = f"The model '{facts.id}' does not take {needed} input."
                raise Rejected(400, text, param=f"input[{index}].content")
    if body.tools and not facts.tools:
        raise Rejected(400, f"The model '{facts.id}' does not support tools.", param="tools")
    if _form(body) != "text" and not facts.structured:
        text = f"The model '{facts.id}' does not support this response format."
        raise Rejected(400, text, param="text.format")


def _count_prompt(body: ResponsesBody, items: list[Item]) -> int:
    count = tokens.REPLY_PRIMING
    if body.instructions is not None:
        count += tokens.count_message("developer", (body.instructions,))
    for item in items:
        count += _count_item(item)
    for tool in body.tools or ():
        count += tokens.count_tool(tool.name, tool.description, _written(tool.parameters))
    if body.tools:
        count += tokens.TOOLS_OVERHEAD
    if isinstance(body.format, JsonSchemaFormat):
        count += tokens.count_text(_written(body.format.schema) or "")
    return count


def _count_item(item: Item) -> int:
    match item:
        case CallItem():
            return tokens.count_message("assistant", (item.name, item.arguments))
        case ReasoningItem():
            return tokens.count_text(item.opened)
        case MessageItem():
            count = tokens.count_message(item.role, item.texts)
        case OutputItem():
            count = tokens.count_message("tool", item.texts)
    for part in item.parts:
        if isinstance(part, ImagePart):
            count += tokens.image_tokens(part.detail)
        elif isinstance(part, FilePart):
            count += tokens.FILE_TOKENS
    return count


def _callable_tools(body: ResponsesBody) -> tuple[AskedTool, ...]:
    choice = body.tool_choice
    if choice == "none":
        return ()
    only = choice.name if isinstance(choice, NamedTool) else None
    return tuple(
        AskedTool(tool.name, _json(tool.parameters) or {"type": "object"})
        for tool in body.tools or ()
        if only is None or tool.name == only
    )


def _form(body: ResponsesBody) -> Literal["text", "json", "schema"]:
    if isinstance(body.format, JsonSchemaFormat):
        return "schema"
    return "json" if isinstance(body.format, JsonObjectFormat) else "text"


def _written(raw: Raw) -> str | None:
    """JSON text exactly as it stood in the request; None if it was absent or null."""
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _json(raw: Raw) -> Json:
    text = _written(raw)
    return None if text is None else cast("Json", msgspec.json.decode(text))


# --- what was understood ----------------------------------------------------------------------
def _seen(body: ResponsesBody, items: list[Item]) -> dict[str, Json]:
    """Under the names of the OpenAI dialect; only what is there."""
    parts = [
        part for item in items if isinstance(item, MessageItem | OutputItem) for part in item.parts
    ]
    images = [part for part in parts if isinstance(part, ImagePart)]
    files = [part for part in parts if isinstance(part, FilePart)]
    inline = sum((one.image_url or "").startswith("data:") for one in images)
    image_ids = sum(one.file_id is not None for one in images)
    by_id = sum(one.file_id is not None for one in files)
    by_url = sum(one.file_url is not None for one in files)
    choice = body.tool_choice
    seen: dict[str, Json] = {
        "system": "\n".join(_system_texts(body, items)),
        "images": inline,
        "image_urls": len(images) - inline - image_ids,
        "image_ids": image_ids,
        "files": len(files) - by_id - by_url,
        "file_ids": by_id,
        "file_urls": by_url,
        "refusals": sum(isinstance(part, RefusalPart) for part in parts),
        "tool_results": sum(isinstance(item, OutputItem) for item in items),
        "reasoning_blocks": sum(isinstance(item, ReasoningItem) for item in items),
        "tools": [tool.name for tool in body.tools or ()],
        "strict_tools": sum(bool(tool.strict) for tool in body.tools or ()),
    }
    asked: dict[str, Json] = {
        "tool_choice": {"name": choice.name} if isinstance(choice, NamedTool) else choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": {"text": None, "json": "json_object", "schema": "json_schema"}[
            _form(body)
        ],
        "reasoning_effort": body.effort,
        "reasoning_summary": body.summary,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "logprobs": body.logprobs or None,
        "top_logprobs": body.top_logprobs,
    }
    told: dict[str, Json] = {name: value for name, value in seen.items() if value}
    told |= {name: value for name, value in asked.items() if value is not None}
    return told


def _system_texts(body: ResponsesBody, items: list[Item]) -> list[str]:
    texts = [] if body.instructions is None else [body.instructions]
    for item in items:
        if isinstance(item, MessageItem) and item.role in ("system", "developer"):
            texts += item.texts
    return texts
