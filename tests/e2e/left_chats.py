"""Chats on either transport that a test can leave at any moment."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc
import pytest
from gateway import (
    Gateway,
    HttpConnection,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    eventually,
    soon,
)
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc

from omni_grpc.catalog.tokens import count_text
from omni_grpc.simulator import CallRecord

MODEL = "sim/fast"
DEADLINES_S = (0.5, 2.0, 8.0, 30.0)
"""What a call is given: the least in which its provider is reached, however busy the machine."""

on_both_transports = pytest.mark.parametrize("transport", ["grpc", "rest"])


class GrpcChat:
    """One chat over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, call: Any) -> None:
        self._channel = channel
        self._call = call
        self.text = ""

    @classmethod
    async def send(
        cls,
        gateway: Gateway,
        tenant: Tenant,
        prompt: str,
        *,
        stream: bool,
        timeout_s: float = 60,
        model: str = MODEL,
        output_tokens_max: int | None = None,
        fallbacks: Sequence[str] = (),
    ) -> "GrpcChat":
        channel = grpc.aio.insecure_channel(gateway.grpc)
        message = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=prompt)])
        asked = pb.ChatPrompt(
            model=model, messages=[message], max_output_token_count=output_tokens_max
        )
        if fallbacks:
            asked.routing.fallback_models.extend(fallbacks)
        stub = pb_grpc.RouterServiceStub(channel)
        given: dict[str, Any] = {
            "metadata": (("authorization", f"Bearer {tenant.api_key}"),),
            "timeout": timeout_s,
        }
        if stream:
            return cls(channel, stub.StreamChat(pb.StreamChatRequest(prompt=asked), **given))
        return cls(channel, stub.CompleteChat(pb.CompleteChatRequest(prompt=asked), **given))

    async def read(self, tokens: int) -> None:
        """Reads events until that many tokens of text came; at 0, the first event alone."""
        while True:
            event = await self._call.read()
            self.text += event.delta.text
            if count_text(self.text) >= tokens:
                return

    async def end(self) -> str:
        """Waits for the end, and reads what is left of a stream; the status."""
        if isinstance(self._call, grpc.aio.UnaryStreamCall):
            with suppress(grpc.RpcError):
                while await self._call.read() is not grpc.aio.EOF:
                    pass
        return (await self._call.code()).name

    async def leave(self) -> None:
        self._call.cancel()
        await self._channel.close()


class RestChat:
    """One chat over REST."""

    def __init__(self, call: RestCall) -> None:
        self._call = call
        self._events: Any = None
        self.text = ""

    @classmethod
    async def send(
        cls,
        gateway: Gateway,
        tenant: Tenant,
        prompt: str,
        *,
        stream: bool,
        timeout_s: float = 60,
        model: str = MODEL,
        output_tokens_max: int | None = None,
        fallbacks: Sequence[str] = (),
    ) -> "RestChat":
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": stream,
        }
        if output_tokens_max is not None:
            body["max_tokens"] = output_tokens_max
        if fallbacks:
            body["omni"] = {"fallback_models": fallbacks}
        limit = {"x_omni_timeout_ms": str(round(timeout_s * 1000))}
        return cls(await RestCall.send(gateway, tenant.api_key, body, **limit))

    async def read(self, tokens: int) -> None:
        """Reads events until that many tokens of text came; at 0, the first event alone."""
        if self._events is None:
            status, _ = await self._call.head()
            assert status == 200
            self._events = self._call.events()
        while True:
            event = await anext(self._events)
            self.text += event["choices"][0]["delta"].get("content") or ""
            if count_text(self.text) >= tokens:
                return

    async def end(self) -> str:
        """Waits for the end; the reason, of an answer or of a stream's last event."""
        if self._events is None:
            status, headers = await self._call.head()
            if headers["content-type"] == "application/json":
                body = await self._call.body(headers)
                return str(body["error"]["omni"]["reason"]) if status != 200 else "OK"
            self._events = self._call.events()
        last: dict[str, Any] = {}
        async for event in self._events:
            last = event
        return str(last["error"]["omni"]["reason"]) if "error" in last else "OK"

    async def leave(self) -> None:
        self._call.close()


CHATS: dict[str, type[GrpcChat] | type[RestChat]] = {"grpc": GrpcChat, "rest": RestChat}


def marked(behaviour: str) -> tuple[str, str]:
    """A prompt for the behaviour, and a mark by which the log's record of its call is found."""
    mark = f"once={uuid.uuid4().hex}"
    return asking(f"{behaviour},{mark}"), mark


async def reached(simulator: SimulatorThread, mark: str, tokens: int = 0) -> CallRecord:
    """The record of a marked call once its provider sent that many tokens."""
    record = await soon(lambda: simulator.record_asked(mark))
    assert record is not None
    assert await soon(lambda: record.prompt_tokens > 0 and record.completion_tokens >= tokens)
    return record


async def past_deadline(
    gateway: Gateway,
    tenant: Tenant,
    simulator: SimulatorThread,
    transport: str,
    behaviour: str,
    *,
    stream: bool,
) -> tuple[CallRecord, float]:
    """The record of a call whose deadline came while its provider had it, and that deadline.

    One that never came to its provider cost nothing, and is made again with more time.
    """
    for timeout_s in DEADLINES_S:
        prompt, mark = marked(behaviour)
        chat = await CHATS[transport].send(
            gateway, tenant, prompt, stream=stream, timeout_s=timeout_s
        )
        assert await chat.end() in {"DEADLINE", "DEADLINE_EXCEEDED"}
        await chat.leave()
        if simulator.record_asked(mark) is not None:
            return await reached(simulator, mark), timeout_s
    raise AssertionError("no call came to its provider in time")


async def answered_after(gateway: Gateway, tenant: Tenant, transport: str, behaviour: str) -> str:
    """The mark of a call that is answered: those that came before it are sent by then, or never."""
    prompt, mark = marked(behaviour)
    chat = await CHATS[transport].send(gateway, tenant, prompt, stream=False)
    assert await chat.end() == "OK"
    await chat.leave()
    return mark


def heard_left(gateway: Gateway) -> float:
    """Of how many calls the service has heard that their callers left."""
    with HttpConnection(gateway, None) as http:
        lines = http.ask("/metrics").body.decode().splitlines()
    counts = (line for line in lines if line.startswith("omni_calls_total{"))
    return sum(float(line.rpartition(" ")[2]) for line in counts if 'reason="CANCELLED"' in line)


async def heard_of_one_more(gateway: Gateway, before: float) -> bool:
    """Waits until the service has heard of one more leaving; whether it has."""
    heard = await asyncio.to_thread(eventually, lambda: heard_left(gateway) > before)
    return bool(heard)
