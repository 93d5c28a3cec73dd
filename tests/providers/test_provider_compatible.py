"""What providers that are compatible with OpenAI add to its dialect, in their documented shapes."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider_calls import make_call, make_spec
from raw_provider import answer, delta, event

from omni_grpc.core.chat import (
    Answer,
    ChatDelta,
    FilePart,
    ImagePart,
    Message,
    ReasoningBlock,
    RefusalPart,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import StreamError
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature
from omni_grpc.providers.openai.decode import ChatStreamDecoder, decode_completion
from omni_grpc.providers.openai.encode import encode_chat
from omni_grpc.providers.openai.wire import usage_of
from omni_grpc.providers.sse import SseParser

FAULTS = Faults("p", (), SystemClock())
CLAUDE = "anthropic-claude-v1"


def encoded(*, refuses=(), **request) -> dict:
    call = make_call(**request)
    raw = encode_chat(call, make_spec(refuses=tuple(refuses)), stream=False)
    return json.loads(raw)


def said(**fields) -> Answer:
    body = answer()
    body["choices"][0]["message"] = {"role": "assistant", "content": None, **fields}
    return decode_completion(json.dumps(body).encode(), FAULTS).choices[0].answer


def streamed(*pieces: bytes) -> tuple[list[ChatDelta], ChatStreamDecoder]:
    parser, decoder = SseParser(), ChatStreamDecoder(FAULTS)
    return [one for piece in pieces for one in decoder.feed(parser.feed(piece))], decoder


def gathered(deltas: list[ChatDelta]) -> tuple[str, str, tuple[ReasoningBlock, ...]]:
    return (
        "".join(one.text for one in deltas),
        "".join(one.reasoning for one in deltas),
        tuple(block for one in deltas for block in one.reasoning_blocks),
    )


# --- OpenRouter: reasoning_details ----------------------------------------------------------------
DETAILS = [
    {"type": "reasoning.summary", "summary": "It compares.", "id": "r1",
     "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "ZW5j", "id": "r1",
     "format": "openai-responses-v1", "index": 1},
    {"type": "reasoning.text", "text": "9.8 is more.", "signature": "c2ln", "id": None,
     "format": CLAUDE, "index": 2},
]  # fmt: skip
BLOCKS = (
    ReasoningBlock(kind="summary", format="openai-responses-v1", text="It compares.", id="r1"),
    ReasoningBlock(kind="encrypted", format="openai-responses-v1", data="ZW5j", id="r1"),
    ReasoningBlock(kind="text", format=CLAUDE, text="9.8 is more.", signature="c2ln"),
)
STREAM = (
    delta(role="assistant", content="", reasoning="9.8 ", reasoning_details=[
        {"type": "reasoning.text", "text": "9.8 ", "format": CLAUDE, "index": 0}]),
    delta(content="", reasoning="is more.", reasoning_details=[
        {"type": "reasoning.text", "text": "is more.", "format": CLAUDE, "index": 0}]),
    delta(content="", reasoning=None, reasoning_details=[
        {"type": "reasoning.text", "signature": "c2ln", "format": CLAUDE, "index": 0}]),
    delta(content="", reasoning_details=[
        {"type": "reasoning.encrypted", "data": "cmVk", "format": CLAUDE, "index": 1}]),
    delta(content="", reasoning_details=[
        {"type": "reasoning.summary", "summary": "So", "format": CLAUDE, "index": 2}]),
    delta(content="9.8", reasoning_details=[]),
    delta(finish="stop"),
)  # fmt: skip
STREAMED_BLOCKS = (
    ReasoningBlock(kind="text", format=CLAUDE, text="9.8 is more.", signature="c2ln"),
    ReasoningBlock(kind="encrypted", format=CLAUDE, data="cmVk"),
    ReasoningBlock(kind="summary", format=CLAUDE, text="So"),
)


def test_blocks_of_reasoning_are_read_and_go_back_as_they_came():
    told = said(content="9.8", reasoning="It compares.", reasoning_details=DETAILS)
    assert (told.text, told.reasoning, told.reasoning_blocks) == ("9.8", "It compares.", BLOCKS)
    turn = Message(role="assistant", content="9.8", reasoning_blocks=told.reasoning_blocks)
    (wire,) = encoded(messages=(turn,))["messages"]
    plain = [{key: value for key, value in one.items() if value is not None} for one in DETAILS]
    assert wire == {"role": "assistant", "content": "9.8", "reasoning_details": plain}


def test_the_text_of_blocks_is_the_reasoning_where_nothing_else_says_it():
    assert said(reasoning_details=DETAILS).reasoning == "It compares.9.8 is more."
    deltas, _ = streamed(
        delta(reasoning_details=[{"type": "reasoning.text", "text": "hm"}]), delta(finish="stop")
    )
    block = ReasoningBlock(kind="text", format="openai", text="hm")
    assert gathered(deltas) == ("", "hm", (block,))


def test_each_streamed_block_is_told_once_and_whole():
    deltas, decoder = streamed(*STREAM)
    assert decoder.fault is None
    assert gathered(deltas) == ("9.8", "9.8 is more.So", STREAMED_BLOCKS)
    last = next(one for one in deltas if one.text)
    assert last.reasoning_blocks == STREAMED_BLOCKS[2:], "a block ends where the answer goes on"


@given(st.sets(st.integers(1, len(b"".join(STREAM)) - 1), max_size=12))
def test_blocks_do_not_depend_on_how_the_bytes_come(cuts):
    whole = b"".join(STREAM)
    edges = [0, *sorted(cuts), len(whole)]
    deltas, _ = streamed(*(whole[a:b] for a, b in pairwise(edges)))
    assert gathered(deltas) == ("9.8", "9.8 is more.So", STREAMED_BLOCKS)


def test_an_unfinished_block_is_told_with_the_end():
    deltas, _ = streamed(
        delta(reasoning_details=[{"type": "reasoning.text", "text": "a", "index": 0}]),
        delta(reasoning_details=[{"type": "reasoning.text", "text": "b", "index": 1}]),
        delta(finish="length"),
    )
    assert [block.text for block in gathered(deltas)[2]] == ["a", "b"]
    assert deltas[-1].finish_reason == "length"


@pytest.mark.parametrize(
    "details",
    ["x", 7, {}, [1, None], [{"type": "other"}], [{"type": 3}], [{"type": "reasoning.text"}],
     [{"type": "reasoning.encrypted", "data": 5}], [{"type": "reasoning.text", "text": []}]],
)  # fmt: skip
def test_other_shapes_cost_no_answer(details):
    assert said(content="x", reasoning_details=details) == Answer(text="x")
    deltas, decoder = streamed(delta(content="x", reasoning_details=details), delta(finish="stop"))
    assert gathered(deltas) == ("x", "", ())
    assert decoder.fault is None


@pytest.mark.parametrize("origin", ["anthropic", "gemini", "responses", "bedrock", "cohere"])
def test_blocks_of_other_dialects_are_not_sent(origin):
    block = ReasoningBlock(kind="text", format=origin, text="t", signature="s")
    turn = Message(role="assistant", content="x", reasoning_blocks=(block,))
    assert encoded(messages=(turn,))["messages"] == [{"role": "assistant", "content": "x"}]


# --- who takes what back --------------------------------------------------------------------------
USER = Message(role="user", content="Hi")
CALLS = Message(
    role="assistant",
    reasoning="I look it up.",
    tool_calls=(ToolCall(id="c", name="f", arguments_json="{}"),),
)
RESULT = Message(role="tool", content="7", tool_call_id="c")
ANSWERS = Message(role="assistant", content="7", reasoning="It is 7.")


def test_reasoning_text_goes_back_only_in_turns_that_called_tools():
    # DeepSeek demands it there, and elsewhere ignores it or, of old, refuses it.
    messages = (USER, CALLS, RESULT, ANSWERS, USER, ANSWERS)
    wire = encoded(messages=messages)["messages"]
    assert [one.get("reasoning_content") for one in wire] == [
        None, "I look it up.", None, "It is 7.", None, None,
    ]  # fmt: skip


def test_a_provider_that_takes_no_reasoning_back_gets_none():
    block = ReasoningBlock(kind="text", format="openai", text="t")
    turn = Message(role="assistant", content="x", reasoning="r", reasoning_blocks=(block,))
    wire = encoded(
        messages=(USER, CALLS, RESULT, turn), refuses=(Feature.REASONING_CARRIED.value,)
    )["messages"]
    assert not [one for one in wire if {"reasoning_content", "reasoning_details"} & set(one)]


def test_a_provider_that_knows_no_refusals_gets_them_as_text():
    turns = (
        Message(role="assistant", refusal="no"),
        Message(role="assistant", content=(RefusalPart(refusal="never"),)),
    )
    assert encoded(messages=turns, refuses=(Feature.REFUSALS.value,))["messages"] == [
        {"role": "assistant", "content": "no"},
        {"role": "assistant", "content": [{"type": "text", "text": "never"}]},
    ]


# --- OpenRouter: requests -------------------------------------------------------------------------
def test_cache_marks_stand_on_parts_and_tools():
    parts = (
        TextPart(text="long", cache="5m"),
        ImagePart(url="https://host/a.png", cache="1h"),
        FilePart(file_id="f", cache="5m"),
    )
    body = encoded(
        messages=(Message(role="user", content=parts),),
        tools=(Tool(name="f", parameters_json="{}", cache="1h"),),
    )
    short, long = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    assert [one["cache_control"] for one in body["messages"][0]["content"]] == [short, long, short]
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {}}, "cache_control": long}
    ]


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning_budget": 2000}, {"reasoning": {"max_tokens": 2000}}),
        ({"reasoning_summary": "concise"}, {"reasoning": {"summary": "concise"}}),
        (
            {"reasoning_effort": "high", "reasoning_summary": "auto"},
            {"reasoning": {"effort": "high", "summary": "auto"}},
        ),
    ],
)
def test_reasoning_is_asked_in_one_place(asked, written):
    body = encoded(**asked)
    assert {name: body[name] for name in body if name.startswith("reasoning")} == written


def test_top_k_is_carried():
    assert encoded(sampling=Sampling(top_k=40))["top_k"] == 40


# --- Mistral: content in chunks -------------------------------------------------------------------
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}
CHUNKS = [
    THINKING,
    {"type": "text", "text": "Yes"},
    {"type": "reference", "reference_ids": [1]},
    {"type": "text", "text": "."},
]


def test_content_in_chunks_is_text_and_reasoning():
    told = said(content=CHUNKS)
    assert (told.text, told.reasoning) == ("Yes.", "Let me see.")
    deltas, _ = streamed(
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Let "}]}]),
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "me see."}]}]),
        delta(content=CHUNKS[1:]),
        delta(finish="stop"),
    )
    assert gathered(deltas) == ("Yes.", "Let me see.", ())


def test_strange_chunks_are_passed_by():
    strange = [7, None, {"type": "text", "text": 5}, {"type": "thinking", "thinking": "so"}]
    told = said(content=strange)
    assert (told.text, told.reasoning) == ("", "so")


# --- vLLM, Groq, Perplexity -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("finish", "reason", "told"),
    [("stop", "END", "END"), ("stop", 128009, None), ("stop", None, None), ("length", "x", None)],
)
def test_the_stop_sequence_is_told_where_vllm_says_it(finish, reason, told):
    body = answer("x")
    body["choices"][0] |= {"finish_reason": finish, "stop_reason": reason}
    choice = decode_completion(json.dumps(body).encode(), FAULTS).choices[0]
    assert choice.stop_sequence == told
    end = {"index": 0, "delta": {"content": "x"}, "finish_reason": finish, "stop_reason": reason}
    deltas, _ = streamed(event({"choices": [end]}))
    assert [(one.text, one.stop_sequence) for one in deltas] == [("x", told)]


GROQ_USAGE = {
    "queue_time": 0.03, "prompt_tokens": 7, "prompt_time": 0.01, "completion_tokens": 9,
    "completion_time": 0.04, "total_tokens": 16, "total_time": 0.05,
}  # fmt: skip


def test_groqs_usage_is_read_from_its_own_place():
    deltas, decoder = streamed(
        event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}],
               "x_groq": {"id": "req_1", "seed": 5}}),
        delta(content="Hi"),
        event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
               "x_groq": {"id": "req_1", "usage": GROQ_USAGE}}),
    )  # fmt: skip
    assert gathered(deltas)[0] == "Hi"
    assert decoder.usage == Usage(prompt=7, completion=9)
    assert decoder.complete


def test_groqs_word_of_a_stopped_stream_is_a_fault():
    _, decoder = streamed(
        delta(content="a"),
        event({"choices": [], "x_groq": {"id": "req_1", "error": "over_capacity"}}),
    )
    assert isinstance(decoder.fault, StreamError)


def test_perplexitys_extras_are_no_hindrance():
    usage = {"prompt_tokens": 14, "completion_tokens": 30, "total_tokens": 44,
             "search_context_size": "low", "cost": {"total_cost": 0.005}}  # fmt: skip
    piece = {
        "id": "p", "model": "sonar", "object": "chat.completion.chunk", "created": 1,
        "usage": usage, "citations": ["https://a"],
        "search_results": [{"title": "A", "url": "https://a", "date": None}],
        "choices": [{"index": 0, "finish_reason": None,
                     "message": {"role": "assistant", "content": "Hi there"},
                     "delta": {"role": "assistant", "content": " there"}}],
    }  # fmt: skip
    end = {**piece, "choices": [{**piece["choices"][0], "delta": {}, "finish_reason": "stop"}]}
    deltas, decoder = streamed(event(piece), event(end))
    assert gathered(deltas)[0] == " there"
    assert decoder.usage == Usage(prompt=14, completion=30)


# --- usage ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wire", "told"),
    [
        pytest.param(
            {"prompt_tokens": 320, "completion_tokens": 18, "total_tokens": 338,
             "prompt_cache_hit_tokens": 256, "prompt_cache_miss_tokens": 64,
             "completion_tokens_details": {"reasoning_tokens": 9}},
            Usage(prompt=320, completion=18, cached_read=256, reasoning=9),
            id="DeepSeek",
        ),
        pytest.param(
            {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
            Usage(prompt=19, completion=21, cached_read=10),
            id="Moonshot",
        ),
        pytest.param(
            {"prompt_tokens": 10339, "completion_tokens": 60, "total_tokens": 10399,
             "prompt_tokens_details": {"cached_tokens": 10318, "cache_write_tokens": 12,
                                       "audio_tokens": 0, "video_tokens": 0},
             "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 5},
             "cost": 0.0012, "is_byok": False},
            Usage(prompt=10339, completion=60, cached_read=10318, cached_write=12, prompt_audio=0,
                  reasoning=0, completion_image=5),
            id="OpenRouter",
        ),
        pytest.param(
            {"prompt_tokens": 3000, "completion_tokens": 6, "total_tokens": 3006,
             "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 2990}},
            Usage(prompt=3000, completion=6, cached_read=0, cached_write=2990),
            id="Alibaba",
        ),
        pytest.param(
            {"prompt_tokens": 30, "completion_tokens": 6, "cache_creation_input_tokens": 50},
            Usage(prompt=30, completion=6, cached_write=30),
            id="a part is never more than its whole",
        ),
        pytest.param(
            {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196,
             "citation_tokens": 20016, "num_search_queries": 18, "reasoning_tokens": 73305},
            Usage(prompt=33, completion=7163 + 73305, reasoning=73305),
            id="Perplexity's deep research",
        ),
    ],
)  # fmt: skip
def test_usage_is_read_where_each_provider_documents_it(wire, told):
    assert usage_of(wire) == told
