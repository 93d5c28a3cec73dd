"""Google's answers in the domain's words, however their bytes come, and whatever they are."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.chat import (
    ChatDelta,
    Logprobs,
    ReasoningBlock,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, Overloaded, ProviderFault, RateLimited, StreamError
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.gemini.decode import GeminiStreamDecoder, decode_completion
from omni_grpc.providers.gemini.wire import finish_reason_of, usage_of
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
CALL = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}


def answer(*parts: dict, finish: str | None = "STOP", index: int | None = 0, **more) -> dict:
    candidate: dict = {"content": {"parts": list(parts), "role": "model"}}
    if index is not None:
        candidate["index"] = index
    if finish is not None:
        candidate["finishReason"] = finish
    top = {"usageMetadata": COUNTS, "modelVersion": "m-1", "responseId": "r1"}
    return {"candidates": [candidate | more.pop("candidate", {})]} | top | more


def plain(*parts: dict, **more):
    return decode_completion(json.dumps(answer(*parts, **more)).encode(), FAULTS)


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def chunk(*parts: dict, finish: str | None = None, **more) -> bytes:
    return event(answer(*parts, finish=finish, **more))


class Streamed:
    """A stream that was fed piece by piece, put together."""

    def __init__(self, *pieces: bytes) -> None:
        parser, self.decoder = SseParser(), GeminiStreamDecoder(FAULTS)
        self.deltas: list[ChatDelta] = []
        for piece in pieces:
            if self.decoder.fault is None:
                self.deltas += self.decoder.feed(parser.feed(piece))
        if self.decoder.fault is None:
            self.deltas += self.decoder.feed(parser.finish())

    def summary(self) -> tuple:
        fields = ("text", "reasoning")
        choices = sorted({piece.choice_index for piece in self.deltas})
        of = {one: [piece for piece in self.deltas if piece.choice_index == one] for one in choices}
        return (
            {
                one: [
                    *("".join(getattr(piece, field) for piece in of[one]) for field in fields),
                    [call for piece in of[one] for call in piece.tool_calls],
                    [block for piece in of[one] for block in piece.reasoning_blocks],
                    [piece.finish_reason for piece in of[one] if piece.finish_reason],
                    [t for p in of[one] if p.logprobs for t in p.logprobs.content or ()],
                ]
                for one in choices
            },
            self.decoder.usage,
            self.decoder.complete,
            self.decoder.model,
            self.decoder.id,
            type(self.decoder.fault),
        )


def signed(data: str, mark: str, **more: str) -> ReasoningBlock:
    return ReasoningBlock(kind="encrypted", format="gemini", data=data, id=mark, **more)


# --- plain ----------------------------------------------------------------------------------------
def test_a_plain_answer_is_read():
    told = plain({"text": "Hello"})
    assert told.choices[0].answer.text == "Hello"
    assert told.choices[0].finish_reason == "stop"
    assert told.usage == Usage(prompt=9, completion=2)
    assert (told.id, told.model) == ("r1", "m-1")


def test_all_of_a_candidate_is_read():
    told = plain(
        {"text": "Let me think. ", "thought": True},
        {"text": "So.", "thought": True, "thoughtSignature": "s0"},
        {"text": "I shall "},
        {"text": "call.", "thoughtSignature": "s1"},
        CALL | {"thoughtSignature": "s2"},
        {"functionCall": {"name": "g"}},
        {"executableCode": {"code": "1"}},
    ).choices[0]
    assert told.answer.text == "I shall call."
    assert told.answer.reasoning == "Let me think. So."
    assert told.answer.tool_calls == (
        ToolCall(id="c1", name="f", arguments_json='{"a": 1}'),
        ToolCall(id="gemini_0_1_r1", name="g", arguments_json="{}"),
    )
    assert told.answer.reasoning_blocks == (
        signed("s0", "thought", text="So."),
        signed("s1", "text:8:13"),
        signed("s2", "c1"),
    )
    assert told.finish_reason == "tool_calls"


def test_an_answer_of_calls_alone_has_no_text():
    told = plain(CALL).choices[0]
    assert told.answer.text is None
    assert told.finish_reason == "tool_calls"


def test_an_answer_that_was_all_thought_is_empty():
    body = answer(finish="MAX_TOKENS", usageMetadata={
        "promptTokenCount": 9, "thoughtsTokenCount": 20, "totalTokenCount": 29
    })  # fmt: skip
    del body["candidates"][0]["content"]["parts"]
    told = decode_completion(json.dumps(body).encode(), FAULTS)
    assert told.choices[0].answer.text == ""
    assert told.choices[0].finish_reason == "length"
    assert told.usage == Usage(prompt=9, completion=20, reasoning=20)


def test_a_blocked_prompt_is_an_answer_by_the_filter():
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    told = decode_completion(json.dumps(body).encode(), FAULTS)
    assert [(one.index, one.finish_reason) for one in told.choices] == [(0, "content_filter")]
    assert told.usage == Usage(prompt=9)


def test_candidates_without_an_index_have_their_place():
    body = answer({"text": "a"}, index=None)
    body["candidates"] *= 2
    told = decode_completion(json.dumps(body).encode(), FAULTS)
    assert [one.index for one in told.choices] == [0, 1]


def test_logprobs_are_read():
    result = {
        "chosenCandidates": [
            {"token": "a", "tokenId": 1, "logProbability": -0.5},
            {"token": "b"},
        ],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
    }
    told = plain({"text": "ab"}, candidate={"logprobsResult": result}).choices[0]
    assert told.logprobs == Logprobs(
        content=(
            TokenLogprob(
                token="a", logprob=-0.5, top_logprobs=(TopLogprob(token="a", logprob=-0.5),)
            ),
            TokenLogprob(token="b", logprob=0.0),
        )
    )


@pytest.mark.parametrize(
    ("word", "has_calls", "reason"),
    [
        ("STOP", False, "stop"),
        ("STOP", True, "tool_calls"),
        ("MAX_TOKENS", False, "length"),
        ("MAX_TOKENS", True, "length"),
        ("SAFETY", False, "content_filter"),
        ("SAFETY", True, "content_filter"),
        ("RECITATION", False, "content_filter"),
        ("LANGUAGE", False, "content_filter"),
        ("BLOCKLIST", False, "content_filter"),
        ("PROHIBITED_CONTENT", False, "content_filter"),
        ("SPII", False, "content_filter"),
        ("IMAGE_SAFETY", False, "content_filter"),
        ("OTHER", False, "stop"),
        ("SOMETHING_NEW", False, "stop"),
        ("SOMETHING_NEW", True, "tool_calls"),
    ],
)
def test_each_finish_reason_has_the_domains_word(word, has_calls, reason):
    assert finish_reason_of(word, has_calls=has_calls) == reason


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_what_the_model_wrote_wrongly_is_a_fault(word):
    with pytest.raises(Malformed, match="print"):
        plain(finish=word, candidate={"finishMessage": "Malformed function call: print(x)"})
    told = Streamed(chunk({"text": "a"}), chunk(finish=word))
    assert isinstance(told.decoder.fault, StreamError)
    assert not told.decoder.complete


def test_an_error_with_a_status_of_success_is_one():
    error = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    with pytest.raises(Overloaded, match="overloaded"):
        decode_completion(json.dumps({"error": error}).encode(), FAULTS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"<html>no</html>",
        b"{",
        b"{}",
        b'{"candidates":[]}',
        b'{"candidates":null,"promptFeedback":{}}',
        b'{"candidates":{}}',
        b'{"candidates":["x"]}',
        b'{"candidates":[{"content":{"parts":[{"text":7}]}}]}',
        b'{"candidates":[{"index":-1}]}',
        b'{"candidates":[{"index":1180591620717411303424}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"a":"\xff"}}}]}}]}',
        b'{"candidates":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
        json.dumps(answer(*[CALL] * 1_025)).encode(),
    ],
    ids=range(19),
)
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_completion(body, FAULTS)
    told = Streamed(b"data: " + body.replace(b"\n", b"") + b"\n\n")
    assert not told.decoder.complete


# --- usage ----------------------------------------------------------------------------------------
def test_usage_is_made_inclusive_with_all_its_parts():
    assert usage_of(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 40,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "toolUsePromptTokenCount": 7,
            "totalTokenCount": 157,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 50},
                {"modality": "IMAGE", "tokenCount": 30},
                {"modality": "AUDIO", "tokenCount": 20},
            ],
            "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 7}],
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": 10},
                {"modality": "IMAGE", "tokenCount": 6},
                {"modality": "AUDIO", "tokenCount": 4},
            ],
        },
        has_content=True,
    ) == Usage(
        prompt=107,
        cached_read=40,
        prompt_audio=20,
        prompt_image=37,
        completion=50,
        reasoning=30,
        completion_audio=4,
        completion_image=6,
    )


@pytest.mark.parametrize(
    ("wire", "has_content", "told"),
    [
        ({"promptTokenCount": 0, "candidatesTokenCount": 0}, True, Usage(prompt=0, completion=0)),
        ({"promptTokenCount": 3.0, "candidatesTokenCount": 1}, True, Usage(prompt=3, completion=1)),
        ({"promptTokenCount": -3, "candidatesTokenCount": 1}, True, Usage(completion=1)),
        ({"promptTokenCount": 2**70, "candidatesTokenCount": 1}, True, Usage(completion=1)),
        ({"promptTokenCount": "3", "candidatesTokenCount": True}, True, None),
        # Zero is left out: what the total leaves is the candidates', if nothing of them came.
        ({"promptTokenCount": 3, "totalTokenCount": 3}, False, Usage(prompt=3, completion=0)),
        ({"promptTokenCount": 3, "totalTokenCount": 3}, True, Usage(prompt=3)),
        (
            {"promptTokenCount": 3, "thoughtsTokenCount": 5, "totalTokenCount": 8},
            False,
            Usage(prompt=3, completion=5, reasoning=5),
        ),
        (
            {"promptTokenCount": 3, "thoughtsTokenCount": 5, "totalTokenCount": 8},
            True,
            Usage(prompt=3, reasoning=5),
        ),
        (
            {"promptTokenCount": 3, "thoughtsTokenCount": 5},
            False,
            Usage(prompt=3, completion=5, reasoning=5),
        ),
        ({"promptTokenCount": 3}, False, Usage(prompt=3)),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 9}, True,
         Usage(prompt=3, cached_read=3)),
        ({"promptTokenCount": 3, "promptTokensDetails": [1, {"modality": "AUDIO"}]}, True,
         Usage(prompt=3)),
        ({"trafficType": "ON_DEMAND"}, True, None),
        ({}, False, None),
        ([], False, None),
        ("many", False, None),
        (None, False, None),
    ],
)  # fmt: skip
def test_a_count_that_cannot_be_is_no_count(wire, has_content, told):
    assert usage_of(wire, has_content=has_content) == told


# --- streamed -------------------------------------------------------------------------------------
def test_pieces_of_one_read_are_one_delta_a_candidate():
    whole = b"".join(
        (
            chunk({"text": "a"}),
            chunk({"text": "x"}, index=1),
            chunk({"text": "b"}),
            chunk({"text": "y"}, index=1, finish="MAX_TOKENS"),
            chunk(finish="STOP"),
        )
    )
    assert Streamed(whole).deltas == [
        ChatDelta(choice_index=0, text="ab", finish_reason="stop"),
        ChatDelta(choice_index=1, text="xy", finish_reason="length"),
    ]


def test_each_kind_of_part_is_told():
    told = Streamed(
        chunk({"text": "hm", "thought": True}),
        chunk({"text": "a"}),
        chunk(CALL | {"thoughtSignature": "s1"}),
        chunk({"functionCall": {"name": "g", "args": {}}}),
        chunk({"text": "", "thoughtSignature": "s2"}, finish="STOP"),
    )
    assert told.deltas == [
        ChatDelta(reasoning="hm"),
        ChatDelta(text="a"),
        ChatDelta(
            tool_calls=(ToolCallDelta(index=0, id="c1", name="f", arguments_json='{"a": 1}'),),
            reasoning_blocks=(signed("s1", "c1"),),
        ),
        ChatDelta(
            tool_calls=(ToolCallDelta(index=1, id="gemini_0_1_r1", name="g", arguments_json="{}"),),
        ),
        ChatDelta(finish_reason="tool_calls", reasoning_blocks=(signed("s2", "text:1:1"),)),
    ]
    assert told.decoder.complete


def test_what_brings_nothing_is_no_delta():
    quiet = (
        chunk({"text": ""}),
        event({"usageMetadata": {"trafficType": "ON_DEMAND"}, "modelVersion": "m"}),
        event({"candidates": [{"content": {"role": "model"}}]}),
        event({"candidates": [{}]}),
        event({"candidates": None}),
        event({}),
    )
    assert Streamed(*quiet).deltas == []


def test_a_finish_reason_is_told_once():
    told = Streamed(chunk(finish="STOP"), chunk(finish="STOP"), chunk(finish="MAX_TOKENS"))
    assert [piece.finish_reason for piece in told.deltas] == ["stop"]


def test_a_stream_is_whole_once_each_candidate_has_ended():
    assert not Streamed(chunk({"text": "a"})).decoder.complete
    assert not Streamed(
        chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, index=1)
    ).decoder.complete
    told = Streamed(chunk({"text": "a"}, finish="STOP"))
    assert told.decoder.complete
    assert not told.decoder.done, "usage may still follow"


def test_a_blocked_prompt_ends_the_stream():
    told = Streamed(event({"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": COUNTS}))
    assert told.deltas == [ChatDelta(finish_reason="content_filter")]
    assert told.decoder.complete


def test_the_last_usage_counts():
    def so_far(count: int, **more) -> bytes:
        counts = {"promptTokenCount": 9, "candidatesTokenCount": count}
        return chunk({"text": "a"}, usageMetadata=counts, **more)

    told = Streamed(so_far(1), so_far(2), so_far(3, finish="STOP"))
    assert told.decoder.usage == Usage(prompt=9, completion=3)


@pytest.mark.parametrize("last", [None, {}, {"trafficType": "ON_DEMAND"}, "many"])
def test_a_last_report_that_counts_nothing_leaves_the_one_before(last):
    good, odd = chunk({"text": "a"}), event({"usageMetadata": last})
    for pieces in ((good, odd), (good + odd,)):
        assert Streamed(*pieces).decoder.usage == Usage(prompt=9, completion=2)


def test_usage_before_more_of_the_answer_counts_its_prompt_alone():
    told = Streamed(chunk({"text": "a"}), event({"candidates": [
        {"content": {"parts": [{"text": "b"}]}}
    ]}))  # fmt: skip
    assert told.decoder.usage == Usage(prompt=9)


def test_a_report_without_candidates_while_they_come_counts_the_prompt_alone():
    counts = {"promptTokenCount": 9, "totalTokenCount": 9}
    told = Streamed(chunk({"text": "a"}, usageMetadata=counts))
    assert told.decoder.usage == Usage(prompt=9)


def test_an_error_is_told_after_what_came_before_it_with_its_advice():
    error = {
        "code": 429,
        "message": "Resource exhausted.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}],
    }
    told = Streamed(chunk({"text": "a"}) + event({"error": error}) + chunk({"text": "b"}))
    assert [piece.text for piece in told.deltas] == ["a"]
    fault = told.decoder.fault
    assert isinstance(fault, StreamError)
    assert (fault.code, fault.retry_after_s) == ("RESOURCE_EXHAUSTED", 34.07)
    assert fault.provider_message == "Resource exhausted."


# --- however it comes -----------------------------------------------------------------------------
STORY = b"".join(
    (
        chunk({"text": "Hm… ", "thought": True}),
        chunk({"text": "ünd", "thought": True, "thoughtSignature": "s0"}),
        chunk({"text": "Grüße "}, {"text": "all"}),
        chunk({"text": "x"}, index=1),
        chunk({"text": ", 世界"}, candidate={"logprobsResult": {
            "chosenCandidates": [{"token": ", 世界", "logProbability": -1}]}}),
        chunk(CALL | {"thoughtSignature": "s1"}, {"functionCall": {"name": "g"}}),
        chunk({"text": ""}, index=1, finish="MAX_TOKENS"),
        chunk({"text": "", "thoughtSignature": "s2"}, finish="STOP"),
    )
)  # fmt: skip
TOLD = Streamed(STORY).summary()


def test_the_story_is_told_whole():
    first = TOLD[0][0]
    assert first[:2] == ["Grüße all, 世界", "Hm… ünd"]
    assert TOLD[2]


def test_byte_by_byte_says_the_same():
    assert Streamed(*(STORY[i : i + 1] for i in range(len(STORY)))).summary() == TOLD


@given(st.lists(st.integers(0, len(STORY)), max_size=12))
@settings(max_examples=150)
def test_any_cuts_say_the_same(cuts):
    places = sorted({0, len(STORY), *cuts})
    assert Streamed(*(STORY[a:b] for a, b in pairwise(places))).summary() == TOLD


# --- whatever it is -------------------------------------------------------------------------------
def feed_all(data: bytes) -> None:
    """Only a result or a fault may come of it."""
    Streamed(data)
    with contextlib.suppress(ProviderFault):
        decode_completion(data, FAULTS)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_random_bytes_break_nothing(data):
    feed_all(data)
    feed_all(b"data: " + data + b"\n\n")


@given(st.data())
@settings(max_examples=300)
def test_a_mutated_story_breaks_nothing(data):
    story = bytearray(STORY)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(story) - 1))
        story[place] = data.draw(st.integers(0, 255))
    feed_all(bytes(story))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "candidates", "content", "parts", "text", "functionCall", "args", "name", "error",
                "finishReason", "usageMetadata", "promptTokenCount", "index", "thoughtSignature",
                "promptFeedback", "blockReason", "logprobsResult", "chosenCandidates", "details",
                "@type", "retryDelay", "reason", "status", "code",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
@settings(max_examples=300)
def test_any_json_breaks_nothing(value):
    data = json.dumps(value).encode()
    feed_all(data)
    feed_all(b"data: " + data + b"\n\n")
    FAULTS.from_answer(400, {}, data)
    FAULTS.from_answer(429, {}, json.dumps({"error": value}).encode())


# --- errors by status -----------------------------------------------------------------------------
def google_error(code: int, word: str, *details: dict) -> bytes:
    error = {"code": code, "message": "No.", "status": word, "details": list(details)}
    return json.dumps({"error": error}).encode()


def test_the_retry_advice_stands_in_the_error():
    advice = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
    body = google_error(429, "RESOURCE_EXHAUSTED", {"@type": "x"}, advice)
    fault = FAULTS.from_answer(429, {}, body)
    assert isinstance(fault, RateLimited)
    assert (fault.retry_after_s, fault.code) == (1.5, "RESOURCE_EXHAUSTED")
    assert FAULTS.from_answer(429, {"retry-after": "7"}, body).retry_after_s == 7.0
    for odd in ("soon", "", 7, None, "nans", "-1s"):
        body = google_error(429, "RESOURCE_EXHAUSTED", advice | {"retryDelay": odd})
        assert FAULTS.from_answer(429, {}, body).retry_after_s in (None, 0.0)


@pytest.mark.parametrize(
    ("word", "reason"),
    [("INVALID_ARGUMENT", "API_KEY_INVALID"), ("FAILED_PRECONDITION", None)],
)
def test_a_400_about_our_account_is_not_the_callers_fault(word, reason):
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    fault = FAULTS.from_answer(400, {}, google_error(400, word, info))
    assert type(fault).__name__ == "Misconfigured"
    assert fault.code == (reason or word)
