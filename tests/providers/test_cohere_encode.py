import json

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
from omni_grpc.providers.cohere import CohereChat
from omni_grpc.providers.cohere.encode import encode_chat

CALL = ToolCall(id="c1", name="f", arguments_json='{"a": 1 }')
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1 }'}}


def encoded(*, stream: bool = False, **request) -> dict:
    return json.loads(encode_chat(make_call(**request), stream=stream))


def message(**fields) -> dict:
    return encoded(messages=(Message(**fields),))["messages"][0]


def test_a_small_request_says_no_more_than_it_must():
    assert encoded() == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100,
        "stream": False,
    }
    assert encoded(stream=True)["stream"] is True


def test_the_path_is_that_of_version_2():
    wire = CohereChat().encode(make_call(), make_spec(), stream=True)
    assert (wire.path, wire.headers) == ("v2/chat", {})


@pytest.mark.parametrize(
    ("role", "wire"), [("system", "system"), ("developer", "system"), ("user", "user")]
)
def test_roles(role, wire):
    assert message(role=role, content="x", name="ann") == {"role": wire, "content": "x"}


def test_texts_and_images():
    parts = (
        TextPart(text="a"),
        ImagePart(url="https://x/a.png"),
        ImagePart(url="data:image/png;base64,AA==", detail="low"),
    )
    assert message(role="user", content=parts)["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("user", AudioPart(data="AA==", format="wav")),
        ("user", FilePart(file_id="f")),
        ("assistant", ImagePart(url="https://x")),
    ],
)
def test_what_has_no_form_here_is_refused_by_its_field(role, part):
    with pytest.raises(FieldInvalid) as caught:
        message(role=role, content=(part,))
    assert caught.value.field == "messages[0].content"


# --- assistants and tools -----------------------------------------------------------------------
def test_a_turn_of_tools():
    body = encoded(
        messages=(
            Message(role="assistant", content="Let me look.", tool_calls=(CALL,)),
            Message(role="tool", tool_call_id="c1", content="Rain."),
        )
    )
    assert body["messages"] == [
        {
            "role": "assistant",
            "tool_calls": [WIRE_CALL],
            "content": [{"type": "text", "text": "Let me look."}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
    ]


def test_a_call_without_arguments_has_an_empty_object():
    call = ToolCall(id="c1", name="f", arguments_json="")
    told = message(role="assistant", tool_calls=(call,))
    assert told["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "content" not in told


def thought(text: str, **more) -> ReasoningBlock:
    return ReasoningBlock(**{"kind": "text", "format": "cohere", "text": text, **more})


def test_thinking_and_plans_go_back_as_what_they_were():
    assert message(
        role="assistant",
        content="So.",
        reasoning="Hm.\n\nI will.",
        reasoning_blocks=(thought("Hm."), thought("I will.", id="tool_plan")),
        tool_calls=(CALL,),
    ) == {
        "role": "assistant",
        "tool_plan": "I will.",
        "tool_calls": [WIRE_CALL],
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "So."}],
    }


def test_reasoning_without_blocks_is_a_plan_where_tools_were_called():
    told = message(role="assistant", content="", reasoning="I will.", tool_calls=(CALL,))
    assert told["tool_plan"] == "I will."
    alone = message(role="assistant", content="So.", reasoning="Hm.")
    assert alone == {"role": "assistant", "content": [{"type": "text", "text": "So."}]}


def test_reasoning_of_other_dialects_is_left_out():
    told = message(
        role="assistant", content="So.", reasoning_blocks=(thought("x", format="anthropic"),)
    )
    assert told["content"] == [{"type": "text", "text": "So."}]


@pytest.mark.parametrize("fields", [{"refusal": "No."}, {"content": (RefusalPart(refusal="No."),)}])
def test_refusals_go_back_as_text(fields):
    assert message(role="assistant", **fields)["content"] == [{"type": "text", "text": "No."}]


def test_an_empty_answer_stays_one():
    assert message(role="assistant", content="") == {"role": "assistant", "content": ""}


def test_tools():
    schema = '{"type": "object",  "properties": {}}'
    tools = (Tool(name="f", description="d", parameters_json=schema), Tool(name="g"))
    body = encode_chat(make_call(tools=tools), stream=False)
    assert schema.encode() in body
    told = json.loads(body)
    assert told["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": json.loads(schema)},
        },
        {"type": "function", "function": {"name": "g", "parameters": json.loads(schema)}},
    ]
    assert "strict_tools" not in told


