"""Clients that chat, over gRPC and REST, and log exactly what they saw."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc

from harness.provider import prompt
from harness.servers import Life
from omni_grpc.catalog.tokens import count_text

CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
CLIENT_SECONDS_MAX = 40.0
"""More than a call's deadline and the longest freeze: who asks a server that stands still waits."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One call as its client makes it.

    `leave_after` leaves when that many tokens were read (0: at the first event), `leave_ms` after
    that time; `slow_ms` pauses after each event.
    """

    mark: str
    over: str = "grpc"
    stream: bool = True
    model: str = "sim/fast"
    behaviour: str = "tokens=4"
    output_max: int = 64
    deadline_s: float = 20.0
    leave_after: int | None = None
    leave_ms: int | None = None
    slow_ms: int = 0
    request_id: str | None = None

    @property
    def text(self) -> str:
        return prompt(self.mark, self.behaviour)


@dataclass(eq=False)
class Seen:
    """What a client saw of its call.

    `status`: running; answered (whole, with its cost); refused (by a reason, before any answer, or
    in the middle); lost (the connection broke, nobody said why); left (the client went).
    """

    ask: Ask
    server: int
    life: Life
    sent_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    status: str = "running"
    reason: str = ""
    message: str = ""
    call_id: str = ""
    cost: int | None = None
    charged: int | None = None
    balance: int | None = None
    text: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    """What a failure told for programs."""

    @property
    def tokens(self) -> int:
        """How many tokens of the answer were read."""
        return count_text(self.text)

    def end(self, status: str, reason: str = "", message: str = "") -> None:
        self.status, self.reason, self.message = status, reason, message
        self.ended_s = time.monotonic()


class LeftError(Exception):
    """The client goes away now."""


async def chat(ask: Ask, seen: Seen, api_key: str) -> None:
    """Makes the call and fills `seen`; raises nothing but cancellation."""
    over = _over_grpc if ask.over == "grpc" else _over_rest
    limit_s = ask.leave_ms / 1e3 if ask.leave_ms is not None else CLIENT_SECONDS_MAX
    try:
        async with asyncio.timeout(limit_s):
            await over(ask, seen, api_key)
    except (LeftError, TimeoutError):
        # A client whose patience is longer than any limit of the service's saw it hang.
        seen.end("left" if ask.leave_ms is not None or ask.leave_after is not None else "hung")
    except (OSError, EOFError, asyncio.IncompleteReadError) as error:
        seen.end("lost", message=f"{type(error).__name__}: {error}")
    except asyncio.CancelledError:
        seen.end("left")
        raise


async def _pace(ask: Ask, seen: Seen) -> None:
    if ask.leave_after is not None and seen.tokens >= ask.leave_after:
        raise LeftError
    if ask.slow_ms:
        await asyncio.sleep(ask.slow_ms / 1e3)


# --- gRPC ---------------------------------------------------------------------------------------
def chat_prompt(ask: Ask) -> pb.ChatPrompt:
    message = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=ask.text)])
    return pb.ChatPrompt(model=ask.model, messages=[message], max_output_token_count=ask.output_max)


def _with_request_id(request: Any, ask: Ask) -> Any:
    if ask.request_id is not None:
        request.request_id = ask.request_id
    return request


async def _over_grpc(ask: Ask, seen: Seen, api_key: str) -> None:
    given: dict[str, Any] = {
        "metadata": (("authorization", f"Bearer {api_key}"),),
        "timeout": ask.deadline_s,
    }
    async with grpc.aio.insecure_channel(seen.life.grpc, options=CHANNEL_OPTIONS) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        call: Any
        if ask.stream:
            request = _with_request_id(pb.StreamChatRequest(prompt=chat_prompt(ask)), ask)
            call = stub.StreamChat(request, **given)
        else:
            request = _with_request_id(pb.CompleteChatRequest(prompt=chat_prompt(ask)), ask)
            call = stub.CompleteChat(request, **given)
        try:
            if ask.stream:
                await _read_stream(ask, seen, call)
            else:
                _complete(seen, (await call).completion)
        except grpc.RpcError as error:
            _failed(seen, error)
        finally:
            call.cancel()


async def _read_stream(ask: Ask, seen: Seen, call: Any) -> None:
    async for event in call:
        kind = event.WhichOneof("event")
        if kind == "started":
            seen.call_id = event.started.call_id
        elif kind == "delta":
            seen.text += event.delta.text
        else:
            _complete(seen, event.completion)
            return
        await _pace(ask, seen)


def _complete(seen: Seen, completion: pb.ChatCompletion) -> None:
    seen.call_id = completion.call_id
    seen.cost = completion.cost_nanousd
    if completion.HasField("balance_nanousd"):
        seen.balance = completion.balance_nanousd
    for choice in completion.choices:
        seen.text += "".join(part.text for part in choice.message.parts)
    seen.end("answered")


def reason_of(error: Any) -> tuple[str, dict[str, str]]:
    """The reason and the facts of a failed RPC; empty where grpc itself made the failure."""
    status = rpc_status.from_call(error)
    for packed in () if status is None else status.details:
        info = error_details_pb2.ErrorInfo()
        if packed.Is(info.DESCRIPTOR):
            packed.Unpack(info)
            return info.reason, dict(info.metadata)
    return "", {}


def _failed(seen: Seen, error: Any) -> None:
    reason, facts = reason_of(error)
    seen.facts = facts
    seen.call_id = facts.get("call_id", seen.call_id)
    if "charged_nanousd" in facts:
        seen.charged = int(facts["charged_nanousd"])
    if reason:
        seen.end("refused", reason, error.details() or "")
    elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        seen.end("left", "DEADLINE")
    else:
        seen.end("lost", message=f"{error.code()}: {error.details()}")


# --- REST ---------------------------------------------------------------------------------------
def rest_body(ask: Ask) -> bytes:
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [{"role": "user", "content": ask.text}],
        "max_completion_tokens": ask.output_max,
        "stream": ask.stream,
    }
    return json.dumps(body).encode()


class RestConnection:
    """One HTTP/1.1 request on a socket of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def send(
        cls, rest: str, path: str, api_key: str, data: bytes, **headers: str
    ) -> "RestConnection":
        host, _, port = rest.removeprefix("http://").rpartition(":")
        made = cls(*await asyncio.open_connection(host, int(port)))
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {api_key}\r\n"
        head += "content-type: application/json\r\n"
        head += "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        made._writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        return made

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): text for name, _, text in pairs}

    async def body(self, headers: dict[str, str]) -> dict[str, Any]:
        data = await self._reader.readexactly(int(headers["content-length"]))
        found: dict[str, Any] = json.loads(data)
        return found

    async def blocks(self) -> AsyncIterator[str]:
        """The blocks of a stream of server-sent events, comments included."""
        text = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            text += (await self._reader.readexactly(size + 2))[:-2]
            *whole, text = text.split(b"\n\n")
            for block in whole:
                yield block.decode()

    def close(self) -> None:
        self._writer.transport.abort()


