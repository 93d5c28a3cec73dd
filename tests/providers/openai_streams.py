"""Streams of OpenAI's dialect: their pieces, and what a decoder makes of them."""

import json

from raw_provider import answer, delta

from omni_grpc.core.chat import (
    ChatDelta,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.openai.decode import ChatStreamDecoder, decode_completion
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())


def plain(**more):
    return decode_completion(json.dumps(answer(**more)).encode(), FAULTS)


def message(**fields):
    body = answer()
    body["choices"][0]["message"] = {"role": "assistant", "content": None, **fields}
    return decode_completion(json.dumps(body).encode(), FAULTS).choices[0].answer


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), ChatStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    def text(self, choice: int = 0) -> str:
        return "".join(piece.text for piece in self.deltas if piece.choice_index == choice)

    def calls(self) -> list[list[str | None]]:
        calls: dict[int, list] = {}
        for fragment in (one for piece in self.deltas for one in piece.tool_calls):
            call = calls.setdefault(fragment.index, [None, None, ""])
            for place, value in ((0, fragment.id), (1, fragment.name)):
                if value is not None:
                    assert call[place] is None, "told twice"
                    call[place] = value
            call[2] += fragment.arguments_json
        return [calls[index] for index in sorted(calls)]

    def summary(self) -> tuple:
        fields = ("text", "refusal", "reasoning")
        choices = sorted({piece.choice_index for piece in self.deltas})
        of = {one: [piece for piece in self.deltas if piece.choice_index == one] for one in choices}
        return (
            {
                one: [
                    *("".join(getattr(piece, field) for piece in of[one]) for field in fields),
                    [piece.finish_reason for piece in of[one] if piece.finish_reason],
                    [
                        token
                        for piece in of[one]
                        if piece.logprobs
                        for token in piece.logprobs.content or ()
                    ],
                ]
                for one in choices
            },
            self.calls(),
            self.decoder.usage,
            self.decoder.done,
            self.decoder.complete,
            type(self.decoder.fault),
        )


def call(index=None, call_id=None, name=None, arguments=None) -> dict:
    fragment = {"index": index, "id": call_id, "type": "function"}
    fragment["function"] = {"name": name, "arguments": arguments}
    return {key: value for key, value in fragment.items() if value is not None}


def calls(*fragments: dict) -> bytes:
    return delta(tool_calls=list(fragments))
