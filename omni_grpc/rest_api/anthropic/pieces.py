"""A delta that holds several blocks, as pieces in the order in which the model made them.

What streams comes in its order by itself; a kept answer is told again in one delta.
"""

from collections.abc import Iterator

from omni_grpc.core.chat import ChatDelta
from omni_grpc.core.turn_order import Calls, Words, interleaved


def in_order(delta: ChatDelta, chars: int, calls: int) -> Iterator[ChatDelta]:
    """The pieces; `chars` and `calls` is how much of the answer came before the delta."""
    blocks = delta.reasoning_blocks
    if all(one.text_before <= chars and one.calls_before <= calls for one in blocks):
        yield delta
        return
    thought, fragments, left = delta.reasoning, delta.tool_calls, len(blocks)
    last_call = max((one.index for one in fragments), default=-1)
    whole = Words(chars, chars + len(delta.text)), Calls(calls, max(last_call + 1, calls))
    for item in interleaved(blocks, *whole):
        match item:
            case Words():
                yield ChatDelta(text=delta.text[item.start - chars : item.end - chars])
            case Calls():
                made = tuple(one for one in fragments if one.index < item.end)
                fragments = tuple(one for one in fragments if one.index >= item.end)
                yield ChatDelta(tool_calls=made)
            case block:
                left -= 1
                own = max(thought.find(block.text), 0) + len(block.text) if left else len(thought)
                yield ChatDelta(reasoning=thought[:own], reasoning_blocks=(block,))
                thought = thought[own:]
    yield ChatDelta(
        refusal=delta.refusal,
        tool_calls=fragments,
        logprobs=delta.logprobs,
        finish_reason=delta.finish_reason,
        stop_sequence=delta.stop_sequence,
    )
