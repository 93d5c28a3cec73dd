"""What a Converse request wants, and what Bedrock refuses about the whole of it.

The conversation's order, its tools and documents, and the fields of Anthropic's models are checked
by the rules of AWS's documents. The prompt is counted by the same functions as the meter's.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, cast

import msgspec
from msgspec import Raw

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, AskedTool
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.bedrock_body import Block, ConverseBody, Message
from omni_grpc.simulator.instances import Json
from omni_grpc.simulator.models import SimulatedModel

__all__ = ("check_whole", "understand")

THINKING_TOKENS_MIN: Final = 1_024
"""Anthropic's smallest budget."""

_DOCUMENT_NAME: Final = re.compile(r"[A-Za-z0-9()\[\]-]+(\s[A-Za-z0-9()\[\]-]+)*")
_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_CLAUDE_FIELDS: Final = frozenset({"thinking", "top_k", "output_config", "anthropic_beta"})


class _Thinking(msgspec.Struct, frozen=True):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class _Effort(msgspec.Struct, frozen=True):
    effort: str | None = None


class _ClaudeFields(msgspec.Struct, frozen=True):
    """What Anthropic's models take beside the common fields."""

    thinking: _Thinking | None = None
    top_k: int | None = None
    output_config: _Effort | None = None


# --- what is refused --------------------------------------------------------------------------
def check_whole(body: ConverseBody, model: str) -> None:
    """Check what no field shows by itself.

    Raises:
        Rejected: 400 and what is wrong.
    """
    _check_turns(body.messages)
    _check_tools(body)
    _check_documents(body.messages)
    if body.schema is not None:
        try:
            msgspec.json.decode(body.schema.encode(), type=dict[str, Raw])
        except msgspec.DecodeError:
            raise Rejected(400, "The JSON schema of outputConfig is not valid.") from None
    if "anthropic." in model:
        _check_claude(body)
    elif "amazon.nova" not in model:
        _check_no_status(body.messages)


def _check_no_status(messages: list[Message]) -> None:
    """Only Claude's and Nova's results have a status, by AWS's documents."""
    if any(block.tool_result and block.tool_result.status for m in messages for block in m.content):
        raise Rejected(400, "This model doesn't support the status field of toolResult.")


def _check_turns(messages: list[Message]) -> None:
    if messages[0].role != "user":
        raise Rejected(
            400,
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message.",
        )
    for place in range(1, len(messages)):
        if messages[place].role == messages[place - 1].role:
            raise Rejected(
                400,
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again.",
            )
    for place, message in enumerate(messages):
        open_calls = set()
        if place and messages[place - 1].role == "assistant":
            before = messages[place - 1].content
            open_calls = {block.tool_use.tool_use_id for block in before if block.tool_use}
        results = {block.tool_result.tool_use_id for block in message.content if block.tool_result}
        if message.role == "user" and results != open_calls:
            where = f"messages.{place}.content"
            missing, surplus = sorted(open_calls - results), sorted(results - open_calls)
            text = (
                f"Expected toolResult blocks at {where} for the following Ids: {', '.join(missing)}"
                if missing
                else f"The toolResult blocks at {where} contain Ids that no toolUse block of the "
                f"previous turn has: {', '.join(surplus)}"
            )
            raise Rejected(400, text, param=where)


def _check_tools(body: ConverseBody) -> None:
    config = body.tool_config
    blocks = [block for message in body.messages for block in message.content]
    if config is None:
        if any(block.tool_use or block.tool_result for block in blocks):
            raise Rejected(
                400,
                "The toolConfig field must be defined when using toolUse and toolResult content "
                "blocks.",
            )
        return
    names = [spec.name for spec in config.specs]
    if len(set(names)) != len(names):
        raise Rejected(400, "The tool names must be unique.", param="toolConfig.tools")
    for spec in config.specs:
        schema = _json(spec.input_schema.json)
        if not isinstance(schema, dict) or schema.get("type") != "object":
            text = f"The value at toolConfig.tools ({spec.name}).inputSchema.json.type must be "
            raise Rejected(400, text + "one of the following: object.")
    choice = config.tool_choice
    if choice is not None and choice.tool is not None and choice.tool.name not in names:
        raise Rejected(400, f"The toolChoice names '{choice.tool.name}', which is no tool.")


