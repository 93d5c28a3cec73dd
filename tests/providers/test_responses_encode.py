import json

import msgspec
import pytest
from provider_calls import make_call, make_spec

from omni_grpc.core.chat import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ReasoningBlock,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.responses import OpenAIResponses
from omni_grpc.providers.responses.encode import encode_chat

USER = Message(role="user", content="Hi")


def encoded(*, stream: bool = False, **request) -> dict:
    return json.loads(encode_chat(make_call(**request), stream=stream))


def items(*messages: Message) -> list:
    return encoded(messages=messages)["input"]


def extra(**fields) -> dict:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}


def test_a_small_request_says_no_more_than_it_must():
    assert encoded() == {
        "model": "m-1",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "max_output_tokens": 100,
        "store": False,
    }
    assert encoded(stream=True)["stream"] is True


def test_the_path_is_that_of_responses():
    wire = OpenAIResponses().encode(make_call(), make_spec(), stream=False)
    assert (wire.path, wire.headers) == ("responses", {})


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_each_role_is_an_item(role):
    assert items(Message(role=role, content="x")) == [
        {"type": "message", "role": role, "content": "x"}
    ]


def test_each_part_of_a_user_is_carried():
    parts = (
        TextPart(text="a"),
        ImagePart(url="https://x/a.png"),
        ImagePart(url="data:image/png;base64,AA==", detail="low"),
        ImagePart(file_id="file-2"),
        FilePart(file_id="file-1"),
        FilePart(file_url="https://x/a.pdf", filename="a.pdf"),
        FilePart(file_data="data:application/pdf;base64,AA==", filename="a.pdf"),
    )
    assert items(Message(role="user", content=parts))[0]["content"] == [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://x/a.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_image", "file_id": "file-2", "detail": "auto"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://x/a.pdf"},
        {
            "type": "input_file",
            "file_data": "data:application/pdf;base64,AA==",
            "filename": "a.pdf",
        },
    ]


def test_what_has_no_form_here_is_refused_by_its_field():
    audio = AudioPart(data="AA==", format="wav")
    for role, part in (("user", audio), ("assistant", ImagePart(url="https://x"))):
        with pytest.raises(FieldInvalid) as caught:
            items(Message(role=role, content=(part,)))
        assert caught.value.field == "messages[0].content"


def test_a_turn_of_tools_is_items_one_after_the_other():
    call = ToolCall(id="c1", name="f", arguments_json='{"a": 1 }')
    assert items(
        Message(role="assistant", content="Let me look.", tool_calls=(call,)),
        Message(role="tool", tool_call_id="c1", content="Rain."),
        Message(role="tool", tool_call_id="c1", content=(TextPart(text="a"),)),
    ) == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me look."}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1 }'},
        {"type": "function_call_output", "call_id": "c1", "output": "Rain."},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "a"}],
        },
    ]


@pytest.mark.parametrize("content", ["", None])
def test_a_turn_of_calls_alone_has_no_empty_message(content):
    call = ToolCall(id="c1", name="f", arguments_json="{}")
    told = items(Message(role="assistant", content=content, tool_calls=(call,)))
    assert [item["type"] for item in told] == ["function_call"]


@pytest.mark.parametrize(
    "message",
    [
        Message(role="assistant", refusal="No."),
        Message(role="assistant", content=(RefusalPart(refusal="No."),)),
    ],
)
def test_refusals_go_back_as_refusals(message):
    assert items(message)[0]["content"] == [{"type": "refusal", "refusal": "No."}]


# --- reasoning that goes back -------------------------------------------------------------------
def block(**fields) -> ReasoningBlock:
    return ReasoningBlock(**{"kind": "encrypted", "format": "responses", **fields})


def test_the_blocks_of_an_item_go_back_as_that_item():
    turn = Message(
        role="assistant",
        content="So.",
        reasoning="one\n\ntwo",
        reasoning_blocks=(
            block(kind="summary", id="rs_1", text="one"),
            block(kind="summary", id="rs_1", text="two"),
            block(id="rs_1", data="gAAA"),
            block(id="rs_2", data="gBBB"),
            block(kind="text", id="rs_3", text="open"),
        ),
    )
    assert items(USER, turn)[1:] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [
                {"type": "summary_text", "text": "one"},
                {"type": "summary_text", "text": "two"},
            ],
            "encrypted_content": "gAAA",
        },
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gBBB"},
        {
            "type": "reasoning",
            "id": "rs_3",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "open"}],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "So."}],
        },
    ]


