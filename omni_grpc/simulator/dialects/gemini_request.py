"""What a generateContent request wants: the model's abilities, the prompt's count, the tools.

The prompt is counted over the request as it was read, by the same functions as the meter's.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects import gemini_signatures
from omni_grpc.simulator.dialects.gemini_body import Content, FunctionDeclaration, GeminiBody, Part
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("count_media", "understand")

_STORED: Final = re.compile(r"https://[^/]+/v1beta/files/")
"""The addresses of Google's Files API."""

_LOW_TOKENS: Final = 1_024
_MEDIUM_TOKENS: Final = 8_192
_MEDIA_TOKENS: Final = {
    "IMAGE": tokens.IMAGE_TOKENS,
    "AUDIO": tokens.AUDIO_TOKENS,
    "DOCUMENT": tokens.FILE_TOKENS,
}
_INPUT_OF: Final = {"IMAGE": "image", "AUDIO": "audio", "DOCUMENT": "file"}
_WHOLE_NUMBERS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_NO_SCHEMA_WORDS: Final = frozenset({"nullable", "example", "propertyOrdering"})


def understand(
    chat: GeminiBody, model: str, bare_model: str, facts: SimulatedModel | None
) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    signatures = gemini_signatures.check(chat.contents, model)
    _check_generation_of(chat, model)
    prompt_tokens = _count_prompt(chat)
    if facts is not None:
        _check_ability(chat, facts)
        if prompt_tokens > facts.context_tokens:
            message = (
                f"The input token count ({prompt_tokens}) exceeds the maximum number of tokens "
                f"allowed ({facts.context_tokens})."
            )
            raise Rejected(400, message)
    last_prompt = max((i for i, one in enumerate(chat.contents) if one.is_prompt), default=-1)
    after = chat.contents[last_prompt + 1 :]
    config = chat.generation_config
    limits = (config.max_output_tokens, facts.output_tokens_max if facts else None)
    return Asked(
        model=bare_model,
        seed_facts=_seed_facts(chat, bare_model),
        prompt_tokens=prompt_tokens,
        user_text=chat.contents[last_prompt].text if last_prompt >= 0 else "",
        tool_texts=tuple(_output(one.response) for content in after for one in content.results()),
        tools=_callable_tools(chat),
        tool_must=chat.calling.mode == "ANY",
        form=_form(chat),
        schema=_answer_schema(chat),
        choices=config.candidate_count or 1,
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        stop=tuple(config.stop_sequences or ()),
        effort=_effort(chat),
        seen=_seen(chat, signatures),
    )


def _check_generation_of(chat: GeminiBody, model: str) -> None:
    """What only some generations of models take."""
    if not model.startswith("gemini-") or gemini_signatures.is_strict(model):
        return
    if chat.thinking.thinking_level is not None:
        raise Rejected(400, "Thinking level is not supported for this model.")
    if chat.functions and chat.generation_config.response_mime_type == "application/json":
        message = "Function calling with a response mime type: 'application/json' is unsupported"
        raise Rejected(400, message)


def _check_ability(chat: GeminiBody, facts: SimulatedModel) -> None:
    for index, content in enumerate(chat.contents):
        for part in content.parts:
            needed = _INPUT_OF.get(_modality(part) or "")
            if needed is not None and needed not in facts.inputs:
                message = f"The model '{facts.id}' does not take {needed} input."
                raise Rejected(400, message, param=f"contents[{index}]")
    if chat.functions and not facts.tools:
        raise Rejected(400, f"The model '{facts.id}' does not support function calling.")
    if _form(chat) != "text" and not facts.structured:
        raise Rejected(400, f"JSON mode is not enabled for the model '{facts.id}'.")