def test_one_strict_tool_makes_all_strict():
    assert encoded(tools=(Tool(name="f", strict=True), Tool(name="g")))["strict_tools"] is True


@pytest.mark.parametrize("schema", ["[]", "{", '{}, "strict": true', '{"a": "\udc80"}'])
def test_a_schema_that_is_no_object_is_refused(schema):
    with pytest.raises(FieldInvalid) as caught:
        encoded(tools=(Tool(name="f", parameters_json=schema),))
    assert caught.value.field == "tools[0].parameters"


@pytest.mark.parametrize(
    ("choice", "wire", "names"),
    [
        (None, None, ["f", "g"]),
        (ToolChoice(mode="auto"), None, ["f", "g"]),
        (ToolChoice(mode="none"), "NONE", ["f", "g"]),
        (ToolChoice(mode="required"), "REQUIRED", ["f", "g"]),
        (ToolChoice(name="g"), "REQUIRED", ["g"]),
    ],
)
def test_a_named_tool_is_the_only_one_that_is_offered(choice, wire, names):
    body = encoded(tools=(Tool(name="f"), Tool(name="g")), tool_choice=choice)
    assert body.get("tool_choice") == wire
    assert [tool["function"]["name"] for tool in body["tools"]] == names


# --- forms, thinking, sampling ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("form", "wire"),
    [
        (ResponseFormat(kind="text"), {"type": "text"}),
        (ResponseFormat(kind="json_object"), {"type": "json_object"}),
        (
            ResponseFormat(kind="json_schema", name="n", schema_json='{"type":"object"}'),
            {"type": "json_object", "json_schema": {"type": "object"}},
        ),
    ],
)
def test_forms_of_the_answer(form, wire):
    assert encoded(response_format=form)["response_format"] == wire


@pytest.mark.parametrize(
    ("asked", "wire"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"reasoning_budget": 0}, {"type": "disabled"}),
        ({"reasoning_budget": 500}, {"type": "enabled", "token_budget": 500}),
        ({"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 20}),
        ({"reasoning_effort": "high"}, {"type": "enabled", "token_budget": 80}),
        (
            {"reasoning_effort": "high", "reasoning_budget": 7},
            {"type": "enabled", "token_budget": 7},
        ),
    ],
)
def test_thinking(asked, wire):
    assert encoded(**asked).get("thinking") == wire


def test_an_unknown_effort_is_refused():
    with pytest.raises(FieldInvalid) as caught:
        encoded(reasoning_effort="enormous")
    assert caught.value.field == "reasoning_effort"


def test_sampling_goes_by_coheres_names():
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        seed=3,
        frequency_penalty=0.25,
        presence_penalty=0.5,
        stop=("x", "y"),
        logprobs=True,
        top_logprobs=2,
    )
    body = encoded(sampling=sampling)
    del body["model"], body["messages"], body["max_tokens"], body["stream"]
    assert body == {
        "temperature": 0.5,
        "p": 0.9,
        "k": 7,
        "seed": 3,
        "frequency_penalty": 0.25,
        "presence_penalty": 0.5,
        "stop_sequences": ["x", "y"],
        "logprobs": True,
    }


def test_a_top_p_that_cohere_does_not_take_is_its_highest():
    assert encoded(sampling=Sampling(top_p=1.0))["p"] == 0.99


def test_a_lone_surrogate_is_refused():
    with pytest.raises(FieldInvalid):
        encoded(messages=(Message(role="user", content="\ud800"),))
