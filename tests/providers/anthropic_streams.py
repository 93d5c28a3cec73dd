"""Answers and streams of Anthropic's: their pieces, and what a decoder makes of them."""

import json

from omni_grpc.core.chat import ChatDelta, ReasoningBlock
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers.anthropic.decode import decode_message
from omni_grpc.providers.anthropic.stream import MessageStreamDecoder
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 12},
    "service_tier": "priority",
    "server_tool_use": None,
}
WHOLE_USAGE = Usage(
    prompt=60,
    cached_read=30,
    cached_write=20,
    cached_write_1h=5,
    completion=40,
    reasoning=12,
)


def message(*content, **more):
    return {
        "id": "msg_013Zva2CMHLNnjNjJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }


def plain(*content, **more):
    return decode_message(json.dumps(message(*content, **more)).encode(), FAULTS)


def choice(*content, **more):
    return plain(*content, **more).choices[0]


def text(words, **more):
    return {"type": "text", "text": words, **more}


def thinking(words, signature="sig"):
    return {"type": "thinking", "thinking": words, "signature": signature}


def tool(name="f", given=None, call="toolu_1"):
    return {"type": "tool_use", "id": call, "name": name, "input": given or {}}


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), MessageStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def joined(self, field: str) -> str:
        return "".join(getattr(delta, field) for delta in self.deltas)

    @property
    def blocks(self) -> list[ReasoningBlock]:
        return [block for delta in self.deltas for block in delta.reasoning_blocks]

    @property
    def finishes(self) -> list[tuple]:
        ends = [delta for delta in self.deltas if delta.finish_reason]
        return [(delta.finish_reason, delta.stop_sequence) for delta in ends]

    def calls(self) -> list[list]:
        calls: dict[int, list] = {}
        for piece in (one for delta in self.deltas for one in delta.tool_calls):
            call = calls.setdefault(piece.index, [None, None, ""])
            for place, value in ((0, piece.id), (1, piece.name)):
                if value is not None:
                    assert call[place] is None, "told twice"
                    call[place] = value
            call[2] += piece.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        names = ("text", "reasoning", "refusal")
        decoder = self.decoder
        facts = (decoder.id, decoder.model, decoder.usage, decoder.done, decoder.complete)
        texts = [self.joined(name) for name in names]
        return (texts, self.calls(), self.blocks, self.finishes, facts, bool(decoder.fault))


def event(kind, **fields):
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def start(usage=None, **more):
    first = {**USAGE, "output_tokens": 1, "output_tokens_details": None}
    return event("message_start", message=message(**{"usage": usage or first, **more}))


def block(index, begin, *deltas):
    return b"".join(
        (
            event("content_block_start", index=index, content_block=begin),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        )
    )


def words(*pieces):
    return [{"type": "text_delta", "text": piece} for piece in pieces]


def fragments(*pieces):
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def end(reason="end_turn", output=15, sequence=None, **more):
    usage = {} if output is None else {"usage": {"output_tokens": output}}
    delta = {"stop_reason": reason, "stop_sequence": sequence, **more}
    return event("message_delta", delta=delta, **usage)


PING, STOP = event("ping"), event("message_stop")
BASIC = start() + PING + block(0, text(""), *words("Hello", "!")) + end() + STOP
THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Let me "},
    {"type": "thinking_delta", "thinking": "sölve."},
    {"type": "signature_delta", "signature": "EqQB"},
)
REDACTED = block(1, {"type": "redacted_thinking", "data": "EmwK"})
TOOLS = block(2, tool(), *fragments("")) + block(
    3, tool("g", call="toolu_2"), *fragments("", '{"loc', 'ation": "Zürich"}')
)
WHOLE = (
    start()
    + PING
    + THOUGHT
    + REDACTED
    + block(4, text(""), *words("Calling ", "世界."))
    + TOOLS
    + end("tool_use", 89)
    + STOP
)
