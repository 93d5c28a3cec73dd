"""Whatever comes in: a typed error that names its field, and a connection that still works."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from raw_client import HELLO, RawClient, chat
from rest_rig import KEY, Service

from omni_grpc.core.errors import FieldInvalid, OmniError
from omni_grpc.core.ids import AccountId
from omni_grpc.core.limits import REQUEST_BYTES_MAX
from omni_grpc.rest_api import protocol
from omni_grpc.rest_api.anthropic import Signatures
from omni_grpc.rest_api.anthropic.request import read_messages
from omni_grpc.rest_api.openai import read_chat
from omni_grpc.rest_api.openai.completions_request import read_completions
from omni_grpc.rest_api.responses_wire import ReasoningSeal
from omni_grpc.rest_api.responses_wire.request import read_order
from omni_grpc.storage import Sealer

TOOL = {"type": "function", "function": {"name": "f"}}
USER = {"role": "user", "content": "x"}


def body(**fields: Any) -> bytes:
    return chat(**fields)


def messages(*given: Any) -> bytes:
    return chat(messages=list(given))


def parts(*given: Any) -> bytes:
    return messages({"role": "user", "content": list(given)})


def form(**schema: Any) -> bytes:
    return chat(response_format={"type": "json_schema", "json_schema": schema})


def raw_body(fields: bytes) -> bytes:
    return b'{"model":"sim/fast","messages":[{"role":"user","content":"x"}],' + fields + b"}"


NESTED = b"[" * 50_000 + b"]" * 50_000

BAD: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"{", None),
    (b"[]", None),
    (b"null", None),
    (b'"text"', None),
    (b"\xef\xbb\xbf{}", None),
    (chat() + b" trailing", None),
    (b"{'model': 'm'}", None),
    (b"{}", "model"),
    (b'{"model":"m"}', "messages"),
    (b'{"model":"","messages":[]}', "model"),
    (b'{"model":null,"messages":[]}', "model"),
    (body(model=5), "model"),
    (body(model="m" * 257), "model"),
    (body(messages=[]), "messages"),
    (body(messages="hi"), "messages"),
    (body(messages=[USER] * 2_049), "messages"),
    (messages({}), "messages[0].role"),
    (messages(USER, {"role": "robot", "content": "x"}), "messages[1].role"),
    (messages({"role": "function", "name": "f", "content": "x"}), "messages[0].role"),
    (messages({"role": "user"}), "messages[0].content"),
    (messages({"role": "user", "content": None}), "messages[0].content"),
    (messages({"role": "user", "content": []}), "messages[0].content"),
    (messages({"role": "user", "content": 5}), "messages[0].content"),
    (messages({"role": "user", "content": {}}), "messages[0].content"),
    (messages({"role": "assistant"}), "messages[0].content"),
    (messages({"role": "assistant", "tool_calls": []}), "messages[0].content"),
    (messages({"role": "tool", "content": "x"}), "messages[0].tool_call_id"),
    (messages({"role": "tool", "content": "x", "tool_call_id": ""}), "messages[0].tool_call_id"),
    (messages({**USER, "tool_call_id": "call_1"}), "messages[0].tool_call_id"),
    (messages({**USER, "refusal": "no"}), "messages[0].refusal"),
    (messages({**USER, "reasoning_content": "hm"}), "messages[0].reasoning_content"),
    (messages({**USER, "name": 5}), "messages[0].name"),
    (
        messages({"role": "assistant", "content": "x", "audio": {"id": "a"}}),
        "messages[0].audio",
    ),
    (
        messages({"role": "assistant", "function_call": {"name": "f"}, "content": "x"}),
        "messages[0].function_call",
    ),
    (
        messages({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}),
        "messages[0].tool_calls[0].type",
    ),
    (
        messages({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}),
        "messages[0].tool_calls[0].function.arguments",
    ),
    (parts({}), "messages[0].content[0].type"),
    (parts({"type": "hologram"}), "messages[0].content[0].type"),
    (parts({"type": "text"}), "messages[0].content[0].text"),
    (parts({"type": "text", "text": 5}), "messages[0].content[0].text"),
    (parts({"type": "text", "text": "x"}, 5), "messages[0].content[1]"),
    (parts({"type": "image_url", "image_url": "https://x"}), "messages[0].content[0].image_url"),
    (
        parts({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        "messages[0].content[0].image_url.url",
    ),
    (
        parts({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
        "messages[0].content[0].input_audio.data",
    ),
    (parts({"type": "file", "file": {}}), "messages[0].content[0].file"),
    (parts(*[{"type": "text", "text": "x"}] * 513), "messages[0].content"),
    (body(max_tokens=0), "max_tokens"),
    (body(max_tokens=-1), "max_tokens"),
    (body(max_tokens=1.5), "max_tokens"),
    (body(max_tokens="10"), "max_tokens"),
    (body(max_tokens=2**31), "max_tokens"),
    (body(max_tokens=10**30), "max_tokens"),
    (body(max_completion_tokens=0), "max_completion_tokens"),
    (body(max_tokens=1, max_completion_tokens=2), "max_completion_tokens"),
    (body(stream="yes"), "stream"),
    (body(stream_options={"include_usage": True}), "stream_options"),
    (body(stream=False, stream_options={}), "stream_options"),
    (body(stream=True, stream_options=[]), "stream_options"),
    (body(n=0), "n"),
    (body(n=9), "n"),
    (body(n=True), "n"),
    (body(temperature=-0.1), "temperature"),
    (body(temperature=2.1), "temperature"),
    (body(temperature="hot"), "temperature"),
    (raw_body(b'"temperature":1e999'), "temperature"),
    (raw_body(b'"temperature":NaN'), None),
    (raw_body(b'"temperature":Infinity'), None),
    (raw_body(b'"other":[NaN]'), None),
    (body(top_p=1.01), "top_p"),
    (body(frequency_penalty=-2.1), "frequency_penalty"),
    (body(presence_penalty=2.1), "presence_penalty"),
    (body(seed=2**63), "seed"),
    (body(stop=["x"] * 17), "stop"),
    (body(stop=""), "stop"),
    (body(stop=["x", 5]), "stop[1]"),
    (body(top_logprobs=2), "top_logprobs"),
    (body(logprobs=False, top_logprobs=2), "top_logprobs"),
    (body(logprobs=True, top_logprobs=21), "top_logprobs"),
    (body(logprobs=5), "logprobs"),
    (body(logit_bias={"1": 101}), "logit_bias"),
    (body(logit_bias=[]), "logit_bias"),
    (body(tools=[TOOL] * 513), "tools"),
    (body(tools=[{"type": "custom", "custom": {"name": "f"}}]), "tools[0].type"),
    (body(tools=[{"function": {"name": "f"}}]), "tools[0].type"),
    (body(tools=[{"type": "function", "function": {}}]), "tools[0].function.name"),
    (
        body(tools=[TOOL, {"type": "function", "function": {"name": "a b"}}]),
        "tools[1].function.name",
    ),
    (
        body(tools=[{"type": "function", "function": {"name": "f\n"}}]),
        "tools[0].function.name",
    ),
    (
        body(tools=[{"type": "function", "function": {"name": "f" * 65}}]),
        "tools[0].function.name",
    ),
    (
        body(tools=[{"type": "function", "function": {"name": "f", "parameters": []}}]),
        "tools[0].function.parameters",
    ),
    (
        body(tools=[{"type": "function", "function": {"name": "f", "parameters": "{}"}}]),
        "tools[0].function.parameters",
    ),
    (body(tool_choice="sometimes", tools=[TOOL]), "tool_choice"),
    (body(tool_choice="auto"), "tool_choice"),
    (
        body(tool_choice={"type": "function", "function": {"name": "g"}}, tools=[TOOL]),
        "tool_choice.function.name",
    ),
    (body(tool_choice={"type": "allowed_tools"}, tools=[TOOL]), "tool_choice.type"),
    (body(response_format={"type": "xml"}), "response_format.type"),
    (body(response_format={"type": "json_schema"}), "response_format.json_schema"),
    (form(), "response_format.json_schema.name"),
    (form(name="a b"), "response_format.json_schema.name"),
    (form(name="a", schema=[]), "response_format.json_schema.schema"),
    (body(reasoning_effort=""), "reasoning_effort"),
    (body(reasoning_effort=5), "reasoning_effort"),
    (body(omni={"short_credits": "maybe"}), "omni.short_credits"),
    (body(omni={"short_credit": "refuse"}), "omni.short_credit"),
    (body(functions=[{"name": "f"}]), "functions"),
    (body(function_call="auto"), "function_call"),
    (body(modalities=["text", "audio"]), "modalities"),
    (body(audio={"voice": "alloy", "format": "wav"}), "audio"),
    (raw_body(b'"other":"a\\u0000b"'), "other"),
    (raw_body(b'"other":{"deep":[1,{"er":"a\\\\\\u0000b"}]}'), "other.deep[1].er"),
    (raw_body(b'"other":{"a\\u0000":1}'), "other"),
    (messages(USER, {"role": "user", "content": "a\0b"}), "messages[1].content"),
    (raw_body(b'"other":"a\0b"'), None),
    (raw_body(b'"other":"\\ud800 and on it goes"'), None),
    (raw_body(b'"other":"\\udc00"'), None),
    (raw_body(b'"other":"\\ud800\\u0041"'), None),
    (raw_body(b'"other":"\xff"'), None),
    (raw_body(b'"other":"\xed\xa0\x80"'), None),
    (b'{"model":"sim/\xff","messages":[]}', None),
    (raw_body(b'"other":' + NESTED), None),
    (b'{"model":"m","messages":' + NESTED + b"}", "messages[0]"),
    (raw_body(b'"tools":[{"type":"function","function":{"name":"f","parameters":%b}}]' % NESTED),
     None),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "param"), BAD, ids=range(len(BAD)))
def test_a_bad_body_is_refused_by_the_name_of_its_field(sent: bytes, param: str | None) -> None:
    with pytest.raises(FieldInvalid) as refused:
        read_chat(sent)
    assert refused.value.field == param
    assert 10 < len(refused.value.message) < 400
    assert "msgspec" not in refused.value.message


def test_a_wrong_word_is_answered_with_the_right_ones() -> None:
    with pytest.raises(FieldInvalid, match=r"'robot'\. Use system, developer, user"):
        read_chat(messages({"role": "robot", "content": "x"}))


SIGNATURES = Signatures(ReasoningSeal(Sealer(b"secret", b"reasoning"), AccountId(1)))


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"priority": "cheapest"}, "Use one of cheap, balanced, best."),
        ({"latency_preference": "slow"}, "Use one of normal, fast."),
        ({"task": "knitting"}, "Use one of chat, coding, "),
        ({"short_credits": "borrow"}, "Use one of refuse, shorten."),
        ({"max_cost_usd": "$1"}, 'Use an amount of dollars, such as 0.002 or "0.002".'),
    ],
)
def test_a_wrong_wish_is_answered_with_its_choices_on_every_surface(
    wishes: dict[str, str], words: str
) -> None:
    turn = {"role": "user", "content": "x"}
    rest = {"model": "m", "omni": wishes}
    readers: list[tuple[Callable[[bytes], object], dict[str, object]]] = [
        (read_chat, {"messages": [turn]}),
        (read_completions, {"prompt": "x"}),
        (lambda sent: read_messages(sent, SIGNATURES), {"messages": [turn], "max_tokens": 1}),
        (read_order, {"input": "x"}),
    ]
    for read, fields in readers:
        with pytest.raises(FieldInvalid) as refused:
            read(json.dumps(rest | fields).encode())
        assert words in refused.value.message
        assert refused.value.field == f"omni.{next(iter(wishes))}"


@pytest.mark.parametrize(
    "sent",
    [
        raw_body(b'"other":"\\\\u0000"'),
        raw_body(b'"other":"\\\\\\\\u0000"'),
        raw_body(b'"other":"\\ud83d\\ude00"'),
        raw_body(b'"other":1e999'),
        raw_body(b'"temperature":null,"stop":null,"tools":null,"n":null,"stream":null'),
        body(top_p=0, temperature=2, n=8, seed=-(2**63), logprobs=True, top_logprobs=0),
        body(max_tokens=5, max_completion_tokens=5),
        body(modalities=["text"], audio=None, functions=None, function_call=None),
        body(tool_choice="none"),
        body(stop="x"),
        body(stream=True, stream_options={"include_usage": None, "include_obfuscation": False}),
        messages({"role": "user", "content": ""}),
        messages({"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        messages({"role": "assistant", "content": None, "refusal": "no"}),
        messages({"role": "assistant", "content": "x", "refusal": None, "annotations": [],
                  "audio": None, "function_call": None, "tool_calls": None}),
    ],
)  # fmt: skip
def test_a_good_body_is_taken(sent: bytes) -> None:
    read_chat(sent)


async def test_bad_bodies_answer_400_and_the_connection_goes_on(
    service: Service, raw: RawClient
) -> None:
    for sent, param in BAD[::7]:
        answer = await raw.ask(sent)
        assert answer.status == 400
        assert answer.error["param"] == param
        assert answer.error["type"] == "invalid_request_error"
    assert (await raw.ask(chat())).status == 200
    assert service.gates.running == 0


async def test_no_content_type_is_needed(raw: RawClient) -> None:
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "\xff"}):
        assert (await raw.ask(chat(), headers=headers)).status == 200


async def test_a_compressed_body_is_refused_by_name(raw: RawClient) -> None:
    answer = await raw.ask(b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answer.status, answer.error["param"]) == (400, "content-encoding")
    assert (await raw.ask(chat())).status == 200


@pytest.mark.parametrize("extra", [1, 2 * REQUEST_BYTES_MAX])
async def test_a_body_above_the_limit_is_413_and_the_connection_goes_on(
    raw: RawClient, extra: int
) -> None:
    answer = await raw.ask(chat().ljust(REQUEST_BYTES_MAX + extra))
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert (await raw.ask(chat())).status == 200


async def test_a_body_at_the_limit_is_read(raw: RawClient) -> None:
    sent = chat()
    assert (await raw.ask(sent.ljust(REQUEST_BYTES_MAX))).status == 200


async def test_a_chunked_body_is_read_and_bounded(raw: RawClient) -> None:
    chunked = {"transfer-encoding": "chunked"}
    sent = chat()
    await raw.send(headers=chunked)
    for byte in sent:
        raw.writer.write(b"1\r\n%c\r\n" % byte)
    raw.writer.write(b"0\r\n\r\n")
    assert (await raw.answer()).status == 200

    await raw.send(headers=chunked)
    block = b" " * 2**20
    for _ in range(11):
        raw.writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        await raw.writer.drain()
    raw.writer.write(b"0\r\n\r\n")
    assert (await raw.answer()).status == 413
    assert (await raw.ask(chat())).status == 200


async def test_an_endless_body_ends_the_connection(raw: RawClient) -> None:
    await raw.send(length=10**12)
    answer = await raw.answer()
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert await raw.ended()


async def test_who_waits_for_100_continue_is_told_before_sending(raw: RawClient) -> None:
    await raw.send(length=REQUEST_BYTES_MAX + 1, headers={"expect": "100-continue"})
    assert (await raw.answer()).status == 413
    assert await raw.ended()


async def test_who_waits_for_100_continue_gets_it_and_an_answer(raw: RawClient) -> None:
    sent = chat()
    await raw.send(length=len(sent), headers={"expect": "100-continue"})
    assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.writer.write(sent)
    assert (await raw.answer()).status == 200


async def test_a_header_that_is_not_ascii_is_no_key(raw: RawClient) -> None:
    answer = await raw.ask(chat(), key="omni_\xe9\xff")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    answer = await raw.ask(chat(), headers={"x-odd": "\xe9"})
    assert answer.status == 200


@pytest.mark.parametrize(
    "line", [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\0", b"\xff" * 100]
)
async def test_what_is_no_http_is_400_in_the_same_shape(
    service: Service, raw: RawClient, line: bytes
) -> None:
    raw.writer.write(line)
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    assert await raw.ended()
    assert service.endings.seen == []


@pytest.mark.parametrize("size", [17_000, 100_000])
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx-long: ", b"GET /"])
@pytest.mark.parametrize("end", [b" HTTP/1.1\r\nhost: x\r\n\r\n", b""])
async def test_a_head_above_the_limit_is_431_whole_or_not(
    service: Service, raw: RawClient, start: bytes, size: int, end: bytes
) -> None:
    raw.writer.write(start + b"x" * size + end)
    answer = await raw.answer()
    assert (answer.status, answer.error["code"]) == (431, "request_too_large")
    assert await raw.ended()
    assert service.endings.seen == []


async def test_a_large_body_behind_a_small_head_is_no_large_head(raw: RawClient) -> None:
    sent = chat(messages=[{"role": "user", "content": "x" * 100_000}])
    for _ in range(2):
        assert (await raw.ask(sent)).status == 200


async def test_a_head_that_does_not_end_ends_the_connection(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS_MAX", 0.05)
    silent = await RawClient.connect(service)
    assert await silent.ended()
    silent.leave()
    await raw.ask(chat())
    raw.writer.write(b"GET / HTTP/1.1\r\nx-long: ")
    assert await raw.ended()


async def test_a_request_without_end_ends_the_connection(
    service: Service, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MESSAGE_BYTES_MAX", 100_000)
    await raw.send(b"2\r\n{}\r\n0\r\nx-trailer: ", headers={"transfer-encoding": "chunked"})

    async def send_on() -> None:
        while True:
            raw.writer.write(b"x" * 1_000)
            await raw.writer.drain()
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await send_on()
    assert await service.endings.next() == ["CANCELLED"]


WORDS = st.sampled_from(
    ["model", "messages", "role", "content", "user", "assistant", "tool", "text", "type", "tools",
     "function", "name", "stream", "stop", "n", "image_url", "url", "json_schema", "schema", "omni",
     "tool_call_id", "tool_calls", "response_format", "max_tokens", "logit_bias", "\0", "\u2028"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)


@hypothesis.settings(max_examples=150)
@hypothesis.given(fields=st.dictionaries(WORDS | st.text(max_size=5), JSON, max_size=6))
def test_any_json_is_a_request_or_a_named_fault(fields: dict[str, Any]) -> None:
    for given in (fields, {"model": "m", "messages": HELLO, **fields}):
        try:
            read_chat(json.dumps(given).encode())
        except OmniError as error:
            assert error.http_status == 400
            assert error.message


@hypothesis.settings(max_examples=200)
@hypothesis.given(cut=st.integers(0, 200), junk=st.binary(max_size=8), place=st.integers(0, 200))
def test_damaged_bytes_are_a_request_or_a_fault(cut: int, junk: bytes, place: int) -> None:
    whole = chat(stop=["a"], tools=[TOOL], other={"a": "\u20ac\n"}, stream=True)
    try:
        read_chat(whole[:place] + junk + whole[place + cut % 7 :])
    except OmniError as error:
        assert error.http_status == 400


def test_the_key_is_in_no_error() -> None:
    with pytest.raises(FieldInvalid) as refused:
        read_chat(body(**{KEY: 1, "temperature": 9}))
    assert KEY not in refused.value.message
