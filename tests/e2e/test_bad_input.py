"""Bad input, bad callers and bad providers, over both transports.

Each meets the error that the API's table names, pays for nothing that was not generated, and
leaves the server and its own connections as good as before.
"""

import asyncio
import itertools
import json
import re
import socket
import struct
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import grpc
import psycopg
import pytest
from gateway import (
    Gateway,
    HttpAnswer,
    HttpConnection,
    Refusal,
    SimulatorThread,
    bearer,
    chat_body,
    eventually,
    refusal,
    running,
)
from omni.admin.v1 import admin_service_pb2 as admin_pb
from omni.admin.v1 import admin_service_pb2_grpc as admin_grpc
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.billing.v1 import billing_service_pb2_grpc as billing_grpc
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni.catalog.v1 import catalog_service_pb2_grpc as catalog_grpc
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc

from omni_grpc.simulator import SIMULATED_MODELS

SAID = "Say something."
PROMPT_COST = 10 * 150
MID_COST = PROMPT_COST + 5 * 600
GOOD_COST = PROMPT_COST + 40 * 600
"""What `sim/fast` costs: 10 tokens in, 40 out; others stop after 5."""

GRANTED = 10**9
T = TypeVar("T")
USER = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=SAID)])
COMPLETE = "/omni.router.v1.RouterService/CompleteChat"


def prompt(model: str = "sim/fast", *messages: pb.Message, **fields: Any) -> pb.ChatPrompt:
    return pb.ChatPrompt(model=model, messages=messages or [USER], **fields)


def says(*parts: pb.Part, **fields: Any) -> pb.ChatPrompt:
    return prompt("sim/vision", pb.Message(role=pb.ROLE_USER, parts=parts, **fields))


class Caller:
    """A tenant on one gRPC channel and one HTTP connection, neither ever made anew."""

    def __init__(self, gateway: Gateway) -> None:
        self.tenant = gateway.tenant(GRANTED)
        self.metadata = bearer(self.tenant.api_key)
        self.channel = grpc.insecure_channel(gateway.grpc)
        self.router = pb_grpc.RouterServiceStub(self.channel)
        self.billing = billing_grpc.BillingServiceStub(self.channel)
        self.http = HttpConnection(gateway, self.tenant.api_key)
        self.spent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.__exit__()
        self.channel.close()

    def complete(self, asked: pb.ChatPrompt, timeout: float = 20) -> pb.ChatCompletion:
        request = pb.CompleteChatRequest(prompt=asked)
        answer = self.router.CompleteChat(request, metadata=self.metadata, timeout=timeout)
        return answer.completion

    def stream(self, asked: pb.ChatPrompt, timeout: float = 20) -> list[pb.StreamChatResponse]:
        request = pb.StreamChatRequest(prompt=asked)
        return list(self.router.StreamChat(request, metadata=self.metadata, timeout=timeout))

    def refused(self, asked: pb.ChatPrompt) -> Refusal:
        """How a prompt is refused: whole and streamed alike."""
        whole = refusal(lambda: self.complete(asked))
        streamed = refusal(lambda: self.stream(asked))
        assert (whole.code, whole.reason, whole.message) == (
            streamed.code, streamed.reason, streamed.message,
        )  # fmt: skip
        assert whole.trailers["x-request-id"] == whole.metadata["call_id"]
        return whole

    def balance(self) -> billing_pb.Balance:
        answer = self.billing.GetBalance(billing_pb.GetBalanceRequest(), metadata=self.metadata)
        return answer.balance

    def must_be_served(self) -> None:
        assert self.complete(prompt()).cost_nanousd == GOOD_COST
        assert self.http.chat().status == 200
        self.spent += 2 * GOOD_COST

    def must_have_paid(self, nanousd: int) -> None:
        eventually(lambda: self.balance().available_nanousd == GRANTED - nanousd)
        balance = self.balance()
        assert GRANTED - balance.posted_nanousd == nanousd
        assert (balance.held_nanousd, balance.unresolved_nanousd) == (0, 0)


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    """Whatever the test does, both connections serve after it, and only `spent` was charged."""
    with Caller(gateway) as made:
        yield made
        made.must_be_served()
        made.must_have_paid(made.spent)


_FAULT = re.compile(
    r'"level": "(error|critical)"|Unexpected|omni_grpc/|never retrieved|Abort error'
)
"""What a line of the log says of a fault of ours, in our words and in those of our libraries."""


