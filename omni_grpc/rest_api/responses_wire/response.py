"""The `response` object and the items of its output.

Beside OpenAI's fields `usage` says what the call was charged: `cost`, a decimal text of dollars
without loss, and `cost_nanousd`. Ids are made of the call's, so that a repeat has the same.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal
from uuid import UUID

import msgspec

from omni_grpc.core.chat import (
    ChatCompletion,
    Choice,
    FinishReason,
    ReasoningBlock,
    TokenLogprob,
)
from omni_grpc.core.ids import CallId
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import UsageSource
from omni_grpc.rest_api.openai.chat_completion import savings_object
from omni_grpc.rest_api.responses_wire.reasoning import ReasoningSeal
from omni_grpc.rest_api.responses_wire.request import Order
from omni_grpc.rest_api.responses_wire.wire import WireTool

JsonObject = dict[str, object]
Status = Literal["in_progress", "completed", "incomplete", "failed"]

_PREFIX: Final = "resp_"
_HEX_CHARS: Final = 32
_INCOMPLETE: Final[dict[FinishReason, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_EMPTY: Final[tuple[object, ...]] = ()


# --- names ------------------------------------------------------------------------------------
def response_id(call_id: str) -> str:
    """The id of a call's response."""
    return _PREFIX + call_id.replace("-", "")


def call_id_of_response(text: str) -> CallId | None:
    """The call of a response's id; None where it is none."""
    digits = text.removeprefix(_PREFIX)
    if len(text) != len(_PREFIX) + _HEX_CHARS or len(digits) != _HEX_CHARS:
        return None
    try:
        return CallId(UUID(hex=digits))
    except ValueError:
        return None


def item_id(kind: Literal["rs", "msg", "fc"], call_id: str, index: int) -> str:
    """The id of an output's item."""
    return f"{kind}_{call_id.replace('-', '')}{index:02x}"


# --- items ------------------------------------------------------------------------------------
def reasoning_item(
    name: str, thoughts: str, blocks: Sequence[ReasoningBlock], seal: ReasoningSeal
) -> JsonObject:
    """What the model thought, as far as it tells."""
    item: JsonObject = {
        "id": name,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": thoughts}] if thoughts else [],
    }
    if blocks:
        item["encrypted_content"] = seal.seal(blocks)
    return item


