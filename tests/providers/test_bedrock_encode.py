"""The domain's request in Converse's words; AWS's own client would send the same shapes."""

import json

import botocore.session
import botocore.validate
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
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.providers.bedrock import BedrockChat
from omni_grpc.providers.bedrock.encode import encode_converse
from omni_grpc.providers.bedrock.makers import claude_version

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS_46 = "us.anthropic.claude-opus-4-6-v1"
OPUS_47 = "anthropic.claude-opus-4-7"
SCHEMA = '{"type": "object", "x":1.50}'
CALLS = (ToolCall(id="c1", name="f", arguments_json='{ "a" :1}'),)
ASKED = Message(role="user", content="Hi")


def encoded(**request) -> dict:
    return json.loads(encode_converse(make_call(**request)))


def turns(*messages: Message, **more) -> list:
    return encoded(messages=messages, tools=more.pop("tools", (Tool(name="f"),)), **more)[
        "messages"
    ]


def content(*parts) -> list:
    return turns(Message(role="user", content=parts))[0]["content"]


def fields(model: str = SONNET, limit: int = 10_000, **request) -> dict:
    body = encoded(model=model, output_tokens_max=limit, **request)
    return body.get("additionalModelRequestFields", {})


# --- the whole ----------------------------------------------------------------------------------
def test_a_small_request_says_no_more_than_it_must():
    assert encoded() == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"maxTokens": 100},
    }


def test_the_model_and_the_streaming_stand_in_the_path():
    dialect, call = BedrockChat(), make_call(model="us.m:0/x")
    plain = dialect.encode(call, make_spec(), stream=False)
    streamed = dialect.encode(call, make_spec(), stream=True)
    assert plain.path == "model/us.m%3A0%2Fx/converse"
    assert streamed.path == "model/us.m%3A0%2Fx/converse-stream"
    assert plain.body == streamed.body


def test_everything_at_once_is_valid_for_awss_own_service_model():
    body = encoded(
        model=SONNET,
        output_tokens_max=5_000,
        messages=(
            Message(role="system", content=(TextPart(text="s", cache="1h"),)),
            Message(
                role="user",
                content=(
                    TextPart(text="look", cache="5m"),
                    ImagePart(url="data:image/png;base64,AAAA"),
                    AudioPart(data="AAAA", format="wav"),
                    FilePart(file_data="data:application/pdf;base64,AAAA", filename="a.pdf"),
                ),
            ),
            Message(
                role="assistant",
                content="x",
                tool_calls=CALLS,
                reasoning_blocks=(
                    ReasoningBlock(kind="text", format="bedrock", text="t", signature="s"),
                    ReasoningBlock(kind="encrypted", format="bedrock", data="AAAA"),
                ),
            ),
            Message(role="tool", tool_call_id="c1", content="r"),
        ),
        tools=(Tool(name="f", description="d", strict=True, cache="5m"),),
        tool_choice=ToolChoice(mode="auto"),
        response_format=ResponseFormat(kind="json_schema", name="n", schema_json=SCHEMA),
        sampling=Sampling(temperature=1.0, top_p=0.5, stop=("x",)),
        reasoning_budget=2_000,
    )
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    for operation in ("Converse", "ConverseStream"):
        shape = model.operation_model(operation).input_shape
        report = botocore.validate.ParamValidator().validate({"modelId": SONNET, **body}, shape)
        assert not report.has_errors(), report.generate_report()
        _check_names(body, shape)