@pytest.fixture(scope="module", autouse=True)
def quiet(gateway: Gateway) -> Iterator[None]:
    """No input of a caller makes the server log an exception, or leaves a call running."""
    before = len(gateway.log())
    yield
    assert not [line for line in gateway.log()[before:].splitlines() if _FAULT.search(line)]

    def running_calls() -> str:
        with urllib.request.urlopen(f"{gateway.rest}/metrics", timeout=10) as answer:
            found = re.search(r"^omni_calls_running (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found
        return found[1]

    assert eventually(lambda: running_calls() == "0.0")


# --- keys -----------------------------------------------------------------------------------------
UNKNOWN_KEY = "omni_" + "0" * 12 + "_" + "A" * 43


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "API_KEY_MISSING"),
        ("", "API_KEY_MISSING"),
        ("Bearer ", "API_KEY_MISSING"),
        ("Bearer x", "API_KEY_INVALID"),
        ("Basic dXNlcjpwYXNz", "API_KEY_INVALID"),
        ("Bearer " + "k" * 5_000, "API_KEY_INVALID"),
        (f"Bearer {UNKNOWN_KEY}", "API_KEY_INVALID"),
        ("Bearer {prefix}" + "A" * 43, "API_KEY_INVALID"),
        ("Bearer {key}x", "API_KEY_INVALID"),
    ],
)
def test_without_a_valid_key_nothing_is_done(
    gateway: Gateway, caller: Caller, authorization: str | None, reason: str
) -> None:
    key = caller.tenant.api_key
    sent = authorization and authorization.format(prefix=key[:-43], key=key)
    metadata = () if sent is None else (("authorization", sent),)
    request = pb.StreamChatRequest(prompt=prompt())
    found = refusal(lambda: caller.router.StreamChat(request, metadata=metadata))
    assert (found.code, found.reason) == ("UNAUTHENTICATED", reason)
    assert set(found.details) == {"ErrorInfo"}
    with HttpConnection(gateway, None) as http:
        headers = {} if sent is None else {"authorization": sent}
        answer = http.ask(body=chat_body(), **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["code"] == "invalid_api_key"
        assert answer.error["omni"]["reason"] == reason
        assert http.chat().status == 401
        assert answer.error["message"] == found.message


def test_a_revoked_key_is_refused_at_once_also_while_it_was_in_use(
    gateway: Gateway, caller: Caller
) -> None:
    with gateway.admin() as omni:
        made = omni.create_api_key(f"orgs/{caller.tenant.org}")
    request = pb.CompleteChatRequest(prompt=prompt())
    with HttpConnection(gateway, made.secret) as http:
        caller.router.CompleteChat(request, metadata=bearer(made.secret))
        assert http.chat().status == 200
        caller.spent += 2 * GOOD_COST
        stub = admin_grpc.AdminServiceStub(caller.channel)
        revoke = admin_pb.RevokeApiKeyRequest(name=made.api_key.name)
        stub.RevokeApiKey(revoke, metadata=bearer(gateway.admin_key))
        found = refusal(lambda: caller.router.CompleteChat(request, metadata=bearer(made.secret)))
        assert (found.code, found.reason) == ("UNAUTHENTICATED", "API_KEY_INVALID")
        answer = http.chat()
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


# --- bytes that are no request --------------------------------------------------------------------
@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff",
        b"\x0a\x50cut short",
        b"\x0b" * 1_000,  # groups without an end
    ],
)
@pytest.mark.parametrize(
    "method",
    [
        COMPLETE,
        "/omni.router.v1.RouterService/StreamChat",
        "/omni.billing.v1.BillingService/GetBalance",
        "/omni.catalog.v1.CatalogService/ListModels",
    ],
)
def test_bytes_that_are_no_message_are_refused_in_words(
    caller: Caller, method: str, data: bytes
) -> None:
    make = caller.channel.unary_stream if method.endswith("StreamChat") else None
    call = (make or caller.channel.unary_unary)(method)
    found = refusal(lambda: call(data, metadata=caller.metadata, timeout=10))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


@pytest.mark.parametrize("text", [b"\xff\xfe\xfd", b"a\xed\xa0\x80b", b"\xc0\x80"])
def test_texts_that_are_no_utf8_are_refused(caller: Caller, text: bytes) -> None:
    model = prompt("x" * len(text)).SerializeToString().replace(b"x" * len(text), text)
    said = says(pb.Part(text="x" * len(text))).SerializeToString().replace(b"x" * len(text), text)
    for asked in (model, said):
        data = b"\x0a%c%b" % (len(asked), asked)
        call = caller.channel.unary_unary(COMPLETE)
        found = refusal(lambda call=call, data=data: call(data, metadata=caller.metadata))
        assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


