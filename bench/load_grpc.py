"""gRPC load over one HTTP/2 connection.

The first answer of the run is decoded and compared with what the provider says; of the others it
is made sure that they have a message and, streamed, that the last one is the completion event.
"""

import asyncio
import time
from typing import Final

from http2 import Call, Connection
from load import ERROR_PAUSE_S, Load, Samples, generator, prompt
from mock_provider import ANSWER, WORDS
from omni.router.v1 import router_service_pb2 as pb

_COMPLETION_TAG: Final = 0x1A
"""The first byte of a StreamChatResponse whose event is the completion."""


def request(load: Load, tokens: int = 256) -> bytes:
    """The bytes of one request."""
    said = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=prompt(load.kind))])
    asked = pb.ChatPrompt(model=load.model, messages=[said], max_output_token_count=tokens)
    if load.kind == "unary":
        return pb.CompleteChatRequest(prompt=asked).SerializeToString()
    return pb.StreamChatRequest(prompt=asked).SerializeToString()


def headers(load: Load) -> list[tuple[bytes, bytes]]:
    """The headers of each request, but method and scheme."""
    method = "CompleteChat" if load.kind == "unary" else "StreamChat"
    return [
        (b":path", f"/omni.router.v1.RouterService/{method}".encode()),
        (b":authority", f"127.0.0.1:{load.port}".encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"omni-grpc-bench"),
        (b"authorization", f"Bearer {load.api_key}".encode()),
    ]


class Caller(Call):
    """Sends a request, waits for the answer, and sends the next."""

    def __init__(self, samples: Samples, connection: Connection, *, verify: bool) -> None:
        super().__init__()
        self._samples = samples
        self._connection = connection
        self._load = samples.load
        self._live = samples.load.kind == "live"
        self._verify = verify
        self._request = request(samples.load)
        self._tokens = WORDS
        self._reset()

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._first = 0.0
        self._events = 0
        self._last = b""
        self._kept: list[bytes] = []

    def send(self) -> None:
        """Sends the next request, if there shall be one."""
        if not self._samples.begin():
            return
        self._reset()
        if self._live:
            self._tokens = self._samples.live_tokens()
            self._request = request(self._load, self._tokens)
        self._connection.send(self, self._request)

    def message(self, data: bytes) -> None:
        """A message of the answer."""
        if not self._first:
            self._first = time.perf_counter()
        self._events += 1
        self._last = data
        if self._live:
            self._samples.tokens(data)
        elif self._verify:
            self._kept.append(data)

    def ended(self, error: str | None) -> None:
        """The call is over."""
        whole = bool(self._last) and (
            self._load.kind == "unary" or self._last[0] == _COMPLETION_TAG
        )
        if whole and self._verify and not self._live and not self._is_right():
            whole, error = False, "not the provider's answer"
        if whole:
            self._verify = False
            now = time.perf_counter()
            self._samples.ok(self._began, self._first, now, self._events, self._tokens)
            self.send()
        else:
            self._samples.failed(error or "ended without a completion")
            asyncio.get_running_loop().call_later(ERROR_PAUSE_S, self.send)

    def _is_right(self) -> bool:
        if self._load.kind == "unary":
            completion = pb.CompleteChatResponse.FromString(self._kept[0]).completion
            text = completion.choices[0].message.parts[0].text
        else:
            said = [pb.StreamChatResponse.FromString(data) for data in self._kept]
            completion = said[-1].completion
            text = "".join(event.delta.text for event in said)
        return text == ANSWER and completion.cost_nanousd > 0


async def run(samples: Samples) -> None:
    """Runs the load."""
    loop = asyncio.get_running_loop()
    load = samples.load
    _, connection = await loop.create_connection(
        lambda: Connection(headers(load)), "127.0.0.1", load.port
    )
    callers = [Caller(samples, connection, verify=number == 0) for number in range(load.callers)]

    def start() -> None:
        for number, caller in enumerate(callers):
            # Live callers come over the first second and a half, others at once.
            pause = 1.5 * number / len(callers) if load.kind == "live" else 0
            loop.call_later(pause, caller.send)

    await samples.run(start)


if __name__ == "__main__":
    generator(run)