def message_item(name: str, status: Status, content: Sequence[JsonObject]) -> JsonObject:
    """What the model said."""
    return {
        "id": name,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def text_part(
    text: str, logprobs: Iterable[TokenLogprob] = (), annotations: Sequence[object] = _EMPTY
) -> JsonObject:
    """A text of a message."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": annotations,
        "logprobs": [_logprob(token) for token in logprobs],
    }


def refusal_part(text: str) -> JsonObject:
    """A refusal."""
    return {"type": "refusal", "refusal": text}


def output_of(choice: Choice, frame: "ResponseFrame", seal: ReasoningSeal) -> list[JsonObject]:
    """The items of a whole answer: reasoning, the message, calls."""
    answer, call_id = choice.answer, frame.call_id
    output: list[JsonObject] = []
    status: Status = "incomplete" if choice.finish_reason in _INCOMPLETE else "completed"
    if answer.reasoning or answer.reasoning_blocks:
        name = item_id("rs", call_id, 0)
        thoughts = answer.reasoning or ""
        output.append(reasoning_item(name, thoughts, answer.reasoning_blocks, seal))
    parts = []
    if answer.text:
        logprobs = choice.logprobs and choice.logprobs.content
        parts.append(text_part(answer.text, logprobs or (), _annotations(answer.annotations)))
    if answer.refusal:
        parts.append(refusal_part(answer.refusal))
    if parts:
        output.append(message_item(item_id("msg", call_id, len(output)), status, parts))
    for call in answer.tool_calls:
        name = item_id("fc", call_id, len(output))
        output.append(frame.call_item(name, status, call.id, call.name, call.arguments_json))
    return output


class _Citation(msgspec.Struct, frozen=True):
    url: str
    title: str = ""
    start_index: int = 0
    end_index: int = 0


class _Annotation(msgspec.Struct, frozen=True):
    type: str
    url_citation: _Citation | None = None


_decode_annotations: Final = msgspec.json.Decoder(tuple[_Annotation, ...]).decode


def _annotations(raw: msgspec.Raw | None) -> list[JsonObject]:
    """A chat's annotations in this API's form; those that are not citations of pages are not."""
    if raw is None:
        return []
    try:
        found = _decode_annotations(raw)
    except msgspec.MsgspecError:
        return []
    return [
        {"type": "url_citation", **msgspec.structs.asdict(one.url_citation)}
        for one in found
        if one.url_citation is not None
    ]


def _logprob(token: TokenLogprob) -> JsonObject:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": token.bytes or list(token.token.encode()),
        "top_logprobs": [
            {
                "token": top.token,
                "logprob": top.logprob,
                "bytes": top.bytes or list(top.token.encode()),
            }
            for top in token.top_logprobs
        ],
    }


# --- the whole --------------------------------------------------------------------------------
class ResponseFrame:
    """What all objects of one response have in common: its name, and the request repeated."""

    __slots__ = ("_fields", "_tools", "call_id")

    def __init__(
        self, call_id: str, model: str, create_time: int, order: Order, *, is_stored: bool
    ) -> None:
        """`is_stored` is whether the response shall be kept."""
        self.call_id = call_id
        self._tools = order.tools
        self._fields = {
            "id": response_id(call_id),
            "object": "response",
            "created_at": create_time,
            "model": model,
            "store": is_stored,
            **_repeated(order),
        }

    def call_item(
        self, name: str, status: Status, call_id: str, function: str, text: str
    ) -> JsonObject:
        """A call of a function, with the text of its arguments."""
        space, own = self._tools.own_name(function)
        item: JsonObject = {
            "id": name,
            "type": "function_call",
            "status": status,
            "call_id": call_id,
            "name": own,
            "arguments": text,
        }
        if space is not None:
            item["namespace"] = space
        return item

    def response(
        self,
        status: Status,
        output: Sequence[JsonObject],
        *,
        error: JsonObject | None = None,
        incomplete: str | None = None,
        completion: ChatCompletion | None = None,
        completed_at: int | None = None,
    ) -> JsonObject:
        """The object as it stands."""
        made: JsonObject = {
            **self._fields,
            "status": status,
            "error": error,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "output": output,
        }
        if status == "failed":
            made["store"] = False
        if completed_at is not None:
            made["completed_at"] = completed_at
        if completion is not None:
            made["usage"] = usage_object(completion)
            if completion.service_tier in _TIERS:
                made["service_tier"] = completion.service_tier
        return made

    def ended(
        self,
        output: Sequence[JsonObject],
        finish_reason: FinishReason | None,
        completion: ChatCompletion,
        now: int,
    ) -> JsonObject:
        """The object of an answer that came to its end."""
        incomplete = None if finish_reason is None else _INCOMPLETE.get(finish_reason)
        if incomplete is not None:
            return self.response("incomplete", output, incomplete=incomplete, completion=completion)
        return self.response("completed", output, completion=completion, completed_at=now)


def _repeated(order: Order) -> JsonObject:
    wire = order.wire
    text = wire.text
    found: JsonObject = {
        "background": False,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata or {},
        "parallel_tool_calls": order.parallel_tool_calls,
        "previous_response_id": wire.previous_response_id,
        "reasoning": {"effort": wire.effort, "summary": wire.summary},
        "temperature": wire.temperature,
        "text": _text_settings(order),
        "tool_choice": _tool_choice(order),
        "tools": [_tool(tool) for tool in wire.tools or ()],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": wire.top_p,
        "truncation": "disabled",
    }
    if text is not None and text.verbosity is not None:
        found["text"] = {**_text_settings(order), "verbosity": text.verbosity}
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        value = getattr(wire, name)
        if value is not None:
            found[name] = value
    return found


def _text_settings(order: Order) -> JsonObject:
    form = order.wire.form
    if form is None or form.type != "json_schema":
        return {"format": {"type": "text" if form is None else form.type}}
    found = {
        "type": form.type,
        "name": form.name,
        "schema": _on_one_line(bytes(form.schema)),
        "strict": form.strict,
    }
    if form.description is not None:
        found["description"] = form.description
    return {"format": found}


def _tool(tool: WireTool) -> JsonObject:
    found: JsonObject = {"type": tool.type, "name": tool.name}
    if tool.type == "namespace":
        found["tools"] = [_tool(inner) for inner in tool.tools or ()]
        found["description"] = tool.description or ""
        return found
    found["parameters"] = _on_one_line(bytes(tool.parameters))
    found["strict"] = tool.strict
    if tool.description is not None:
        found["description"] = tool.description
    return found


def _tool_choice(order: Order) -> object:
    choice = order.wire.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    if choice.type == "function":
        return {"type": "function", "name": choice.name}
    tools = [{"type": tool.type, "name": tool.name} for tool in choice.tools or ()]
    return {"type": choice.type, "mode": choice.mode or "auto", "tools": tools}


def _on_one_line(text: bytes) -> msgspec.Raw | None:
    """JSON as it was written, but for the white space that an event cannot have."""
    return None if not text else msgspec.Raw(msgspec.json.format(text, indent=-1))


def usage_object(completion: ChatCompletion) -> JsonObject:
    """What the call used and cost. A count that was not reported is 0."""
    usage = completion.usage
    prompt, answer = usage.prompt or 0, usage.completion or 0
    found: JsonObject = {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached_read or 0,
            "cache_write_tokens": usage.cached_write or 0,
        },
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + answer,
        "cost": msgspec.Raw(usd_text(completion.cost_nanousd).encode()),
        "cost_nanousd": completion.cost_nanousd,
    }
    if completion.savings is not None:
        found["savings"] = savings_object(completion.savings)
    if usage.source is UsageSource.ESTIMATE:
        found["estimated"] = True
    return found
