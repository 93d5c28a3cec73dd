"""A whole answer of Cohere's in the domain's words.

Whatever bytes come, this ends in an answer or in a `ProviderFault`, never in another exception.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import Answer, Choice, ToolCall
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.cohere.wire import (
    FAILED,
    PARTS_BETWEEN,
    WireChat,
    WireMessage,
    block_of,
    finish_of,
    logprobs_of,
    usage_of,
)
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of

_decode_chat: Final = msgspec.json.Decoder(WireChat).decode


def decode_chat(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of this dialect.
        ProviderFault: it failed, in spite of its HTTP status.
    """
    try:
        wire = _decode_chat(data)
    except BAD_JSON as error:
        raise faults.malformed(f"its answer is not a chat's ({error})") from error
    if isinstance(wire.message, str):
        raise faults.error_object(wire.message)
    if wire.finish_reason in FAILED:
        raise faults.error_object("it gave up in the middle of its answer")
    if wire.message is None:
        raise faults.malformed("its answer has no message")
    answer = _answer(wire.message)
    choice = Choice(
        index=0,
        answer=answer,
        finish_reason=finish_of(wire.finish_reason, calls=bool(answer.tool_calls)),
        logprobs=logprobs_of(list(wire.logprobs)) if wire.logprobs else None,
    )
    return ProviderCompletion(
        choices=(choice,), usage=usage_of(wire.usage), id=generation_id_of(wire.id)
    )


def _answer(wire: WireMessage) -> Answer:
    parts = wire.content or ()
    texts = [part.text for part in parts if part.text is not None]
    blocks = [block_of(part.thinking, is_plan=False) for part in parts if part.thinking]
    if wire.tool_plan:
        blocks.append(block_of(wire.tool_plan, is_plan=True))
    return Answer(
        text="".join(texts) if texts else None,
        reasoning=PARTS_BETWEEN.join(block.text for block in blocks) if blocks else None,
        reasoning_blocks=tuple(blocks),
        tool_calls=tuple(
            ToolCall(
                id=call.id or f"call_{place}",
                name=(call.function and call.function.name) or "",
                arguments_json=(call.function and call.function.arguments) or "",
            )
            for place, call in enumerate(wire.tool_calls or ())
        ),
    )
