"""Anthropic's plain answers in the domain's words.

Whatever bytes a provider sends, this ends in an answer or in a `ProviderFault`, never in another
exception. Citations and the blocks of Anthropic's own tools are left out.
"""

from typing import Final

from omni_grpc.core.chat import Answer, Choice, ReasoningBlock, ToolCall
from omni_grpc.providers.anthropic.turns import FORMAT
from omni_grpc.providers.anthropic.wire import (
    JSON_TOOL,
    UsageCounts,
    WireBlock,
    WireMessage,
    block_of,
    decode_wire_message,
    finish_reason_of,
)
from omni_grpc.providers.calls import ProviderCompletion
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of

_NO_INPUT: Final = (b"", b"null")


def decode_message(data: bytes, faults: Faults) -> ProviderCompletion:
    """A whole answer.

    Raises:
        Malformed: the body is no answer of this dialect.
        ProviderFault: the body is an error object in spite of its status.
    """
    try:
        wire = decode_wire_message(data)
        if wire.error:
            raise faults.error_object(wire.error)
        if wire.content is None:
            raise faults.malformed("its answer has no content")
        blocks = [block for raw in wire.content if (block := block_of(raw)) is not None]
        choice = _choice(wire, blocks)
    except BAD_JSON as error:
        raise faults.malformed(f"its answer is not a message ({error})") from error
    counts = UsageCounts()
    counts.take(wire.usage)
    return ProviderCompletion(
        choices=(choice,),
        usage=counts.usage(with_output=True),
        id=generation_id_of(wire.id),
        model=wire.model,
        service_tier=counts.service_tier,
    )


def _choice(wire: WireMessage, blocks: list[WireBlock]) -> Choice:
    text: list[str] = []
    reasoning: list[str] = []
    carried: list[ReasoningBlock] = []
    calls: list[ToolCall] = []
    for block in blocks:
        match block.type:
            case "text":
                text.append(block.text or "")
            case "thinking" | "redacted_thinking":
                reasoning.append(block.thinking or "")
                carried += reasoning_block(block, sum(map(len, text)), len(calls))
            case _ if block.name == JSON_TOOL:
                text.append(input_of(block))
            case _:
                calls.append(_tool_call(block, len(calls)))
    details = wire.stop_details
    return Choice(
        index=0,
        answer=Answer(
            text="".join(text) if text else None,
            refusal=(details and details.explanation) or None,
            reasoning="".join(reasoning) or None,
            reasoning_blocks=tuple(carried),
            tool_calls=tuple(calls),
        ),
        finish_reason=finish_reason_of(
            wire.stop_reason or ("tool_use" if calls else "end_turn"), calls_tools=bool(calls)
        ),
        stop_sequence=wire.stop_sequence,
    )


def reasoning_block(block: WireBlock, chars: int, calls: int) -> tuple[ReasoningBlock, ...]:
    """What must go back in the next turn; nothing for thinking without its proof.

    `chars` and `calls` is how much of the answer came before it.
    """
    if block.data is None and not block.signature:
        return ()
    is_hidden = block.data is not None
    return (
        ReasoningBlock(
            kind="encrypted" if is_hidden else "text",
            format=FORMAT,
            text="" if is_hidden else block.thinking or "",
            signature=None if is_hidden else block.signature,
            data=block.data,
            text_before=chars,
            calls_before=calls,
        ),
    )


def input_of(block: WireBlock) -> str:
    """A tool's arguments as they were written.

    Raises:
        UnicodeDecodeError: they are no UTF-8.
    """
    written = bytes(block.input)
    return "{}" if written in _NO_INPUT else written.decode()


def _tool_call(block: WireBlock, number: int) -> ToolCall:
    return ToolCall(
        id=block.id or f"call_{number}",
        name=block.name or "",
        arguments_json=input_of(block),
    )
