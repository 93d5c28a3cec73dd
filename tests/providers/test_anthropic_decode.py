"""What Anthropic's whole answers become: its documented forms, and broken ones."""

import json

import pytest
from anthropic_streams import FAULTS, WHOLE_USAGE, choice, message, plain, text, thinking, tool

from omni_grpc.core.chat import ReasoningBlock, ToolCall
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, Overloaded
from omni_grpc.providers.anthropic.decode import decode_message


# --- whole --------------------------------------------------------------------------------------
def test_a_text_answer():
    found = plain(text("Hi! "), text("My name is Claude.", citations=[{"type": "x"}]))
    assert found.id == "msg_013Zva2CMHLNnjNjJKqJ2EF"
    assert found.model == "claude-sonnet-4-5"
    assert found.service_tier == "priority"
    assert found.usage == WHOLE_USAGE
    (only,) = found.choices
    assert only.answer.text == "Hi! My name is Claude."
    assert only.finish_reason == "stop"
    assert only.stop_sequence is None


def test_thinking_is_told_and_kept_whole_for_the_next_turn():
    redacted = {"type": "redacted_thinking", "data": "EmwK"}
    found = choice(thinking("Let me see."), redacted, thinking("", "omitted"), text("27."))
    assert found.answer.reasoning == "Let me see."
    assert found.answer.reasoning_blocks == (
        ReasoningBlock(kind="text", format="anthropic", text="Let me see.", signature="sig"),
        ReasoningBlock(kind="encrypted", format="anthropic", data="EmwK"),
        ReasoningBlock(kind="text", format="anthropic", text="", signature="omitted"),
    )
    assert choice({"type": "thinking", "thinking": "x"}).answer.reasoning_blocks == ()


def test_tool_calls_keep_their_arguments_as_written():
    body = json.dumps(message(text("Calling."), tool(), tool("g", {"a": 1}, "toolu_2")))
    body = body.replace('{"a": 1}', '{"a":  1.0,"b":"\\u00e9"}')
    found = decode_message(body.replace('"end_turn"', '"tool_use"').encode(), FAULTS).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.answer.text == "Calling."
    assert found.answer.tool_calls == (
        ToolCall(id="toolu_1", name="f", arguments_json="{}"),
        ToolCall(id="toolu_2", name="g", arguments_json='{"a":  1.0,"b":"\\u00e9"}'),
    )


def test_the_reserved_tool_is_the_answers_text():
    found = choice(tool("omni_json_answer", {"a": 1}), stop_reason="tool_use")
    assert (found.answer.text, found.answer.tool_calls) == ('{"a": 1}', ())
    assert found.finish_reason == "stop"
    both = choice(tool("omni_json_answer"), tool("f"), stop_reason="tool_use")
    assert both.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(reason, finish):
    assert choice(text("x"), stop_reason=reason).finish_reason == finish


def test_the_sequence_that_ended_it_is_told():
    found = choice(text("x"), stop_reason="stop_sequence", stop_sequence="END")
    assert found.stop_sequence == "END"


def test_a_refusal_is_told_with_its_reason():
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    found = choice(stop_reason="refusal", stop_details=details)
    assert (found.finish_reason, found.answer.refusal) == ("content_filter", "Not this.")
    assert found.answer.text is None
    details["explanation"] = None
    assert choice(stop_reason="refusal", stop_details=details).answer.refusal is None


def test_blocks_of_unknown_types_are_let_pass():
    found = choice(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "new", "text": {"not": "text"}, "name": 7},
        text("So."),
    )
    assert (found.answer.text, found.answer.tool_calls) == ("So.", ())


def test_an_answer_without_blocks_is_one():
    found = choice()
    assert (found.answer.text, found.finish_reason) == (None, "stop")


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"input_tokens": True, "output_tokens": -1}, None),
        ({"input_tokens": 5, "output_tokens": 0}, Usage(prompt=5, completion=0)),
        ({"output_tokens": 3}, Usage(completion=3)),
        ({"output_tokens": 3, "cache_read_input_tokens": 4}, Usage(completion=3)),
        ({"input_tokens": 10**12, "output_tokens": 2.0}, Usage(completion=2)),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 2,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
                "cache_read_input_tokens": None,
                "output_tokens": 3,
                "output_tokens_details": {"thinking_tokens": 9},
            },
            Usage(prompt=3, cached_write=2, cached_write_1h=2, completion=3, reasoning=3),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation": 7, "service_tier": {}},
            Usage(prompt=1, completion=1),
        ),
    ],
)
def test_usage(usage, found):
    assert plain(text("x"), usage=usage).usage == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"id":"x"}',
        b'{"content":{}}',
        b'{"content":[7]}',
        b'{"content":[{"type":"text","text":7}]}',
        b'{"content":[{"type":"tool_use","input":{"a":"\xff"}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_malformed(body):
    with pytest.raises(Malformed):
        decode_message(body, FAULTS)


def test_an_error_in_spite_of_its_status_is_a_fault():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Overloaded) as caught:
        decode_message(json.dumps(error).encode(), FAULTS)
    assert caught.value.code == "overloaded_error"