# --- the prompt -------------------------------------------------------------------------------
def _count_prompt(chat: GeminiBody) -> int:
    count = tokens.REPLY_PRIMING + sum(count_media(chat).values())
    if chat.system_instruction is not None:
        count += tokens.count_message("system", _texts(chat.system_instruction))
    for content in chat.contents:
        role = "assistant" if content.role == "model" else "user"
        count += tokens.count_message(role, _texts(content))
    for function in chat.functions:
        parameters = _written(function.parameters_json_schema) or _written(function.parameters)
        count += tokens.count_tool(function.name, function.description, parameters)
    if chat.functions:
        count += tokens.TOOLS_OVERHEAD
    config = chat.generation_config
    for schema in (config.response_schema, config.response_json_schema):
        count += tokens.count_text(_written(schema) or "")
    return count


def count_media(chat: GeminiBody) -> dict[str, int]:
    """The prompt's tokens that are no text, by modality."""
    counts: dict[str, int] = {}
    for content in chat.contents:
        for part in content.parts:
            modality = _modality(part)
            if modality is not None:
                counts[modality] = counts.get(modality, 0) + _MEDIA_TOKENS[modality]
    return counts


def _modality(part: Part) -> str | None:
    if part.inline_data is None and part.file_data is None:
        return None
    kind = (part.inline_data and part.inline_data.mime_type) or ""
    kind = kind or (part.file_data and part.file_data.mime_type) or ""
    family = kind.partition("/")[0]
    if family in ("image", "audio"):
        return family.upper()
    return "DOCUMENT" if kind else "IMAGE"


def _whereabouts(part: Part) -> str:
    """Whether media are inline, kept by Google's Files API, or elsewhere."""
    if part.file_data is None:
        return "inline"
    return "stored" if _STORED.match(part.file_data.file_uri) else "url"


def _texts(content: Content) -> Iterator[str]:
    for part in content.parts:
        if part.text is not None:
            yield part.text
        elif part.function_call is not None:
            yield part.function_call.name
            yield bytes(part.function_call.args).decode()
        elif part.function_response is not None:
            yield part.function_response.name
            yield _output(part.function_response.response)


def _output(response: Raw) -> str:
    """What a function brought, as a text."""
    found = msgspec.json.decode(response)
    if isinstance(found, dict) and found.keys() == {"output"} and isinstance(found["output"], str):
        return found["output"]
    return bytes(response).decode()


def _failed(response: Raw) -> bool:
    """Whether a function's response tells an error, under the key that Google names for it."""
    found = msgspec.json.decode(response)
    return isinstance(found, dict) and "error" in found


def _seed_facts(chat: GeminiBody, bare_model: str) -> bytes:
    turns = [
        (
            one.role or "user",
            [part.text for part in one.parts if not part.thought],
            [part.inline_data or part.file_data for part in one.parts],
            [(call.name, call.args) for call in one.calls()],
            [(result.name, result.response) for result in one.results()],
        )
        for one in (*([chat.system_instruction] if chat.system_instruction else ()), *chat.contents)
    ]
    return msgspec.json.encode((bare_model, chat.generation_config.seed, turns))


# --- functions and forms ----------------------------------------------------------------------
def _callable_tools(chat: GeminiBody) -> tuple[AskedTool, ...]:
    if chat.calling.mode == "NONE":
        return ()
    only = chat.calling.allowed_function_names
    return tuple(
        AskedTool(function.name, _schema_of(function) or {"type": "object"})
        for function in chat.functions
        if not only or function.name in only
    )


def _schema_of(function: FunctionDeclaration) -> Json:
    if _written(function.parameters_json_schema):
        return _json(function.parameters_json_schema)
    return _from_openapi(_json(function.parameters))


def _answer_schema(chat: GeminiBody) -> Json:
    config = chat.generation_config
    if _written(config.response_json_schema):
        return _json(config.response_json_schema)
    return _from_openapi(_json(config.response_schema))


