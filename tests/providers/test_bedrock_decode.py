"""Converse's documented answers and streams, in the domain's words, however they are cut."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.chat import ChatDelta, ReasoningBlock, ToolCall
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    StreamError,
)
from omni_grpc.providers.aws_events import AwsEventParser
from omni_grpc.providers.bedrock.decode import ConverseStreamDecoder, decode_answer
from omni_grpc.providers.bedrock.wire import usage_of
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.sse import BrokenFramingError, EventTooLongError
from omni_grpc.simulator.dialects.bedrock_frames import message

FAULTS = Faults("p", ("hidden-key",), SystemClock())
TEXT = ReasoningBlock(kind="text", format="bedrock", text="I think.", signature="c2ln")
REDACTED = ReasoningBlock(kind="encrypted", format="bedrock", data="ZW5j")


# --- plain --------------------------------------------------------------------------------------
def whole(*blocks: object, **more: object) -> bytes:
    body = {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658},
        "metrics": {"latencyMs": 1275},
        **more,
    }
    return json.dumps(body).encode()


def plain(*blocks: object, **more: object):
    return decode_answer(whole(*blocks, **more), FAULTS)


def test_a_plain_answer_is_read():
    found = plain({"text": "Here is "}, {"text": "a list."}, serviceTier={"type": "flex"})
    (choice,) = found.choices
    assert choice.answer.text == "Here is a list."
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert found.usage == Usage(prompt=30, completion=628)
    assert found.service_tier == "flex"
    assert (found.id, found.model) == (None, None)


def test_all_of_a_message_is_read():
    answer = decode_answer(
        whole(
            {"reasoningContent": {"reasoningText": {"text": "I think.", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "ZW5j"}},
            {"text": "So: "},
            {"citationsContent": {"content": [{"text": "cited"}], "citations": []}},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": "HERE"}},
            {"toolUse": {"toolUseId": "t2", "name": "g"}},
            {"toolUse": {"toolUseId": "t3", "name": "web", "type": "server_tool_use"}},
            {"somethingNew": {}},
            stopReason="tool_use",
        ).replace(b'"HERE"', b'{ "a" :1.0}'),
        FAULTS,
    ).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert answer.answer.text == "So: cited"
    assert answer.answer.reasoning == "I think."
    assert answer.answer.reasoning_blocks == (TEXT, REDACTED)
    assert answer.answer.tool_calls == (
        ToolCall(id="t1", name="f", arguments_json='{ "a" :1.0}'),
        ToolCall(id="t2", name="g", arguments_json="{}"),
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "stop"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_each_stop_reason_has_the_domains_word(word, reason):
    assert plain({"text": "x"}, stopReason=word).choices[0].finish_reason == reason


def test_a_missing_stop_reason_is_taken_from_the_answer():
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
    assert plain(use, stopReason=None).choices[0].finish_reason == "tool_calls"


def test_the_stop_sequence_is_told_where_the_model_tells_it():
    found = plain(
        {"text": "x"},
        stopReason="stop_sequence",
        additionalModelResponseFields={"stop_sequence": "END"},
    )
    assert found.choices[0].stop_sequence == "END"
    for other in (None, [], {"stop_sequence": None}, {"stop_sequence": 7}):
        found = plain({"text": "x"}, additionalModelResponseFields=other)
        assert found.choices[0].stop_sequence is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'{"output":{}}',
        b'{"output":{"message":null}}',
        b'{"output":{"message":{"content":{}}}}',
        b'{"output":{"message":{"content":[{"text":7}]}}}',
        b'{"output":{"message":{"content":[{"text":"\xff"}]}}}',
        b'{"output":{"message":{"content":[{"toolUse":{"input":"\xff"}}]}}}',
        b'{"output":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
    ],
    ids=range(13),
)
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_answer(body, FAULTS)


# --- usage --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wire", "told"),
    [
        ({"inputTokens": 0, "outputTokens": 0}, Usage(prompt=0, completion=0)),
        (
            {
                "inputTokens": 10,
                "outputTokens": 5,
                "totalTokens": 1_215,
                "cacheReadInputTokens": 200,
                "cacheWriteInputTokens": 1_000,
                "cacheDetails": [
                    {"ttl": "1h", "inputTokens": 600},
                    {"ttl": "5m", "inputTokens": 400},
                ],
            },
            Usage(
                prompt=1_210, cached_read=200, cached_write=1_000, completion=5, cached_write_1h=600
            ),
        ),
        (
            {
                "inputTokens": 1,
                "outputTokens": 1,
                "cacheWriteInputTokens": 5,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 9}],
            },
            Usage(prompt=6, cached_write=5, completion=1, cached_write_1h=5),
        ),
        ({"inputTokens": 3}, Usage(prompt=3)),
        ({"outputTokens": 3, "cacheReadInputTokens": 2}, Usage(completion=3)),
        ({"inputTokens": -3, "outputTokens": 1.0}, Usage(completion=1)),
        ({"inputTokens": 2**70, "outputTokens": True}, None),
        ({"inputTokens": None, "outputTokens": None}, None),
        ({"inputTokens": 1, "cacheDetails": [1, {"ttl": "1h"}, {}]}, Usage(prompt=1)),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_usage_is_made_inclusive(wire, told):
    assert usage_of(wire) == told


# --- streamed -----------------------------------------------------------------------------------
def event(name: str, body: object, kind: str = "event") -> bytes:
    headers = {
        f":{kind}-type": name,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    return message(headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def delta(index: int, **one: object) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": one, "p": "abcd"})


def start(index: int, **use: object) -> bytes:
    return event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


def ended(reason: str = "end_turn", **more: object) -> bytes:
    return event("messageStop", {"stopReason": reason, **more})


USAGE = {"inputTokens": 12, "outputTokens": 34, "totalTokens": 46}
METADATA = event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 8}})
STORY = [
    event("messageStart", {"role": "assistant"}),
    delta(0, reasoningContent={"text": "I "}),
    delta(0, reasoningContent={"text": "think."}),
    delta(0, reasoningContent={"signature": "c2ln"}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": "ZW5j"}),
    stop(1),
    delta(2, text="Caf\u00e9 "),
    delta(2, text="au lait"),
    stop(2),
    start(3, toolUseId="t1", name="f"),
    delta(3, toolUse={"input": '{"a"'}),
    delta(3, toolUse={"input": ":1}"}),
    stop(3),
    start(4, toolUseId="t2", name="g"),
    delta(4, toolUse={"input": ""}),
    stop(4),
    ended("tool_use"),
    METADATA,
]


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = AwsEventParser(), ConverseStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if not self.decoder.done and self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.deltas)

    @property
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
        return (
            self.text,
            "".join(piece.reasoning for piece in self.deltas),
            tuple(block for piece in self.deltas for block in piece.reasoning_blocks),
            self.calls,
            [piece.finish_reason for piece in self.deltas if piece.finish_reason],
            self.decoder.usage,
            self.decoder.done,
            self.decoder.complete,
            type(self.decoder.fault),
        )


TOLD = (
    "Caf\u00e9 au lait",
    "I think.",
    (TEXT, REDACTED),
    [["t1", "f", '{"a":1}'], ["t2", "g", "{}"]],
    ["tool_calls"],
    Usage(prompt=12, completion=34),
    True,
    True,
    type(None),
)


def test_a_stream_in_one_piece_is_one_delta():
    found = Streamed(b"".join(STORY))
    assert len(found.deltas) == 1
    assert found.summary() == TOLD


def test_a_stream_event_by_event_says_the_same():
    assert Streamed(*STORY).summary() == TOLD


def test_a_stream_byte_by_byte_says_the_same():
    assert Streamed(*(bytes([byte]) for byte in b"".join(STORY))).summary() == TOLD


@given(st.lists(st.integers(0, len(b"".join(STORY))), max_size=6))
def test_a_stream_cut_anywhere_says_the_same(cuts):
    data = b"".join(STORY)
    bounds = [0, *sorted(cuts), len(data)]
    assert Streamed(*(data[one:other] for one, other in pairwise(bounds))).summary() == TOLD


def test_reasoning_runs_out_at_once_and_its_block_when_it_is_whole():
    found = Streamed(*STORY[:3])
    assert [piece.reasoning for piece in found.deltas] == ["I ", "think."]
    assert not any(piece.reasoning_blocks for piece in found.deltas)
    assert Streamed(*STORY[:5]).deltas[-1].reasoning_blocks == (TEXT,)


def test_a_block_whose_end_was_left_out_ends_with_the_message():
    kept = [one for one in STORY if b"contentBlockStop" not in one]
    assert Streamed(*kept).summary() == TOLD


def test_the_stop_sequence_and_the_tier_are_told():
    found = Streamed(
        delta(0, text="x"),
        ended("stop_sequence", additionalModelResponseFields={"stop_sequence": "END"}),
        event("metadata", {"usage": USAGE, "serviceTier": {"type": "priority"}}),
    )
    assert found.deltas[-1].stop_sequence == "END"
    assert found.decoder.service_tier == "priority"


def test_a_stream_without_usage_is_whole_but_not_done():
    found = Streamed(delta(0, text="x"), ended())
    assert (found.decoder.complete, found.decoder.done, found.decoder.usage) == (True, False, None)
    other = Streamed(delta(0, text="x"), ended(), event("metadata", {"metrics": {}}))
    assert (other.decoder.complete, other.decoder.done, other.decoder.usage) == (True, True, None)


def test_a_stream_that_was_cut_before_its_end_is_not_whole():
    assert not Streamed(*STORY[:-2]).decoder.complete


def test_usage_that_came_early_counts_the_prompt_alone():
    found = Streamed(METADATA, delta(0, text="x"), ended())
    assert found.decoder.usage == Usage(prompt=12)
    assert not found.decoder.done


def test_the_last_usage_of_a_read_counts():
    other = event("metadata", {"usage": {**USAGE, "outputTokens": 35}})
    found = Streamed(b"".join([delta(0, text="x"), ended(), METADATA, other]))
    assert found.decoder.usage == Usage(prompt=12, completion=35)


def test_what_is_not_known_is_passed_by():
    found = Streamed(
        event("initial-response", {}),
        event("somethingNew", {"a": 1}),
        delta(0, somethingNew={"b": 1}),
        event("contentBlockDelta", {"contentBlockIndex": 0}),
        event("contentBlockStart", {"contentBlockIndex": 0, "start": {"image": {}}}),
        delta(7, toolUse={"input": "of no call"}),
        start(1, toolUseId="w", name="web", type="server_tool_use"),
        delta(1, toolUse={"input": "{}"}),
        message({":message-type": "ping"}, b""),
        *STORY,
    )
    assert found.summary() == TOLD


# --- exceptions ---------------------------------------------------------------------------------
EXCEPTIONS = {
    "throttlingException": RateLimited,
    "modelNotReadyException": RateLimited,
    "validationException": Rejected,
    "accessDeniedException": Misconfigured,
    "modelTimeoutException": Overloaded,
    "internalServerException": Overloaded,
    "serviceUnavailableException": Overloaded,
    "modelStreamErrorException": StreamError,
    "newException": StreamError,
}


@pytest.mark.parametrize(("name", "kind"), EXCEPTIONS.items())
def test_an_exception_before_the_answer_means_what_it_means_as_a_refusal(name, kind):
    said = event(name, {"message": "too much, hidden-key"}, "exception")
    fault = Streamed(STORY[0], said).decoder.fault
    assert type(fault) is kind
    assert fault.code == name
    assert fault.provider_message == "too much, [key]"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_in_the_middle_keeps_what_came(name):
    said = event(name, {"message": "no more"}, "exception")
    found = Streamed(b"".join([*STORY[:9], said, *STORY[9:]]))
    assert found.text == "Caf\u00e9 au lait"
    assert type(found.decoder.fault) is StreamError
    assert found.decoder.fault.code == name


@pytest.mark.parametrize("body", [b"", b"null", b'"x"', b"[]", b'{"message":7}'])
def test_an_exception_without_words_is_one_all_the_same(body):
    fault = Streamed(event("throttlingException", body, "exception")).decoder.fault
    assert type(fault) is RateLimited


@pytest.mark.parametrize(
    "bad",
    [
        event("contentBlockDelta", b"{"),
        event("contentBlockDelta", b"\xff"),
        event("contentBlockDelta", b'{"contentBlockIndex":"0"}'),
        event("contentBlockDelta", b'{"contentBlockIndex":-1}'),
        event("contentBlockDelta", b'{"contentBlockIndex":1180591620717411303424}'),
        event("contentBlockDelta", b'{"delta":{"text":7}}'),
        event("contentBlockDelta", b"[" * 100_000),
        event("metadata", b"7"),
        event("throttlingException", b"no json", "exception"),
        event('a"b', b'{"x":'),
    ],
    ids=range(10),
)
def test_an_event_that_is_none_is_malformed_after_what_came(bad):
    found = Streamed(STORY[7] + bad + STORY[8])
    assert found.text == "Caf\u00e9 "
    assert type(found.decoder.fault) is Malformed


# --- fuzz ---------------------------------------------------------------------------------------
@given(st.data())
def test_a_mutated_answer_is_an_answer_or_a_fault(data):
    blocks = (
        {"text": "x"},
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
    )
    body = bytearray(whole(*blocks))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProviderFault):
        assert decode_answer(bytes(body), FAULTS).choices


@given(st.data())
def test_mutated_events_are_deltas_or_a_fault(data):
    events = AwsEventParser().feed(b"".join(STORY))
    place = data.draw(st.integers(0, len(events) - 1))
    changed = bytearray(events[place])
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    events[place] = bytes(changed)
    decoder = ConverseStreamDecoder(FAULTS)
    decoder.feed(events)
    assert decoder.usage is None or isinstance(decoder.usage, Usage)


NAMES = [
    *("metadata", "exception", "details", "usage", "stopReason", "output", "message", "content"),
    *("contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "delta"),
    *("contentBlockIndex", "start", "toolUse", "toolUseId", "name", "input", "text"),
    *("reasoningContent", "reasoningText", "signature", "redactedContent"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=5))
def test_any_json_is_deltas_or_a_fault(values):
    decoder = ConverseStreamDecoder(FAULTS)
    for value in values:
        decoder.feed([json.dumps(value).encode()])
        with contextlib.suppress(ProviderFault):
            decode_answer(json.dumps(value).encode(), FAULTS)


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_random_bytes_are_nothing_or_broken(pieces):
    with contextlib.suppress(BrokenFramingError, EventTooLongError):
        Streamed(*pieces)