def test_what_the_contract_does_not_have_is_unimplemented(caller: Caller) -> None:
    for method in ("/omni.router.v1.RouterService/Nothing", "/omni.nothing.v1.Service/Nothing"):
        call = caller.channel.unary_unary(method)
        found = refusal(lambda call=call: call(b"", metadata=caller.metadata, timeout=10))
        assert (found.code, found.reason) == ("UNIMPLEMENTED", None)
    for path, method, status in (("/v1/nothing", "GET", 404), ("/v1/models", "PUT", 405)):
        assert caller.http.ask(path, method=method).status == status


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"model":"sim/fast"', None),
        (b"\x00\x01\x02", None),
        (b'{"model":"sim/fast","messages":[{"role":"user","content":"\xff\xfe"}]}', None),
        (b'{"model":"sim/fast","messages":[{"role":"user","content":"\xed\xa0\x80"}]}', None),
        (b'{"model":"sim/fast","messages":[{"role":"user","content":"\\ud800"}]}', None),
        (chat_body(text="a\0b"), "messages[0].content"),
        (chat_body()[:-1] + b',"more":' + b"[" * 200_000 + b"]" * 200_000 + b"}", None),
        (chat_body(model=5), "model"),
        (b'{"model":"sim/fast"}', "messages"),
        (chat_body(messages="hi"), "messages"),
        (chat_body(messages=[]), "messages"),
        (chat_body(messages=[{"role": "robot", "content": "x"}]), "messages[0].role"),
        (chat_body(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (chat_body(max_tokens=-1), "max_tokens"),
        (chat_body(max_tokens="10"), "max_tokens"),
        (chat_body(temperature="hot"), "temperature"),
        (chat_body(stream="yes"), "stream"),
        (chat_body(stream_options={"include_usage": True}), "stream_options"),
        (chat_body(model="sim/small", max_tokens=2_000), "max_completion_tokens"),
    ],
)
def test_bodies_that_are_no_chat_name_their_field(
    caller: Caller, body: bytes, param: str | None
) -> None:
    answer = caller.http.ask(body=body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_value"
    assert answer.error["param"] == param
    assert "x-should-retry" not in answer.headers


# --- messages of the right type that cannot be ----------------------------------------------------
DEEP = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
IMAGE = pb.Image(uri="https://example.com/a.png")
WRONG_FIELDS: dict[str, tuple[pb.ChatPrompt, str]] = {
    "nothing": (pb.ChatPrompt(), "prompt.model"),
    "no messages": (pb.ChatPrompt(model="sim/fast"), "prompt.messages"),
    "too many": (prompt("sim/fast", *[USER] * 2_049), "prompt.messages"),
    "no role": (prompt("sim/fast", pb.Message(parts=USER.parts)), "prompt.messages[0].role"),
    "unknown role": (
        prompt("sim/fast", USER, pb.Message(role=99, parts=USER.parts)),
        "prompt.messages[1].role",
    ),
    "no parts": (prompt("sim/fast", pb.Message(role=pb.ROLE_USER)), "prompt.messages[0].parts"),
    "empty part": (says(pb.Part()), "prompt.messages[0].parts[0]"),
    "a file's path": (
        says(pb.Part(image=pb.Image(uri="file:///etc/passwd"))),
        "prompt.messages[0].parts[0].image.uri",
    ),
    "NUL in a text": (says(pb.Part(text="a\0b")), "prompt.messages[0].parts[0].text"),
    "NUL in a name": (says(pb.Part(text="a"), name="\0"), "prompt.messages[0].name"),
    "NUL in a detail": (
        says(pb.Part(image=pb.Image(uri=IMAGE.uri, detail="\0"))),
        "prompt.messages[0].parts[0].image.detail",
    ),
    "NUL in a format": (
        says(pb.Part(audio=pb.Audio(data=b"x", format="\0"))),
        "prompt.messages[0].parts[0].audio.format",
    ),
    "NUL in a file's id": (
        says(pb.Part(file=pb.File(file_id="\0"))),
        "prompt.messages[0].parts[0].file.file_id",
    ),
    "NUL in the model": (prompt("sim/\0"), "prompt.model"),
    "NUL in a schema": (
        prompt(tools=[pb.Tool(name="f", parameters_json='{"a":"\\u0000"}')]),
        "prompt.tools[0].parameters_json",
    ),
    "NUL in a bias": (
        prompt(sampling=pb.Sampling(logit_bias={"\0": 1.0})),
        "prompt.sampling.logit_bias",
    ),
    "NUL in the effort": (prompt("sim/reasoner", reasoning_effort="\0"), "prompt.reasoning_effort"),
    "a page as the effort": (
        prompt("sim/reasoner", reasoning_effort="x" * 65),
        "prompt.reasoning_effort",
    ),
    "a page as a call's id": (
        prompt(
            "sim/fast",
            pb.Message(role=pb.ROLE_TOOL, parts=USER.parts, tool_call_id="x" * 4_097),
        ),
        "prompt.messages[0].tool_call_id",
    ),
    "a schema too deep": (
        prompt(tools=[pb.Tool(name="f", parameters_json=DEEP)]),
        "prompt.tools[0].parameters_json",
    ),
    "a schema with a brace too many": (
        prompt(tools=[pb.Tool(name="f", parameters_json='{"a":1}}')]),
        "prompt.tools[0].parameters_json",
    ),
    "unknown tool mode": (
        prompt(tools=[pb.Tool(name="f")], tool_choice=pb.ToolChoice(mode=99)),
        "prompt.tool_choice.mode",
    ),
    "unknown short_credits": (prompt(short_credits=99), "prompt.short_credits"),
    "negative limit": (prompt(max_output_token_count=-1), "prompt.max_output_token_count"),
    "no output": (prompt(max_output_token_count=0), "prompt.max_output_token_count"),
    "NaN": (prompt(sampling=pb.Sampling(temperature=float("nan"))), "prompt.sampling.temperature"),
    "no choices": (prompt(sampling=pb.Sampling(choice_count=0)), "prompt.sampling.choice_count"),
    "top_logprobs alone": (
        prompt(sampling=pb.Sampling(top_logprob_count=2)),
        "prompt.sampling.top_logprob_count",
    ),
}


@pytest.mark.parametrize("name", WRONG_FIELDS)
def test_a_field_that_cannot_be_is_named(caller: Caller, name: str) -> None:
    asked, field = WRONG_FIELDS[name]
    found = caller.refused(asked)
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert set(found.details) == {"ErrorInfo", "BadRequest"}
    assert found.field == field
    assert found.message.startswith(field)


def test_names_of_any_length_are_answered_within_what_clients_take(caller: Caller) -> None:
    stub = catalog_grpc.CatalogServiceStub(caller.channel)
    for name in ("x" * 230, "é" * 230, "漢" * 230, "x" * 9_000_000):
        request = catalog_pb.GetModelRequest(name=f"providers/sim/models/{name}")
        found = refusal(
            lambda request=request: stub.GetModel(request, metadata=caller.metadata, timeout=10)
        )
        assert found.reason == ("NOT_FOUND" if len(name) == 230 else "FIELD_INVALID")
    for name in ("x" * 100_000, "漢" * 100_000):
        found = caller.refused(prompt(sampling=pb.Sampling(logit_bias={name: 101.0})))
        assert found.reason == "FIELD_INVALID"
        assert found.field.startswith("prompt.sampling.logit_bias")
        assert found.message.endswith("…")


TOOL = {"type": "function", "function": {"name": "f"}}
UNSERVED: dict[str, tuple[pb.ChatPrompt, dict[str, Any], str, str, int, str, str]] = {
    "unknown model": (
        prompt("sim/nothing"), {"model": "sim/nothing"},
        "NOT_FOUND", "MODEL_NOT_FOUND", 404, "model_not_found", "model",
    ),
    "unknown omni": (
        prompt("omni/nothing"), {"model": "omni/nothing"},
        "NOT_FOUND", "MODEL_NOT_FOUND", 404, "model_not_found", "model",
    ),
    "known elsewhere": (
        prompt("openai/gpt-4o"), {"model": "openai/gpt-4o"},
        "NOT_FOUND", "MODEL_NOT_FOUND", 404, "model_not_found", "model",
    ),
    "tools": (
        prompt("sim/small", tools=[pb.Tool(name="f")]), {"model": "sim/small", "tools": [TOOL]},
        "INVALID_ARGUMENT", "FEATURE_UNSUPPORTED", 400, "unsupported_feature", "model",
    ),
    "reasoning": (
        prompt(reasoning_effort="high"), {"reasoning_effort": "high"},
        "INVALID_ARGUMENT", "FEATURE_UNSUPPORTED", 400, "unsupported_feature", "model",
    ),
    "too long": (
        prompt("sim/small", pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="word " * 9_000)])),
        {"model": "sim/small", "text": "word " * 9_000},
        "INVALID_ARGUMENT", "CONTEXT_TOO_LONG", 400, "context_length_exceeded", "messages",
    ),
    "none can": (
        prompt("omni/auto", max_output_token_count=2**30),
        {"model": "omni/auto", "max_tokens": 2**30},
        "FAILED_PRECONDITION", "NO_CAPABLE_MODEL", 400, "no_capable_model", "model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSERVED)
def test_what_no_model_here_can_do_is_refused_by_name(caller: Caller, name: str) -> None:
    asked, fields, code, reason, status, openai_code, param = UNSERVED[name]
    found = caller.refused(asked)
    assert (found.code, found.reason) == (code, reason)
    detail = {"NOT_FOUND": "ResourceInfo", "INVALID_ARGUMENT": "BadRequest"}.get(code, "ErrorInfo")
    assert detail in found.details
    for stream in (False, True):
        answer = caller.http.chat(**fields, stream=stream)
        assert answer.status == status
        assert answer.error["type"] == "invalid_request_error"
        assert (answer.error["code"], answer.error["param"]) == (openai_code, param)
        assert answer.error["message"] == found.message


# --- sizes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_20_megabytes_are_refused_by_grpc_itself(
    caller: Caller, compression: grpc.Compression
) -> None:
    request = pb.CompleteChatRequest(prompt=says(pb.Part(text="a" * 20_000_000)))
    found = refusal(
        lambda: caller.router.CompleteChat(
            request, metadata=caller.metadata, timeout=30, compression=compression
        )
    )
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", None)