@pytest.mark.parametrize(
    "blocks",
    [
        (block(format="anthropic", data="gAAA"),),
        (block(kind="summary", id="rs_1", text="by its id alone it would not be found"),),
    ],
)
def test_reasoning_that_the_provider_cannot_take_is_left_out(blocks):
    turn = Message(role="assistant", content="So.", reasoning="x", reasoning_blocks=blocks)
    assert [item["type"] for item in items(USER, turn)] == ["message", "message"]


def test_reasoning_that_nothing_follows_is_left_out():
    turn = Message(role="assistant", content="", reasoning_blocks=(block(data="gAAA"),))
    assert items(turn, USER) == [{"type": "message", "role": "user", "content": "Hi"}]


def test_reasoning_is_asked_for_encrypted_where_there_is_any():
    asked = ["reasoning.encrypted_content"]
    body = encoded(reasoning_effort="high", reasoning_summary="auto")
    assert (body["reasoning"], body["include"]) == ({"effort": "high", "summary": "auto"}, asked)
    carried = Message(role="assistant", content="x", reasoning_blocks=(block(data="gAAA"),))
    assert encoded(messages=(USER, carried, USER))["include"] == asked
    none = encoded(reasoning_effort="none")
    assert (none["reasoning"], "include" in none) == ({"effort": "none"}, False)


# --- tools and forms ----------------------------------------------------------------------------
def test_tools_are_flat_and_say_whether_they_are_strict():
    schema = '{"type": "object",  "properties": {}}'
    tools = (Tool(name="f", description="d", parameters_json=schema, strict=True), Tool(name="g"))
    body = encode_chat(make_call(tools=tools), stream=False)
    assert schema.encode() in body
    assert json.loads(body)["tools"] == [
        {
            "type": "function",
            "name": "f",
            "parameters": {"type": "object", "properties": {}},
            "strict": True,
            "description": "d",
        },
        {
            "type": "function",
            "name": "g",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ]


@pytest.mark.parametrize("schema", ["[]", "{", '{}, "strict": true', '{"a": "\udc80"}'])
def test_a_schema_that_is_no_object_is_refused(schema):
    with pytest.raises(FieldInvalid) as caught:
        encoded(tools=(Tool(name="f", parameters_json=schema),))
    assert caught.value.field == "tools[0].parameters"


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice(mode="auto"), "auto"),
        (ToolChoice(mode="none"), "none"),
        (ToolChoice(mode="required"), "required"),
        (ToolChoice(name="f"), {"type": "function", "name": "f"}),
    ],
)
def test_tool_choices(choice, wire):
    body = encoded(tools=(Tool(name="f"),), tool_choice=choice, parallel_tool_calls=False)
    assert (body["tool_choice"], body["parallel_tool_calls"]) == (wire, False)


def test_forms_of_the_answer_are_flat():
    form = ResponseFormat(
        kind="json_schema", name="n", description="d", schema_json='{"type":"object"}', strict=True
    )
    assert encoded(response_format=form)["text"] == {
        "format": {
            "type": "json_schema",
            "name": "n",
            "schema": {"type": "object"},
            "description": "d",
            "strict": True,
        }
    }
    assert encoded(response_format=ResponseFormat(kind="json_object"))["text"] == {
        "format": {"type": "json_object"}
    }


# --- sampling and the rest ----------------------------------------------------------------------
def test_sampling_goes_by_the_same_names():
    body = encoded(sampling=Sampling(temperature=0.5, top_p=0.9, choice_count=1))
    assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
    assert "n" not in body


def test_logprobs_are_included():
    body = encoded(sampling=Sampling(logprobs=True, top_logprobs=3), reasoning_effort="low")
    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert body["top_logprobs"] == 3


def test_fields_that_are_the_same_here_pass():
    fields = {
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "user": "u",
    }
    body = encoded(extra=extra(**fields, verbosity="low", store=True))
    assert {name: body[name] for name in fields} == fields
    assert body["text"] == {"verbosity": "low"}
    assert body["store"] is False


def test_a_field_without_a_counterpart_is_left_out():
    assert "modalities" not in encoded(extra=extra(modalities=["text"]))
    assert "modalities" not in OpenAIResponses.takes_extra
    assert {"user", "verbosity"} <= OpenAIResponses.takes_extra


def test_a_lone_surrogate_is_refused():
    with pytest.raises(FieldInvalid):
        encoded(messages=(Message(role="user", content="\ud800"),))