def _check_documents(messages: list[Message]) -> None:
    names: set[str] = set()
    for message in messages:
        documents = [block.document for block in message.content if block.document]
        for document in documents:
            if _DOCUMENT_NAME.fullmatch(document.name) is None:
                raise Rejected(
                    400,
                    "The document file name can only contain alphanumeric characters, whitespace "
                    "characters, hyphens, parentheses, and square brackets. The name can't contain "
                    "more than one consecutive whitespace character.",
                )
            if document.name in names:
                raise Rejected(400, "The document names must be unique.")
            names.add(document.name)
        if documents and not any(block.text for block in message.content):
            raise Rejected(400, "A text block must be included when documents are.")
        if message.role == "assistant" and any(
            block.image or block.document or block.tool_result for block in message.content
        ):
            raise Rejected(400, "Images, documents and tool results must be of the user.")


def _check_claude(body: ConverseBody) -> None:
    given = body.additional_model_request_fields or {}
    for name in sorted(set(given) - _CLAUDE_FIELDS):
        text = f"The model returned the following errors: {name}: Extra inputs are not permitted"
        raise Rejected(400, text)
    fields = _claude_fields(body)
    effort = fields.output_config.effort if fields.output_config else None
    if effort is not None and effort not in _EFFORTS:
        raise Rejected(400, "output_config.effort: Input should be 'low', 'medium', 'high' or more")
    thinking = fields.thinking
    if thinking is None or thinking.type == "disabled":
        return
    limit = body.inference_config.max_tokens
    if thinking.type == "enabled":
        budget = thinking.budget_tokens
        if budget is None or budget < THINKING_TOKENS_MIN:
            text = f"thinking.enabled.budget_tokens: should be at least {THINKING_TOKENS_MIN}"
            raise Rejected(400, text)
        if limit is not None and budget >= limit:
            raise Rejected(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.inference_config.temperature not in (None, 1):
        raise Rejected(400, "`temperature` may only be set to 1 when thinking is enabled.")
    if fields.top_k is not None:
        raise Rejected(400, "`top_k` must be unset when thinking is enabled.")
    choice = body.tool_config.tool_choice if body.tool_config else None
    if choice is not None and choice.auto is None:
        raise Rejected(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _claude_fields(body: ConverseBody) -> _ClaudeFields:
    try:
        return msgspec.json.decode(
            msgspec.json.encode(body.additional_model_request_fields or {}), type=_ClaudeFields
        )
    except msgspec.ValidationError as error:
        raise Rejected(400, f"The model returned the following errors: {error}") from None


# --- what is wanted ---------------------------------------------------------------------------
def understand(body: ConverseBody, bare_model: str, facts: SimulatedModel | None) -> Asked:
    """What the request wants; `facts` are its model's, None for a model that has none.

    Raises:
        Rejected: 400, the model cannot do it or the prompt does not fit.
    """
    prompt_tokens = _count_prompt(body)
    if facts is not None:
        _check_ability(body, facts)
        if prompt_tokens > facts.context_tokens:
            raise Rejected(400, "Input is too long for requested model.")
    config = body.inference_config
    last = body.messages[-1]
    limits = (config.max_tokens, facts.output_tokens_max if facts else None)
    choice = body.tool_config.tool_choice if body.tool_config else None
    fields = _claude_fields(body) if "anthropic." in bare_model else _ClaudeFields()
    user_texts = [one.text for one in body.messages if one.role == "user" and one.text]
    return Asked(
        model=bare_model,
        seed_facts=msgspec.json.encode((bare_model, body.system, body.messages)),
        prompt_tokens=prompt_tokens,
        user_text=user_texts[-1] if user_texts else "",
        tool_texts=tuple(
            _inner_text(block.tool_result.content)
            for block in (last.content if last.role == "user" else ())
            if block.tool_result
        ),
        tools=_callable_tools(body),
        tool_must=choice is not None and choice.auto is None,
        form="text" if body.schema is None else "schema",
        schema=None if body.schema is None else cast("Json", msgspec.json.decode(body.schema)),
        tokens_max=min((limit for limit in limits if limit is not None), default=None),
        stop=tuple(config.stop_sequences or ()),
        effort=fields.output_config.effort if fields.output_config else None,
        seen=_seen(body, fields),
    )


def _check_ability(body: ConverseBody, facts: SimulatedModel) -> None:
    blocks = [block for message in body.messages for block in message.content]
    for kind, needed in (("image", "image"), ("audio", "audio"), ("document", "file")):
        if any(getattr(block, kind) for block in blocks) and needed not in facts.inputs:
            raise Rejected(400, f"This model doesn't support the {kind} content block.")
    if body.tool_config is not None and not facts.tools:
        raise Rejected(400, "This model doesn't support tool use.")
    if body.schema is not None and not facts.structured:
        raise Rejected(400, "This model doesn't support the outputConfig.textFormat field.")


def _count_prompt(body: ConverseBody) -> int:
    count = tokens.REPLY_PRIMING
    for said in body.system or ():
        if said.text is not None:
            count += tokens.count_message("system", [said.text], None)
    for message in body.messages:
        count += tokens.count_message(message.role, _texts(message.content), None)
        for block in _all_blocks(message.content):
            count += tokens.image_tokens(None) if block.image else 0
            count += tokens.AUDIO_TOKENS if block.audio else 0
            count += tokens.FILE_TOKENS if block.document else 0
    if body.tool_config is not None:
        count += tokens.TOOLS_OVERHEAD
        for spec in body.tool_config.specs:
            schema = bytes(spec.input_schema.json).decode()
            count += tokens.count_tool(spec.name, spec.description, schema)
    return count + (tokens.count_text(body.schema) if body.schema is not None else 0)


def _all_blocks(blocks: list[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if block.tool_result is not None:
            yield from block.tool_result.content


def _texts(blocks: list[Block]) -> Iterator[str]:
    """Everything that counts as text."""
    for block in _all_blocks(blocks):
        if block.text is not None:
            yield block.text
        if block.tool_use is not None:
            yield block.tool_use.name
            yield bytes(block.tool_use.input).decode()
        if written := bytes(block.json).decode():
            yield written
        thought = block.reasoning_content
        if thought is not None and thought.reasoning_text is not None:
            yield thought.reasoning_text.text


def _inner_text(blocks: list[Block]) -> str:
    return "\n".join(_texts(blocks))


def _callable_tools(body: ConverseBody) -> tuple[AskedTool, ...]:
    if body.tool_config is None:
        return ()
    choice = body.tool_config.tool_choice
    only = choice.tool.name if choice and choice.tool else None
    return tuple(
        AskedTool(spec.name, _json(spec.input_schema.json))
        for spec in body.tool_config.specs
        if only is None or spec.name == only
    )


def _seen(body: ConverseBody, fields: _ClaudeFields) -> dict[str, Json]:
    """What was understood, under the OpenAI dialect's names."""
    blocks = [block for message in body.messages for block in _all_blocks(message.content)]
    marks = [*blocks, *(body.system or ()), *(body.tool_config.tools if body.tool_config else ())]
    counts = {
        "images": sum(block.image is not None for block in blocks),
        "audios": sum(block.audio is not None for block in blocks),
        "files": sum(block.document is not None for block in blocks),
        "reasoning_blocks": sum(block.reasoning_content is not None for block in blocks),
        "tool_results": sum(block.tool_result is not None for block in blocks),
        "failed_tool_results": sum(
            block.tool_result is not None and block.tool_result.status == "error"
            for block in blocks
        ),
        "cache_marks": sum(one.cache_point is not None for one in marks),
    }
    seen: dict[str, Json] = {name: count for name, count in counts.items() if count}
    system = "\n".join(said.text for said in body.system or () if said.text)
    if system:
        seen["system"] = system
    if body.tool_config is not None:
        seen |= _seen_tools(body)
    if body.schema is not None:
        seen["response_format"] = "json_schema"
    config = body.inference_config
    own = {"temperature": config.temperature, "top_p": config.top_p, "top_k": fields.top_k}
    seen |= {name: value for name, value in own.items() if value is not None}
    if config.stop_sequences:
        seen["stop"] = list(config.stop_sequences)
    if fields.output_config is not None and fields.output_config.effort is not None:
        seen["reasoning_effort"] = fields.output_config.effort
    if fields.thinking is not None and fields.thinking.budget_tokens is not None:
        seen["reasoning_budget"] = fields.thinking.budget_tokens
    if fields.thinking is not None and fields.thinking.display is not None:
        seen["reasoning_summary"] = fields.thinking.display
    return seen


def _seen_tools(body: ConverseBody) -> dict[str, Json]:
    config = body.tool_config
    if config is None:
        return {}
    seen: dict[str, Json] = {"tools": [spec.name for spec in config.specs]}
    strict = sum(spec.strict is True for spec in config.specs)
    if strict:
        seen["strict_tools"] = strict
    choice = config.tool_choice
    if choice is not None:
        seen["tool_choice"] = (
            {"name": choice.tool.name}
            if choice.tool
            else "required"
            if choice.any is not None
            else "auto"
        )
    return seen


def _json(raw: Raw) -> Json:
    return cast("Json", msgspec.json.decode(raw))
