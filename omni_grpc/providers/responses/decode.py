"""A whole response in the domain's words.

Whatever bytes a provider sends, this ends in an answer or in a `ProviderFault`, never in another
exception.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import Answer, Choice, Logprobs, ReasoningBlock, ToolCall
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.openai.wire import WireLogprobs, WireTokenLogprob, logprobs_of
from omni_grpc.providers.responses.wire import (
    PARTS_BETWEEN,
    WireItem,
    WireResponse,
    blocks_of,
    finish_of,
    item_of,
    usage_of,
)

_ENDED: Final = frozenset({"completed", "incomplete", None})
"""Statuses of an answer that can be used; compatible providers may leave it out."""

_STATUS_OF_CODE: Final = {
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 500,
    "data_residency_mismatch": 403,
}
"""The HTTP status that an error inside a response would have had."""

_decode_response: Final = msgspec.json.Decoder(WireResponse).decode


def decode_response(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of this dialect.
        ProviderFault: the response failed, in spite of its HTTP status.
    """
    try:
        wire = _decode_response(data)
        items = [item_of(raw) for raw in wire.output or ()]
    except BAD_JSON as error:
        raise faults.malformed(f"its answer is not a response ({error})") from error
    if wire.error or wire.status == "failed":
        raise _failure(wire.error, faults)
    if wire.output is None:
        raise faults.malformed("its answer has no output")
    if wire.status not in _ENDED:
        raise faults.malformed("its answer is not finished")
    answer, logprobs = answer_of([item for item in items if item is not None])
    choice = Choice(
        index=0,
        answer=answer,
        finish_reason=finish_of(
            wire, is_incomplete=wire.status == "incomplete", calls=bool(answer.tool_calls)
        ),
        logprobs=logprobs,
    )
    return ProviderCompletion(
        choices=(choice,),
        usage=usage_of(wire.usage),
        id=generation_id_of(wire.id),
        model=wire.model,
        service_tier=wire.service_tier,
    )


def _failure(error: object, faults: Faults) -> ProviderFault:
    if not isinstance(error, dict):
        return faults.error_object(error or "it failed and gave no reason")
    code = error.get("code")
    if not isinstance(code, str):
        return faults.error_object(error)
    is_content = code.startswith("invalid_") or "image" in code or "policy" in code
    status = _STATUS_OF_CODE.get(code, 400 if is_content else 502)
    return faults.from_answer(status, {}, msgspec.json.encode({"error": error}))


def answer_of(items: list[WireItem]) -> tuple[Answer, Logprobs | None]:
    """The message that an output's items make up, and the probabilities of its text."""
    texts: list[str] = []
    refusals: list[str] = []
    reasoning: list[str] = []
    blocks: list[ReasoningBlock] = []
    calls: list[ToolCall] = []
    tokens: list[WireTokenLogprob] = []
    for item in items:
        parts = item.content or ()
        if item.type == "message":
            texts += [part.text for part in parts if part.text is not None]
            refusals += [part.refusal for part in parts if part.refusal is not None]
            tokens += [token for part in parts for token in part.logprobs or ()]
        elif item.type == "function_call":
            calls.append(
                ToolCall(
                    id=item.call_id or item.id or f"call_{len(calls)}",
                    name=item.name or "",
                    arguments_json=item.arguments or "",
                )
            )
        else:
            blocks += blocks_of(item)
            reasoning += [part.text for part in (*(item.summary or ()), *parts) if part.text]
    answer = Answer(
        text="".join(texts) if texts else None,
        refusal="".join(refusals) if refusals else None,
        reasoning=PARTS_BETWEEN.join(reasoning) if reasoning else None,
        reasoning_blocks=tuple(blocks),
        tool_calls=tuple(calls),
    )
    return answer, logprobs_of(WireLogprobs(content=tuple(tokens))) if tokens else None