async def _over_rest(ask: Ask, seen: Seen, api_key: str) -> None:
    headers = {"x_omni_timeout_ms": str(round(1e3 * ask.deadline_s))}
    if ask.request_id is not None:
        headers["idempotency_key"] = ask.request_id
    path = "/v1/chat/completions"
    connection = await RestConnection.send(seen.life.rest, path, api_key, rest_body(ask), **headers)
    with contextlib.closing(connection):
        status, told = await connection.head()
        seen.call_id = told.get("x-request-id", "")
        if status != 200:
            _refused(seen, await connection.body(told))
        elif ask.stream:
            await _read_events(ask, seen, connection)
        else:
            body = await connection.body(told)
            seen.text = "".join(choice["message"]["content"] or "" for choice in body["choices"])
            seen.cost = body["usage"]["cost_nanousd"]
            seen.end("answered")


def _refused(seen: Seen, body: dict[str, Any]) -> None:
    facts = seen.facts = body["error"].get("omni", {})
    seen.call_id = facts.get("call_id", seen.call_id)
    if "charged_nanousd" in facts:
        seen.charged = int(facts["charged_nanousd"])
    seen.end("refused", facts.get("reason", ""), body["error"]["message"])


async def _read_events(ask: Ask, seen: Seen, connection: RestConnection) -> None:
    async for block in connection.blocks():
        if block.startswith(": omni "):
            facts = json.loads(block.removeprefix(": omni "))
            seen.cost, seen.balance = facts["cost_nanousd"], facts["balance_nanousd"]
        for line in block.split("\n"):
            if line == "data: [DONE]":
                seen.end("answered")
                return
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    _refused(seen, event)
                    return
                for choice in event["choices"]:
                    seen.text += choice["delta"].get("content") or ""
        await _pace(ask, seen)
    raise EOFError("the stream ended without [DONE]")