def test_20_megabytes_are_refused_over_rest_with_a_length_and_without(caller: Caller) -> None:
    part = b" " * 1_000_000
    for body in (part * 20, (part for _ in range(20))):
        answer = caller.http.ask(body=body)
        assert answer.status == 413
        assert answer.error["code"] == "request_too_large"
        assert answer.error["omni"]["reason"] == "TOO_LARGE"


async def test_a_megabyte_for_a_model_of_8k_is_refused_while_other_streams_flow(
    gateway: Gateway, caller: Caller
) -> None:
    text = "Then the word is said again. " * 36_000
    parts = [pb.Part(text=text[: len(text) // 2]), pb.Part(text=text[len(text) // 2 :])]
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        stream = pb_grpc.RouterServiceStub(channel).StreamChat(
            pb.StreamChatRequest(prompt=prompt("sim/slow")), metadata=caller.metadata, timeout=30
        )
        times: list[float] = []

        async def follow() -> None:
            times.extend([time.monotonic() async for _ in stream])

        following = asyncio.create_task(follow())
        for one in ([pb.Part(text=text)], parts):
            asked = prompt("sim/small", pb.Message(role=pb.ROLE_USER, parts=one))
            began = time.monotonic()
            found = await asyncio.to_thread(caller.refused, asked)
            assert (found.reason, found.field) == ("CONTEXT_TOO_LONG", "messages")
            assert time.monotonic() - began < 20
        answer = await asyncio.to_thread(caller.http.chat, "sim/small", text)
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        await following
    caller.spent += GOOD_COST
    assert len(times) > 30
    assert max(after - before for before, after in itertools.pairwise(times)) < 2.5


# --- time -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("timeout", [-1, 0, 1e-6, 1e-3])
def test_a_deadline_that_is_over_or_nearly_so_costs_the_prompt_at_most(
    caller: Caller, timeout: float
) -> None:
    found = refusal(lambda: caller.complete(prompt("sim/hang"), timeout))
    assert found.code == "DEADLINE_EXCEEDED"
    assert found.reason in (None, "DEADLINE")  # grpc's own clock may be first
    answer = caller.http.ask(body=chat_body("sim/hang"), x_omni_timeout_ms=f"{timeout * 1000:.0f}")
    assert answer.status == 504
    assert answer.error["type"] == "timeout_error"
    assert answer.headers["x-should-retry"] == "false"
    # A millisecond is enough to send the prompt, and then the provider has read it.
    eventually(lambda: caller.balance().held_nanousd == 0)
    caller.spent = GRANTED - caller.balance().posted_nanousd
    assert caller.spent in ([0] if timeout <= 0 else [0, PROMPT_COST, 2 * PROMPT_COST])


def test_a_timeout_that_is_no_number_is_named(caller: Caller) -> None:
    answer = caller.http.ask(body=chat_body(), x_omni_timeout_ms="soon")
    assert (answer.status, answer.error["param"]) == (400, "x-omni-timeout-ms")


# --- HTTP/2 and HTTP/1.1 by hand ------------------------------------------------------------------
class Http2:
    """One gRPC call in frames of our own: what no library would send, left when we please."""

    def __init__(self, gateway: Gateway) -> None:
        host, _, port = gateway.grpc.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self) -> None:
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))

    def headers(self, api_key: str, *more: tuple[bytes, bytes]) -> None:
        pairs = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", COMPLETE.encode()),
            (b":authority", b"test"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"authorization", f"Bearer {api_key}".encode()),
            *more,
        )
        literals = (b"\0%c%b%c%b" % (len(name), name, len(text), text) for name, text in pairs)
        self._socket.sendall(_frame(1, 4, 1, b"".join(literals)))

    def message(self, length: int | None = None) -> None:
        """Sends the message, or as much of it, and then no end."""
        request = pb.CompleteChatRequest(prompt=prompt()).SerializeToString()
        data = b"\0" + struct.pack(">I", len(request)) + request
        self._socket.sendall(_frame(0, int(length is None), 1, data[:length]))

    def status(self) -> int:
        """The call's grpc-status; grpc's server writes it in plain letters."""
        read = b""
        while not (found := re.search(rb"grpc-status.([0-9]+)", read)):
            part = self._socket.recv(65_536)
            assert part, f"the server hung up: {read!r}"
            read += part
        return int(found[1])


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        (b"x-name", "ö".encode(), 0),
        (b"x-name", b"\xf6", 0),
        (b"x-name", b"\0", 0),
        ("x-ö".encode(), b"text", 13),
        (b"x-bytes-bin", b"!!!", 13),
        (b"authorization", "Bearer ö".encode(), 3),  # beside a good one
        (b"x-api-key", "ö".encode(), 3),
        (b"grpc-timeout", b"0n", 4),
        (b"grpc-timeout", b"1n", 4),
        (b"grpc-timeout", b"-1S", 13),
        (b"grpc-timeout", b"soon", 13),
    ],
)
def test_metadata_that_is_not_ascii_or_no_timeout_is_answered_in_order(
    gateway: Gateway, caller: Caller, name: bytes, text: bytes, status: int
) -> None:
    with Http2(gateway) as http2:
        http2.begin()
        http2.headers(caller.tenant.api_key, (name, text))
        http2.message()
        assert http2.status() == status
    caller.spent += GOOD_COST if status == 0 else 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_name": "ö".encode()}, 200),
        ({"x_name": b"\xf6"}, 200),
        ({"authorization": b"Bearer \xf6"}, 401),
        ({"authorization": "Bearer ö".encode()}, 401),
        ({"authorization": b"", "x_api_key": "ö".encode()}, 401),
    ],
)
def test_headers_that_are_not_ascii_are_read_or_refused(
    caller: Caller, headers: dict[str, bytes], status: int
) -> None:
    answer = caller.http.ask(body=chat_body(), **headers)
    assert answer.status == status
    caller.spent += GOOD_COST if status == 200 else 0