def _from_openapi(schema: Json) -> Json:
    """Google's own form of a schema as JSON Schema.

    It has its types in capitals, `nullable`, and its counts as texts.
    """
    if isinstance(schema, list):
        return [_from_openapi(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Json] = {}
    for name, value in schema.items():
        if name == "properties" and isinstance(value, dict):
            made[name] = {key: _from_openapi(one) for key, one in value.items()}
        elif name == "type" and isinstance(value, str):
            kind = value.lower()
            made[name] = [kind, "null"] if schema.get("nullable") else kind
        elif name in _WHOLE_NUMBERS and isinstance(value, str) and value.isdecimal():
            made[name] = int(value)
        elif name in ("items", "anyOf"):
            made[name] = _from_openapi(value)
        elif name not in _NO_SCHEMA_WORDS:
            made[name] = value
    return made


def _written(raw: Raw) -> str | None:
    """JSON text exactly as it stood in the request; None if it was absent or null."""
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _json(raw: Raw) -> Json:
    text = _written(raw)
    return None if text is None else cast("Json", msgspec.json.decode(text))


def _form(chat: GeminiBody) -> Literal["text", "json", "schema"]:
    if chat.generation_config.response_mime_type != "application/json":
        return "text"
    return "json" if _answer_schema(chat) is None else "schema"


def _effort(chat: GeminiBody) -> str | None:
    thinking = chat.thinking
    if thinking.thinking_level is not None:
        return thinking.thinking_level.lower()
    budget = thinking.thinking_budget
    if budget is None or budget < 0:
        return None
    if budget == 0:
        return "none"
    if budget <= _LOW_TOKENS:
        return "low"
    return "medium" if budget <= _MEDIUM_TOKENS else "high"


# --- what was understood ----------------------------------------------------------------------
def _seen(chat: GeminiBody, signatures: int) -> dict[str, Json]:
    """By the OpenAI dialect's names, only what is there."""
    parts = [part for content in chat.contents for part in content.parts]
    kinds = [(_modality(part), _whereabouts(part)) for part in parts]
    results = [one for content in chat.contents for one in content.results()]
    counts: dict[str, Json] = {
        "images": kinds.count(("IMAGE", "inline")),
        "image_urls": kinds.count(("IMAGE", "url")),
        "image_ids": kinds.count(("IMAGE", "stored")),
        "audios": kinds.count(("AUDIO", "inline")),
        "files": kinds.count(("DOCUMENT", "inline")),
        "file_ids": kinds.count(("DOCUMENT", "stored")),
        "file_urls": kinds.count(("DOCUMENT", "url")),
        "system": chat.system_instruction.text if chat.system_instruction else "",
        "tools": [function.name for function in chat.functions],
        "strict_tools": len(chat.functions) if chat.calling.mode == "VALIDATED" else 0,
        "tool_results": len(results),
        "failed_tool_results": sum(_failed(one.response) for one in results),
        "reasoning_blocks": signatures,
        "safety_settings": len(chat.safety_settings or ()),
    }
    config, thinking = chat.generation_config, chat.thinking
    level = thinking.thinking_level
    settings: dict[str, Json] = {
        "tool_choice": _seen_choice(chat),
        "response_format": {"json": "json_object", "schema": "json_schema"}.get(_form(chat)),
        "reasoning_effort": level.lower() if level else None,
        "reasoning_budget": thinking.thinking_budget,
        "reasoning_summary": "auto" if thinking.include_thoughts else None,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "frequency_penalty": config.frequency_penalty,
        "presence_penalty": config.presence_penalty,
        "seed": config.seed,
        "stop": list(config.stop_sequences) if config.stop_sequences else None,
        "logprobs": config.response_logprobs,
        "n": config.candidate_count,
    }
    found: dict[str, Json] = {name: value for name, value in counts.items() if value}
    return found | {name: value for name, value in settings.items() if value is not None}


def _seen_choice(chat: GeminiBody) -> Json:
    calling = chat.calling
    only = calling.allowed_function_names
    if calling.mode == "ANY":
        return {"name": only[0]} if only and len(only) == 1 else "required"
    return {"AUTO": "auto", "NONE": "none"}.get(calling.mode)