def _check_names(value: object, shape) -> None:
    """The validator lets unknown members pass."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        for name, one in value.items():
            _check_names(one, shape.members[name])
    elif shape.type_name == "list":
        for one in value:
            _check_names(one, shape.member)


# --- turns --------------------------------------------------------------------------------------
def test_system_prompts_have_their_own_place():
    body = encoded(
        messages=(
            Message(role="system", content="one"),
            ASKED,
            Message(role="developer", content=(TextPart(text="two", cache="5m"),)),
        )
    )
    assert body["system"] == [
        {"text": "one"},
        {"text": "two"},
        {"cachePoint": {"type": "default"}},
    ]
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_turns_alternate_and_results_of_tools_are_the_users():
    told = turns(
        ASKED,
        Message(role="user", content="there"),
        Message(role="assistant", content="Wait.", tool_calls=CALLS),
        Message(role="tool", tool_call_id="c1", content="r"),
        Message(role="user", content="And?"),
    )
    assert told == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]},
        {
            "role": "assistant",
            "content": [
                {"text": "Wait."},
                {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "r"}]}},
                {"text": "And?"},
            ],
        },
    ]


def test_arguments_and_schemas_stay_as_they_were_written():
    raw = encode_converse(
        make_call(
            messages=(ASKED, Message(role="assistant", tool_calls=CALLS)),
            tools=(Tool(name="f", parameters_json=SCHEMA),),
        )
    )
    assert b'"input":{ "a" :1}' in raw
    assert b'"inputSchema":{"json":{"type": "object", "x":1.50}}' in raw


def test_reasoning_goes_back_first_and_only_to_the_format_that_made_it():
    blocks = (
        ReasoningBlock(kind="text", format="bedrock", text="t", signature="s"),
        ReasoningBlock(kind="text", format="anthropic", text="other", signature="o"),
        ReasoningBlock(kind="text", format="bedrock", text="without its proof"),
        ReasoningBlock(kind="encrypted", format="bedrock", data="AAAA"),
    )
    told = turns(
        ASKED, Message(role="assistant", content="x", reasoning="t", reasoning_blocks=blocks)
    )
    assert told[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "x"},
    ]


def test_ids_of_calls_are_cleaned_alike_where_they_come_from_elsewhere():
    long = "call.a:b/" + "x" * 70
    told = turns(
        ASKED,
        Message(role="assistant", tool_calls=(ToolCall(id=long, name="f", arguments_json="{}"),)),
        Message(role="tool", tool_call_id=long, content="r"),
    )
    use = told[1]["content"][0]["toolUse"]["toolUseId"]
    assert use == told[2]["content"][0]["toolResult"]["toolUseId"] == "x" * 64
    other = ToolCall(id="call.a:b/c", name="f", arguments_json="{}")
    told = turns(ASKED, Message(role="assistant", tool_calls=(other,)))
    assert told[1]["content"][0]["toolUse"]["toolUseId"] == "call_a_b_c"


def test_a_conversation_of_nothing_is_refused():
    for message in (Message(role="system", content="s"), Message(role="user", content=" ")):
        with pytest.raises(FieldInvalid) as caught:
            encoded(messages=(message,))
        assert caught.value.field == "messages"


def test_a_blank_text_is_left_out_and_so_is_a_blank_turn():
    assert turns(
        ASKED, Message(role="assistant", content="\n\n"), Message(role="user", content="x")
    )[0]["content"] == [{"text": "Hi"}, {"text": "x"}]
    told = turns(
        ASKED,
        Message(role="assistant", content="", tool_calls=CALLS),
        Message(role="tool", tool_call_id="c1", content=""),
    )
    assert len(told[1]["content"]) == 1
    assert told[2]["content"][0]["toolResult"]["content"] == []


def test_a_refusal_is_carried_back_as_text():
    told = turns(
        ASKED,
        Message(role="assistant", refusal="No."),
        ASKED,
        Message(role="assistant", content=(RefusalPart(refusal="Never."),)),
    )
    assert told[1]["content"] == [{"text": "No."}]
    assert told[3]["content"] == [{"text": "Never."}]


# --- parts --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "form"),
    [("png", "png"), ("jpeg", "jpeg"), ("jpg", "jpeg"), ("gif", "gif"), ("webp", "webp")],
)
def test_images_go_inline_with_their_format(kind, form):
    assert content(ImagePart(url=f"data:image/{kind};base64,AA==")) == [
        {"image": {"format": form, "source": {"bytes": "AA=="}}}
    ]


def test_audio_goes_inline_with_its_format():
    assert content(AudioPart(data="AA==", format="mp3")) == [
        {"audio": {"format": "mp3", "source": {"bytes": "AA=="}}}
    ]


@pytest.mark.parametrize(
    ("part", "form"),
    [
        (FilePart(file_data="data:application/pdf;base64,AA=="), "pdf"),
        (FilePart(file_data="data:text/plain;charset=utf-8;base64,AA=="), "txt"),
        (
            FilePart(file_data="data:application/octet-stream;base64,AA==", filename="a.XLSX"),
            "xlsx",
        ),
        (FilePart(file_data="AA==", filename="b.md"), "md"),
        (FilePart(file_data="data:application/json;base64,AA==", filename="b.json"), "txt"),
        (FilePart(file_data="data:text/x-python;base64,AA=="), "txt"),
    ],
)
def test_documents_go_inline_with_their_format(part, form):
    (block,) = content(part)
    assert block["document"]["format"] == form
    assert block["document"]["source"] == {"bytes": "AA=="}


def test_a_file_that_is_an_image_goes_as_one():
    assert content(FilePart(file_data="data:image/png;base64,AA==", filename="a.png")) == [
        {"image": {"format": "png", "source": {"bytes": "AA=="}}}
    ]


def test_documents_names_are_cleaned_and_stand_once():
    data = "data:application/pdf;base64,AA=="
    names = [
        block["document"]["name"]
        for block in content(
            *(
                FilePart(file_data=data, filename=name)
                for name in ("a_b  c.pdf", "a/b c.pdf", "", "\u6587.pdf", "x" * 300 + ".pdf")
            )
        )
    ]
    assert names[:4] == ["a-b c", "a-b c-2", "document", "document-2"]
    assert len(names[4]) <= 200


def test_cache_marks_stand_behind_what_they_end():
    told = content(
        TextPart(text="a", cache="5m"),
        ImagePart(url="data:image/png;base64,AA==", cache="1h"),
        TextPart(text="b"),
    )
    assert told[1] == {"cachePoint": {"type": "default"}}
    assert told[3] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    body = encoded(tools=(Tool(name="f", cache="5m"), Tool(name="g")))
    assert [next(iter(one)) for one in body["toolConfig"]["tools"]] == [
        "toolSpec",
        "cachePoint",
        "toolSpec",
    ]
    result = turns(
        ASKED,
        Message(role="assistant", tool_calls=CALLS),
        Message(role="tool", tool_call_id="c1", content=(TextPart(text="r", cache="5m"),)),
    )[2]["content"]
    assert [next(iter(one)) for one in result] == ["toolResult", "cachePoint"]


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(url="https://host/a.png"),
        ImagePart(url="data:image/png,%00"),
        ImagePart(url="data:image/png;base64"),
        ImagePart(url="data:image/bmp;base64,AA=="),
        AudioPart(data="AA==", format="midi"),
        FilePart(file_id="f1"),
        FilePart(file_data="data:application/zip;base64,AA==", filename="a.zip"),
        FilePart(file_data="data:application/pdf;base64,", filename="a.pdf"),
    ],
)
def test_what_has_no_form_there_is_refused_by_its_place(part):
    with pytest.raises(FieldInvalid) as caught:
        content(TextPart(text="x"), part)
    assert caught.value.field == "messages[0].content[1]"


# --- tools and forms ----------------------------------------------------------------------------
def test_tools_have_a_schema_and_say_no_more_than_they_must():
    body = encoded(
        tools=(Tool(name="f", description="", strict=False), Tool(name="g", strict=True))
    )
    empty = {"type": "object", "properties": {}}
    assert body["toolConfig"] == {
        "tools": [
            {"toolSpec": {"name": "f", "inputSchema": {"json": empty}}},
            {"toolSpec": {"name": "g", "inputSchema": {"json": empty}, "strict": True}},
        ]
    }


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice(mode="auto"), {"auto": {}}),
        (ToolChoice(mode="required"), {"any": {}}),
        (ToolChoice(name="f"), {"tool": {"name": "f"}}),
    ],
)
def test_the_choice_of_tools_is_carried(choice, wire):
    body = encoded(tools=(Tool(name="f"),), tool_choice=choice)
    assert body["toolConfig"]["toolChoice"] == wire


def test_forbidden_tools_are_not_told():
    body = encoded(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="none"))
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tools": (Tool(name="f"),), "tool_choice": ToolChoice(mode="none")}, "tool_choice"),
        ({}, "tools"),
    ],
)
def test_a_conversation_with_calls_needs_its_tools(more, field):
    messages = (
        ASKED,
        Message(role="assistant", tool_calls=CALLS),
        Message(role="tool", tool_call_id="c1", content="r"),
    )
    with pytest.raises(FieldInvalid) as caught:
        encoded(messages=messages, **more)
    assert caught.value.field == field


def test_a_structured_answer_has_its_schema_as_text():
    form = ResponseFormat(kind="json_schema", name="n", description="d", schema_json=SCHEMA)
    assert encoded(response_format=form)["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": SCHEMA, "name": "n", "description": "d"}},
        }
    }
    assert "outputConfig" not in encoded(response_format=ResponseFormat(kind="text"))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tools": (Tool(name="f", parameters_json="{}}"),)}, "tools[0].parameters"),
        ({"tools": (Tool(name="f", parameters_json="[]"),)}, "tools[0].parameters"),
        (
            {"response_format": ResponseFormat(kind="json_schema", schema_json="{")},
            "response_format.schema",
        ),
        ({"response_format": ResponseFormat(kind="json_schema")}, "response_format"),
        ({"messages": (Message(role="user", content="\ud800"),)}, "messages"),
        (
            {
                "messages": (
                    Message(
                        role="assistant",
                        tool_calls=(ToolCall(id="c", name="f", arguments_json="{1"),),
                    ),
                )
            },
            "messages[0].tool_calls[0].arguments",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_field(more, field):
    with pytest.raises(FieldInvalid) as caught:
        encoded(**more)
    assert caught.value.field == field


# --- settings -----------------------------------------------------------------------------------
def test_sampling_is_carried():
    sampling = Sampling(temperature=0.5, top_p=0.9, stop=("a", "b"))
    body = encoded(sampling=sampling)
    assert body["inferenceConfig"] == {
        "maxTokens": 100,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["a", "b"],
    }
    assert "additionalModelResponseFieldPaths" not in body


def test_claude_is_asked_which_stop_sequence_it_was():
    body = encoded(model=SONNET, sampling=Sampling(stop=("a",)))
    assert body["additionalModelResponseFieldPaths"] == ["/stop_sequence"]


def test_top_k_goes_in_anthropics_words():
    assert fields(sampling=Sampling(top_k=7)) == {"top_k": 7}


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1_024), ("low", 2_000), ("medium", 5_000), ("high", 8_000), ("xhigh", 9_500)],
)
def test_an_effort_is_a_share_of_the_output_where_a_model_takes_budgets(effort, budget):
    assert fields(reasoning_effort=effort) == {
        "thinking": {"type": "enabled", "budget_tokens": budget}
    }


@pytest.mark.parametrize("model", [OPUS_46, OPUS_47, "global.anthropic.claude-fable-5"])
def test_an_effort_is_an_effort_where_a_model_takes_efforts(model):
    assert fields(model, reasoning_effort="minimal", reasoning_summary="auto") == {
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "low"},
    }


def test_no_effort_is_told_only_where_a_model_thinks_unasked():
    assert fields(SONNET, reasoning_effort="none") == {}
    assert fields(OPUS_47, reasoning_effort="none") == {}
    assert fields("anthropic.claude-opus-5", reasoning_effort="none") == {
        "thinking": {"type": "disabled"}
    }


def test_a_budget_goes_before_an_effort():
    asked = {"reasoning_budget": 3_000, "reasoning_effort": "low", "reasoning_summary": "auto"}
    wanted = {"thinking": {"type": "enabled", "budget_tokens": 3_000}}
    assert fields(SONNET, **asked) == fields(OPUS_46, **asked) == wanted


@pytest.mark.parametrize(
    ("model", "more", "field"),
    [
        ("amazon.nova-pro-v1:0", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("amazon.nova-pro-v1:0", {"reasoning_budget": 2_000}, "reasoning_budget"),
        ("amazon.nova-pro-v1:0", {"reasoning_summary": "auto"}, "reasoning_summary"),
        ("amazon.nova-pro-v1:0", {"sampling": Sampling(top_k=3)}, "top_k"),
        (OPUS_47, {"reasoning_budget": 2_000}, "reasoning_budget"),
    ],
)
def test_what_a_maker_has_not_is_refused_unless_it_is_optional(model, more, field):
    with pytest.raises(FeatureUnsupported) as caught:
        fields(model, **more)
    assert caught.value.field == field
    assert fields("amazon.nova-pro-v1:0", optional=frozenset({field}), **more) == {}


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        (1_024, {"reasoning_effort": "low"}),
        (9_000, {"reasoning_effort": "extreme"}),
        (9_000, {"reasoning_budget": 1_023}),
        (1_024, {"reasoning_budget": 4_000}),
        (4_000, {"reasoning_budget": 4_000, "output_tokens_max": 4_000}),
    ],
)
def test_thinking_that_cannot_be_is_refused(limit, asked):
    own = asked.pop("output_tokens_max", None)
    call = make_call(model=SONNET, output_tokens_max=limit, **asked)
    request = msgspec.structs.replace(call.request, output_tokens_max=own)
    with pytest.raises(FieldInvalid) as caught:
        encode_converse(msgspec.structs.replace(call, request=request))
    assert caught.value.field == next(iter(asked))


def test_a_budget_stays_below_a_limit_that_is_not_the_callers():
    thinking = fields(SONNET, 2_000, reasoning_budget=4_000)["thinking"]
    assert thinking == {"type": "enabled", "budget_tokens": 1_999}


def test_a_budget_of_nothing_is_no_thinking():
    assert fields(SONNET, reasoning_budget=0) == {}


def test_a_summary_alone_is_asked_of_models_that_think_unasked():
    assert fields(SONNET, reasoning_summary="auto") == {}
    assert fields(OPUS_47, reasoning_summary="auto") == {}
    assert fields("anthropic.claude-opus-5", reasoning_summary="auto") == {
        "thinking": {"type": "adaptive", "display": "summarized"}
    }


def test_thinking_stays_off_within_a_loop_of_tools_that_has_no_proof():
    proof = ReasoningBlock(kind="text", format="bedrock", text="t", signature="s")
    for blocks, thinks in ((), False), ((proof,), True):
        messages = (
            ASKED,
            Message(role="assistant", tool_calls=CALLS, reasoning_blocks=blocks),
            Message(role="tool", tool_call_id="c1", content="r"),
        )
        asked = {"messages": messages, "tools": (Tool(name="f"),), "reasoning_effort": "low"}
        assert bool(fields(SONNET, **asked)) is thinks
        assert fields(OPUS_46, **asked)["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", (3, 7)),
        ("anthropic.claude-3-haiku-20240307-v1:0", (3, 0)),
        ("anthropic.claude-v2:1", (2, 0)),
        ("anthropic.claude-instant-v1", (2, 0)),
        ("anthropic.claude-opus-4-20250514-v1:0", (4, 0)),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", (4, 1)),
        (SONNET, (4, 5)),
        ("anthropic.claude-sonnet-4-6", (4, 6)),
        (OPUS_46, (4, 6)),
        (OPUS_47, (4, 7)),
        ("anthropic.claude-opus-5", (5, 0)),
        ("anthropic.claude-mythos-preview", (99, 0)),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
            (4, 5),
        ),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None),
        ("amazon.nova-lite-v1:0", None),
    ],
)
def test_claudes_version_is_in_its_name(model, version):
    assert claude_version(model) == version