def test_metadata_above_the_limit_is_refused(gateway: Gateway, caller: Caller) -> None:
    request = pb.CompleteChatRequest(prompt=prompt())
    metadata = (*caller.metadata, ("x-name", "x" * 1_000_000))
    found = refusal(lambda: caller.router.CompleteChat(request, metadata=metadata, timeout=10))
    assert found.code == "RESOURCE_EXHAUSTED"
    with HttpConnection(gateway, caller.tenant.api_key) as http:
        assert http.ask(body=chat_body(), x_name="x" * 20_000).status == 431


Leave = Callable[[Gateway, str], None]


def _leave_rest(*sent: bytes) -> Leave:
    def leave(gateway: Gateway, api_key: str) -> None:
        host, _, port = gateway.rest.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"".join(sent).replace(b"KEY", api_key.encode()))
            reset = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    return leave


def _leave_grpc(*steps: Callable[[Http2, str], None]) -> Leave:
    def leave(gateway: Gateway, api_key: str) -> None:
        with Http2(gateway) as http2:
            for step in steps:
                step(http2, api_key)

    return leave


_LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
_HEAD = _LINE + b"host: test\r\nauthorization: Bearer KEY\r\ncontent-length: 1000\r\n\r\n"
_CHUNKED = _HEAD.replace(b"content-length: 1000", b"transfer-encoding: chunked")
LEAVES: dict[str, Leave] = {
    "rest: at once": _leave_rest(),
    "rest: within the line": _leave_rest(_LINE[:10]),
    "rest: within the head": _leave_rest(_HEAD[:60]),
    "rest: after the head": _leave_rest(_HEAD),
    "rest: within the body": _leave_rest(_HEAD, chat_body()[:40]),
    "rest: within a chunk": _leave_rest(_CHUNKED, b"100\r\n", chat_body()[:40]),
    "rest: between chunks": _leave_rest(_CHUNKED, b"5\r\n     \r\n"),
    "rest: no HTTP": _leave_rest(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "grpc: at once": _leave_grpc(),
    "grpc: no HTTP/2": _leave_grpc(lambda http2, _: http2._socket.sendall(_LINE)),
    "grpc: after the preface": _leave_grpc(lambda http2, _: http2.begin()),
    "grpc: after the headers": _leave_grpc(
        lambda http2, _: http2.begin(), lambda http2, key: http2.headers(key)
    ),
    "grpc: within the message": _leave_grpc(
        lambda http2, _: http2.begin(),
        lambda http2, key: http2.headers(key),
        lambda http2, _: http2.message(length=12),
    ),
}


@pytest.mark.parametrize("moment", LEAVES)
def test_a_client_that_goes_away_before_it_has_asked_costs_nothing(
    gateway: Gateway, caller: Caller, moment: str
) -> None:
    for _ in range(5):
        LEAVES[moment](gateway, caller.tenant.api_key)


# --- providers ------------------------------------------------------------------------------------
def test_a_provider_that_cannot_be_reached_costs_nothing(own_gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    own_gateway.simulator_url = f"http://127.0.0.1:{port}/v1"
    with running(own_gateway), Caller(own_gateway) as caller:
        found = caller.refused(prompt())
        assert (found.code, found.reason) == ("UNAVAILABLE", "PROVIDER_UNAVAILABLE")
        assert found.details["RetryInfo"].retry_delay.seconds > 0
        assert int(found.trailers["grpc-retry-pushback-ms"]) > 0
        for stream in (False, True):
            answer = caller.http.chat(stream=stream)
            assert (answer.status, answer.error["code"]) == (503, "provider_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        caller.must_have_paid(0)
        assert not _FAULT.search(own_gateway.log())


@dataclass(frozen=True)
class End:
    """How a call ends for its caller and in its usage record."""

    charged: int
    outcome: str
    grpc: str = "OK"
    reason: str | None = None
    http: int = 200
    code: str | None = None


ANSWERED = End(GOOD_COST, "answered")
UNAVAILABLE = End(0, "failed", "UNAVAILABLE", "PROVIDER_UNAVAILABLE", 503, "provider_unavailable")
INTERRUPTED = End(MID_COST, "failed", "ABORTED", "INTERRUPTED", 200, "interrupted")
LATE = End(PROMPT_COST, "cancelled", "DEADLINE_EXCEEDED", "DEADLINE", 504, "deadline_exceeded")
LATE_MID = End(MID_COST, "cancelled", "DEADLINE_EXCEEDED", "DEADLINE", 200, "deadline_exceeded")
OVER_HELD = (len(SAID) + 8 + 32) * 150 + 4_096 * 600
"""What is held for `SAID` and a default output limit: `usage-over` cannot be charged above it."""


def _rejected(status: int) -> End:
    return End(0, "refused", "INVALID_ARGUMENT", "PROVIDER_REJECTED", status, "provider_rejected")


ENDS: dict[str, tuple[End, End]] = {
    "error-400": (_rejected(400),) * 2,
    "error-413": (_rejected(413),) * 2,
    "error-422": (_rejected(422),) * 2,
    **{
        f"error-{status}": (UNAVAILABLE, UNAVAILABLE)
        for status in (401, 403, 404, 408, 409, 429, 500, 502, 503, "quota")
    },
    "hang": (LATE, LATE),
    "hang-headers": (LATE, LATE),
    "hang-mid": (LATE, LATE_MID),
    "error-mid": (UNAVAILABLE, INTERRUPTED),
    **{
        f"{how}{where}": (UNAVAILABLE, UNAVAILABLE)
        for how in ("cut", "fin") for where in ("", "-headers")
    },
    **{
        f"{how}-{where}": (UNAVAILABLE, INTERRUPTED)
        for how in ("cut", "fin") for where in ("mid", "chunk")
    },
    "truncated": (UNAVAILABLE, INTERRUPTED),
    "bad-json": (UNAVAILABLE, INTERRUPTED),
    "no-done": (ANSWERED, ANSWERED),
    "no-usage": (ANSWERED, ANSWERED),
    "usage-twice": (ANSWERED, ANSWERED),
    "usage-every": (ANSWERED, ANSWERED),
    "usage-zero": (End(0, "answered"),) * 2,
    "usage-over": (End(OVER_HELD, "answered"),) * 2,
    "no-limit": (ANSWERED, ANSWERED),
    "wrong-model": (ANSWERED, ANSWERED),
    "long-line": (ANSWERED, ANSWERED),
    "crlf": (ANSWERED, ANSWERED),
}  # fmt: skip


def test_every_fault_of_the_simulator_has_its_end_here() -> None:
    assert set(ENDS) == {model.id for model in SIMULATED_MODELS if model.fault}


@pytest.mark.parametrize("model", ENDS)
def test_a_faulty_provider_costs_what_it_generated_and_is_never_a_clean_end(
    caller: Caller, simulator: SimulatorThread, model: str
) -> None:
    hangs = model.startswith("hang")
    asked = prompt(f"sim/{model}")
    plain, streamed = ENDS[model]

    def came(call: Callable[[float], T]) -> T:
        """What a call brings that came to its provider: a busy machine needs more time for that."""
        for seconds in (0.3, 2.0, 8.0) if hangs else (20.0,):
            before = len(simulator.simulator.log)
            found = call(seconds)
            if len(simulator.simulator.log) > before:
                return found
        raise AssertionError("no call came to its provider in time")

    for end, call in (
        (plain, lambda seconds: caller.complete(asked, seconds)),
        (streamed, lambda seconds: caller.stream(asked, seconds)),
    ):
        if end.grpc == "OK":
            came(call)
        else:
            found = came(lambda seconds, call=call: refusal(lambda: call(seconds)))
            assert found.code == end.grpc
            assert found.reason == end.reason or (found.reason is None and hangs)
            if found.reason is not None:
                said = found.metadata.get("charged_nanousd", "0")
                assert int(said) == end.charged
                assert ("RetryInfo" in found.details) == (end is UNAVAILABLE)
        _check_record(caller, simulator, end)
    for end, stream in ((plain, False), (streamed, True)):
        body = chat_body(f"sim/{model}", stream=stream)
        answer = came(
            lambda seconds, body=body: caller.http.ask(
                body=body, x_omni_timeout_ms=str(int(seconds * 1000))
            )
        )
        _check_answer(answer, end, stream=stream)
        _check_record(caller, simulator, end)
    caller.spent = 2 * (plain.charged + streamed.charged)


def _check_answer(answer: HttpAnswer, end: End, *, stream: bool) -> None:
    assert answer.status == end.http
    if end.code is None:
        assert not stream or answer.events[-1] == "[DONE]"
        return
    error = json.loads(answer.events[-1])["error"] if stream and end.http == 200 else answer.error
    assert "[DONE]" not in answer.events
    assert error["code"] == end.code
    assert int(error["omni"].get("charged_nanousd", "0")) == end.charged
    assert ("retry-after" in answer.headers) == (end is UNAVAILABLE)


def _check_record(caller: Caller, simulator: SimulatorThread, end: End) -> None:
    """What the ledger says of the call that the provider saw last."""
    call_id = simulator.simulator.log[-1].headers["x-client-request-id"]
    request = billing_pb.GetUsageRecordRequest(call_id=call_id)

    def attempts() -> Sequence[billing_pb.AttemptRecord]:
        answer = caller.billing.GetUsageRecord(request, metadata=caller.metadata)
        assert answer.usage_record.account == caller.tenant.account
        return answer.usage_record.attempts

    eventually(lambda: caller.balance().held_nanousd == 0)
    (attempt,) = attempts()
    assert (attempt.outcome, attempt.cost_nanousd) == (end.outcome, end.charged)


def test_what_a_provider_counts_above_the_hold_is_the_operators_loss(
    gateway: Gateway, caller: Caller
) -> None:
    answer = caller.complete(prompt("sim/usage-over"))
    assert answer.cost_nanousd == OVER_HELD
    counted = answer.usage.prompt_token_count * 150 + answer.usage.completion_token_count * 600
    with psycopg.connect(gateway.database_url) as database:
        row = database.execute(
            "SELECT amount, loss FROM posting WHERE id = %s",
            [uuid.UUID(int=uuid.UUID(answer.call_id).int + 1)],
        ).fetchone()
    assert row == (OVER_HELD, counted - OVER_HELD)
    caller.spent += OVER_HELD


def test_a_rate_limited_providers_advice_reaches_the_caller(caller: Caller) -> None:
    found = caller.refused(prompt("sim/error-429"))
    delay = found.details["RetryInfo"].retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)
    assert found.trailers["grpc-retry-pushback-ms"] == "1500"
    answer = caller.http.chat("sim/error-429")
    assert answer.headers["retry-after-ms"] == "1500"
    assert answer.headers["retry-after"] == "2"
