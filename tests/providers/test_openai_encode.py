import json

import msgspec
import pytest
from provider_calls import make_call, make_spec

from omni_grpc.core.chat import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.openai.encode import OWNED_FIELDS, encode_chat


def encoded(*, stream: bool = False, field: str = "max_completion_tokens", **request) -> dict:
    call = make_call(**request)
    return json.loads(
        encode_chat(call, make_spec(output_limit_field=field, developer_role=True), stream=stream)
    )


def message(**fields) -> dict:
    return encoded(messages=(Message(**fields),))["messages"][0]


def test_a_small_request_says_no_more_than_it_must():
    assert encoded() == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 100,
    }


def test_a_stream_always_asks_for_its_usage():
    body = encoded(stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_the_output_limit_goes_by_the_name_that_the_provider_takes():
    body = encoded(field="max_tokens")
    assert body["max_tokens"] == 100
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_each_role_is_carried(role):
    assert message(role=role, content="x", name="ann") == {
        "role": role,
        "content": "x",
        "name": "ann",
    }


def test_parts_are_carried():
    parts = (
        TextPart(text="look"),
        ImagePart(url="data:image/png;base64,AA=="),
        ImagePart(url="https://host/a.png", detail="low"),
        AudioPart(data="AA==", format="wav"),
        FilePart(file_id="f1"),
        FilePart(file_data="data:application/pdf;base64,AA==", filename="a.pdf"),
        RefusalPart(refusal="no"),
    )
    assert message(role="user", content=parts)["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f1"}},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
        },
        {"type": "refusal", "refusal": "no"},
    ]


def test_a_turn_of_tool_calls_is_carried_with_its_arguments_as_written():
    calls = (ToolCall(id="c1", name="f", arguments_json='{ "a" :1}'),)
    assert message(role="assistant", tool_calls=calls) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{ "a" :1}'}}
        ],
    }
    assert message(role="tool", tool_call_id="c1", content="r") == {
        "role": "tool",
        "content": "r",
        "tool_call_id": "c1",
    }


def test_refusal_and_reasoning_are_carried_back_only_where_there_are_any():
    turn = message(role="assistant", content="x", refusal="no")
    assert turn["refusal"] == "no"
    assert set(message(role="assistant", content="x")) == {"role", "content"}


def test_tools_are_carried_with_their_schemas_as_written():
    tools = (
        Tool(
            name="f", description="d", parameters_json=' {"type": "object", "x":1.50}', strict=True
        ),
        Tool(name="g"),
    )
    raw = encode_chat(make_call(tools=tools), make_spec(), stream=False)
    assert b'{"type": "object", "x":1.50}' in raw
    assert json.loads(raw)["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object", "x": 1.5},
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "g"}},
    ]


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice(mode="auto"), "auto"),
        (ToolChoice(mode="none"), "none"),
        (ToolChoice(mode="required"), "required"),
        (ToolChoice(name="f"), {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_the_choice_of_tools_is_carried(choice, wire):
    body = encoded(tools=(Tool(name="f"),), tool_choice=choice, parallel_tool_calls=False)
    assert body["tool_choice"] == wire
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("form", "wire"),
    [
        (ResponseFormat(kind="text"), {"type": "text"}),
        (ResponseFormat(kind="json_object"), {"type": "json_object"}),
        (
            ResponseFormat(
                kind="json_schema", name="n", description="d", schema_json='{"a":1}', strict=True
            ),
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "description": "d",
                    "schema": {"a": 1},
                    "strict": True,
                },
            },
        ),
    ],
)
def test_the_form_of_the_answer_is_carried(form, wire):
    assert encoded(response_format=form)["response_format"] == wire


def test_sampling_is_carried():
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        frequency_penalty=-1.0,
        presence_penalty=1.5,
        seed=2**62,
        stop=("a", "b"),
        choice_count=2,
        logprobs=True,
        top_logprobs=5,
        logit_bias={"50256": -100.0, "7": 0.5},
    )
    body = encoded(sampling=sampling, reasoning_effort="low")
    assert body == body | {
        "temperature": 0.0,
        "top_p": 0.5,
        "frequency_penalty": -1.0,
        "presence_penalty": 1.5,
        "seed": 2**62,
        "stop": ["a", "b"],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 5,
        "logit_bias": {"50256": -100, "7": 0.5},
        "reasoning_effort": "low",
    }
    assert isinstance(body["logit_bias"]["50256"], int)


# --- what the service does not know -------------------------------------------------------------
def test_unknown_fields_go_untouched():
    extra = {
        "metadata": msgspec.Raw(b'{ "a": [1.0, null] }'),
        "store": msgspec.Raw(b"true"),
        "ünï": msgspec.Raw(b'"x"'),
    }
    raw = encode_chat(make_call(extra=extra), make_spec(), stream=False)
    assert b'{ "a": [1.0, null] }' in raw
    body = json.loads(raw)
    assert (body["store"], body["ünï"]) == (True, "x")


@pytest.mark.parametrize("name", sorted(OWNED_FIELDS))
@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_field_never_overrides_one_of_ours(name, stream):
    raw = encode_chat(make_call(extra={name: msgspec.Raw(b'"evil"')}), make_spec(), stream=stream)
    assert b"evil" not in raw


INJECTIONS = [
    '{}},"model":"evil","x":{',
    "{} {}",
    "{",
    "",
    "nothing",
    "[]",
    "{'a':1}",
    '{"a":1,}',
    '{"a":"\ud800"}',
    '{"a":"\x00"}',
    "{" + '"a":{' * 100_000,
]


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_a_schema_that_is_no_json_object_is_refused(text):
    with pytest.raises(FieldInvalid) as caught:
        encoded(tools=(Tool(name="ok"), Tool(name="f", parameters_json=text)))
    assert caught.value.field == "tools[1].parameters"
    with pytest.raises(FieldInvalid) as caught:
        encoded(response_format=ResponseFormat(kind="json_schema", name="n", schema_json=text))
    assert caught.value.field == "response_format.schema"


@pytest.mark.parametrize("raw", [b"1,2", b"", b"tru", b'"\xff"', b'1,"model":"evil"'])
def test_an_unknown_field_that_is_no_json_is_refused(raw):
    with pytest.raises(FieldInvalid) as caught:
        encoded(extra={"custom": msgspec.Raw(raw)})
    assert caught.value.field == "custom"


def test_a_text_that_is_no_unicode_is_refused():
    with pytest.raises(FieldInvalid, match="surrogate"):
        message(role="user", content="a\ud800b")


def test_a_provider_gets_its_own_names_of_fields_and_roles():
    call = make_call(
        messages=(Message(role="developer", content="Be brief."),), sampling=Sampling(seed=7)
    )
    body = json.loads(encode_chat(call, make_spec(renames={"seed": "random_seed"}), stream=False))
    assert (body.get("seed"), body["random_seed"]) == (None, 7)
    assert body["messages"][0]["role"] == "system"
    body = json.loads(encode_chat(call, make_spec(developer_role=True), stream=False))
    assert (body["seed"], body["messages"][0]["role"]) == (7, "developer")
