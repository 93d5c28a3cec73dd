"""What tests against the simulator share: a stream put together, and one that is cut short."""

import asyncio
import random
from collections.abc import AsyncIterator

from omni_grpc.catalog import tokens
from omni_grpc.core.chat import Answer, ChatDelta, Message, ReasoningBlock, ToolCall
from omni_grpc.providers import ChatProvider, ProviderStream, UpstreamCall
from omni_grpc.simulator import CallRecord, Simulator

OPENING_TURNS = 60
"""So many turns of the loop an opening takes, and a little more."""

LATEST_CANCEL_TOKENS = 12
"""Of an answer of 15: what is cancelled there ends before it is whole."""


def nothing() -> None:
    """Nobody counts."""


class Whole:
    """A choice of a stream, put together. A call is its id, its name and its arguments."""

    def __init__(self) -> None:
        self.text = self.reasoning = self.refusal = ""
        self.blocks: tuple[ReasoningBlock, ...] = ()
        self.calls: dict[int, list[str]] = {}
        self.tokens: list[str] = []
        self.finish: str | None = None
        self.stop_sequence: str | None = None

    def add(self, delta: ChatDelta) -> None:
        """Takes a piece; only the first of a call names it, and nothing follows the end."""
        assert self.finish is None, "nothing comes after the finish reason"
        self.text += delta.text
        self.reasoning += delta.reasoning
        self.refusal += delta.refusal
        self.blocks += delta.reasoning_blocks
        for call in delta.tool_calls:
            if call.index in self.calls:
                assert call.id is None
                assert call.name is None
            else:
                assert call.id
                assert call.name
                self.calls[call.index] = [call.id, call.name, ""]
            self.calls[call.index][2] += call.arguments_json
        if delta.logprobs is not None:
            self.tokens += [token.token for token in delta.logprobs.content or ()]
        self.finish, self.stop_sequence = delta.finish_reason, delta.stop_sequence

    def answer(self) -> Answer:
        """As a plain answer has it."""
        return Answer(
            text=self.text or None,
            refusal=self.refusal or None,
            reasoning=self.reasoning or None,
            reasoning_blocks=self.blocks,
            tool_calls=tuple(
                ToolCall(id=call_id, name=name, arguments_json=arguments)
                for call_id, name, arguments in self.calls.values()
            ),
        )

    def turn(self) -> Message:
        """As it goes back in the next turn."""
        answer = self.answer()
        return Message(
            role="assistant",
            content=answer.text,
            refusal=answer.refusal,
            reasoning=answer.reasoning,
            reasoning_blocks=answer.reasoning_blocks,
            tool_calls=answer.tool_calls,
        )


async def read_choices(stream: ProviderStream) -> dict[int, Whole]:
    """A stream that was awaited, read to its end, by choice."""
    choices: dict[int, Whole] = {}
    async for deltas in stream:
        for delta in deltas:
            choices.setdefault(delta.choice_index, Whole()).add(delta)
    return choices


async def read(stream: ProviderStream) -> Whole:
    """A stream of one choice that was awaited, read to its end."""
    choices = await read_choices(stream)
    assert choices.keys() <= {0}
    return choices.get(0) or Whole()


async def last_record(simulator: Simulator) -> CallRecord:
    """What the simulator knows of its last call, when it is over."""
    async with asyncio.timeout(20):
        while not simulator.log or simulator.log[-1].outcome == "running":
            await asyncio.sleep(0.001)
    return simulator.log[-1]


async def cancelled_at_random(
    provider: ChatProvider, simulator: Simulator, call: UpstreamCall, count: int = 40
) -> AsyncIterator[tuple[ProviderStream, CallRecord]]:
    """Streams of 15 tokens that are cancelled at random moments, and their records.

    All that was sent of each is told, also what came with the cancelling.
    """
    chance = random.Random(11)
    for _ in range(count):
        stream = provider.open_stream(call, nothing)
        told: list[str] = []

        async def run(stream: ProviderStream = stream, told: list[str] = told) -> None:
            try:
                async for deltas in await stream:
                    told.extend(delta.text for delta in deltas)
            except asyncio.CancelledError:
                told.extend(delta.text for delta in await stream.cancel())
                raise

        before = len(simulator.log)
        task = asyncio.ensure_future(run())
        await _some_moment(chance, task, simulator, before)
        task.cancel()
        await asyncio.wait({task})
        await stream.aclose()
        if not stream._opening.dispatch.started or len(simulator.log) == before:  # type: ignore[attr-defined] # how far it came
            continue
        record = await last_record(simulator)
        assert tokens.count_text("".join(told)) == record.completion_tokens
        yield stream, record


async def _some_moment(
    chance: random.Random, task: asyncio.Task[None], simulator: Simulator, before: int
) -> None:
    """While a stream opens, or when some of it was sent; however fast the machine is."""
    turns, sent = chance.randrange(OPENING_TURNS), chance.randrange(LATEST_CANCEL_TOKENS)
    if chance.random() < 0.4:
        for _ in range(turns):
            await asyncio.sleep(0)
        return
    while not task.done() and not any(
        record.completion_tokens >= sent for record in simulator.log[before:]
    ):
        await asyncio.sleep(0)
