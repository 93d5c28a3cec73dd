"""What a request becomes in Anthropic's words, feature by feature."""

import base64
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
from omni_grpc.providers.anthropic import AnthropicChat
from omni_grpc.providers.features import Feature, Support

OLD, NEW = "claude-sonnet-4-5-20250929", "claude-opus-4-6"
SCHEMA = '{"type": "object",  "properties":{"b":{"type":"string"},"a":{"type":"integer"}}}'
TOOL = Tool(name="f", description="Does.", parameters_json=SCHEMA)


def encode(*, stream=False, spec=None, **request):
    wire = AnthropicChat().encode(make_call(**request), make_spec(**(spec or {})), stream=stream)
    return wire, json.loads(wire.body)


def body(**request):
    return encode(**request)[1]


def said(*messages, **more):
    return body(messages=messages, **more)


def user(content):
    return Message(role="user", content=content)


def text(words, **more):
    return {"type": "text", "text": words, **more}


def data_url(kind, data=b"%PDF-"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def refusal_of(**request):
    with pytest.raises(FieldInvalid) as caught:
        body(**request)
    return caught.value.field


# --- where it goes ------------------------------------------------------------------------------
def test_the_least_request():
    wire, sent = encode()
    assert wire.path == "v1/messages"
    assert wire.headers == {"anthropic-version": "2023-06-01"}
    assert sent == {
        "model": "m-1",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }


def test_a_stream_says_so():
    assert encode(stream=True)[1]["stream"] is True


def test_a_version_of_the_provider_stays():
    wire, _ = encode(spec={"headers": {"Anthropic-Version": "2026-10-21"}})
    assert wire.headers == {}


@pytest.mark.parametrize(("stream", "end"), [(False, "rawPredict"), (True, "streamRawPredict")])
def test_at_vertex_the_model_stands_in_the_path_and_the_version_in_the_body(stream, end):
    spec = {
        "chat_path": "models/{model}:rawPredict",
        "chat_stream_path": "models/{model}:streamRawPredict",
    }
    wire, sent = encode(stream=stream, spec=spec, model="claude-opus-4-5@20251101")
    assert wire.path == f"models/claude-opus-4-5%4020251101:{end}"
    assert wire.headers == {}
    assert "model" not in sent
    assert sent["anthropic_version"] == "vertex-2023-10-16"
    assert sent.get("stream", False) is stream


# --- messages -----------------------------------------------------------------------------------
def test_system_prompts_fold_into_one_in_their_order():
    sent = said(
        Message(role="system", content="One."),
        user("Hi"),
        Message(role="developer", content=(TextPart(text="Two.", cache="1h"),)),
        user("And?"),
    )
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert sent["system"] == [text("One."), text("Two.", cache_control=mark)]
    assert sent["messages"] == [{"role": "user", "content": [text("Hi"), text("And?")]}]


def test_results_of_parallel_calls_stand_in_one_turn_before_what_the_user_says():
    sent = said(
        user("Go"),
        Message(
            role="assistant",
            content="Calling.",
            tool_calls=(
                ToolCall(id="t1", name="f", arguments_json='{"a": 1.0}'),
                ToolCall(id="t2", name="g", arguments_json=""),
            ),
        ),
        Message(role="tool", tool_call_id="t1", content="one"),
        Message(
            role="tool",
            tool_call_id="t2",
            content=(TextPart(text="two", cache="5m"), ImagePart(url="https://x/y.png")),
        ),
        user("Well?"),
    )
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                text("Calling."),
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [text("one")]},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": [
                        text("two"),
                        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                    ],
                    "cache_control": {"type": "ephemeral"},
                },
                text("Well?"),
            ],
        },
    ]


def test_ids_of_other_providers_are_made_to_fit():
    call = ToolCall(id="functions.f:0", name="f", arguments_json="{}")
    sent = said(
        user("Go"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", tool_call_id="functions.f:0", content="x"),
    )
    assert sent["messages"][1]["content"][0]["id"] == "functions_f_0"
    assert sent["messages"][2]["content"][0]["tool_use_id"] == "functions_f_0"


def test_arguments_go_out_as_they_were_written():
    call = ToolCall(id="t", name="f", arguments_json='{"b":1e2,  "a":"\\u00e9"}')
    wire, _ = encode(messages=(user("Go"), Message(role="assistant", tool_calls=(call,))))
    assert b'"input":{"b":1e2,  "a":"\\u00e9"}' in wire.body


def test_images_and_files():
    sent = said(
        user(
            (
                TextPart(text="See", cache="5m"),
                ImagePart(url=data_url("image/jpg"), detail="high", cache="1h"),
                FilePart(file_data=data_url("application/pdf"), filename="a.pdf", cache="5m"),
                FilePart(file_data=data_url("text/csv", "é,b".encode()), filename="a.csv"),
                FilePart(file_data=data_url("image/png")),
            )
        )
    )
    pdf = base64.b64encode(b"%PDF-").decode()
    assert sent["messages"][0]["content"] == [
        text("See", cache_control={"type": "ephemeral"}),
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/jpeg", "data": pdf},
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": pdf},
            "title": "a.pdf",
            "cache_control": {"type": "ephemeral"},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "é,b"},
            "title": "a.csv",
        },
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": pdf},
        },
    ]


@pytest.mark.parametrize(
    ("headers", "beta"),
    [({}, "files-api-2025-04-14"), ({"anthropic-beta": "x-1"}, "x-1,files-api-2025-04-14")],
)
def test_a_file_by_id_names_the_beta_that_it_needs(headers, beta):
    wire, sent = encode(messages=(user((FilePart(file_id="file_1"),)),), spec={"headers": headers})
    source = {"type": "file", "file_id": "file_1"}
    assert sent["messages"][0]["content"] == [{"type": "document", "source": source}]
    assert wire.headers["anthropic-beta"] == beta


def test_an_image_by_id_is_a_file_too():
    wire, sent = encode(messages=(user((ImagePart(file_id="file_1"),)),))
    source = {"type": "file", "file_id": "file_1"}
    assert sent["messages"][0]["content"] == [{"type": "image", "source": source}]
    assert wire.headers["anthropic-beta"] == "files-api-2025-04-14"


def test_a_document_by_url_is_fetched_there():
    wire, sent = encode(messages=(user((FilePart(file_url="https://x/a.pdf", filename="A"),)),))
    source = {"type": "url", "url": "https://x/a.pdf"}
    document = {"type": "document", "source": source, "title": "A"}
    assert sent["messages"][0]["content"] == [document]
    assert "anthropic-beta" not in wire.headers


def test_what_is_empty_is_left_out():
    sent = said(
        user("Hi"),
        Message(role="assistant", content=""),
        user((TextPart(text=""), TextPart(text="Still there?"))),
        Message(role="assistant", tool_calls=(ToolCall(id="t", name="f", arguments_json="{}"),)),
        Message(role="tool", tool_call_id="t", content=""),
    )
    assert sent["messages"][0]["content"] == [text("Hi"), text("Still there?")]
    assert sent["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "t"}]


def test_a_refusal_comes_back_as_what_was_said():
    sent = said(
        user("Do"),
        Message(role="assistant", content=(RefusalPart(refusal="No."),)),
        user("Do!"),
        Message(role="assistant", refusal="Never."),
        user("Please"),
    )
    assert [turn["content"] for turn in sent["messages"] if turn["role"] == "assistant"] == [
        [text("No.")],
        [text("Never.")],
    ]


def test_thinking_comes_back_first_and_only_its_makers_own():
    blocks = (
        ReasoningBlock(kind="text", format="anthropic", text="Hm.", signature="s"),
        ReasoningBlock(kind="encrypted", format="anthropic", data="ZA=="),
        ReasoningBlock(kind="text", format="anthropic", text="unproven"),
        ReasoningBlock(kind="text", format="gemini", text="other", signature="s"),
        ReasoningBlock(kind="text", format="anthropic", text="", signature="omitted"),
    )
    sent = said(
        user("Hi"),
        Message(role="assistant", content="Yes.", reasoning="Hm.", reasoning_blocks=blocks),
        user("?"),
    )
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "ZA=="},
        {"type": "thinking", "thinking": "", "signature": "omitted"},
        text("Yes."),
    ]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ((Message(role="system", content="Be."),), "messages"),
        ((user(""),), "messages"),
        ((user((AudioPart(data="", format="wav"),)),), "messages[0].content[0]"),
        ((user((FilePart(file_data="JVBERi0="),)),), "messages[0].content[0]"),
        ((user((FilePart(file_data="data:application/pdf,x"),)),), "messages[0].content[0]"),
        ((user((FilePart(file_data=data_url("video/mp4")),)),), "messages[0].content[0]"),
        ((user((FilePart(file_data=data_url("text/plain", b"\xff")),)),), "messages[0].content[0]"),
        ((user((FilePart(file_data="data:text/plain;base64,?"),)),), "messages[0].content[0]"),
        ((user((ImagePart(url="data:image/png,x"),)),), "messages[0].content[0]"),
        ((user("\ud800"),), "messages"),
        (
            (Message(role="system", content=(ImagePart(url="https://x"),)), user("Hi")),
            "messages[0]",
        ),
        *(
            (
                (
                    user("Hi"),
                    Message(
                        role="assistant",
                        tool_calls=(ToolCall(id="t", name="f", arguments_json=written),),
                    ),
                ),
                "messages[1].tool_calls[0].function.arguments",
            )
            for written in ("[]", '{"a":', '{"a":1}}', '{"a":"\ud800"}')
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_its_field(messages, field):
    assert refusal_of(messages=messages) == field


# --- tools --------------------------------------------------------------------------------------
def test_tools():
    sent = body(tools=(TOOL, Tool(name="g", strict=True, cache="1h"), Tool(name="h", strict=False)))
    assert sent["tools"] == [
        {"name": "f", "description": "Does.", "input_schema": json.loads(SCHEMA)},
        {
            "name": "g",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        {"name": "h", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in sent
    assert SCHEMA.encode() in encode(tools=(TOOL,))[0].body


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="auto"), True, {"type": "auto"}),
        (ToolChoice(mode="required"), None, {"type": "any"}),
        (ToolChoice(mode="required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="none"), False, {"type": "none"}),
        (ToolChoice(name="f"), None, {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choices(choice, parallel, wire):
    sent = body(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=parallel)
    assert sent.get("tool_choice") == wire


def test_a_choice_without_tools_means_nothing():
    assert "tool_choice" not in body(tool_choice=ToolChoice(mode="none"))


# --- forms --------------------------------------------------------------------------------------
def test_a_schema_goes_natively_and_as_written():
    form = ResponseFormat(kind="json_schema", name="n", schema_json=SCHEMA, strict=True)
    wire, sent = encode(response_format=form)
    assert sent["output_config"] == {
        "format": {"type": "json_schema", "schema": json.loads(SCHEMA)}
    }
    assert SCHEMA.encode() in wire.body
    assert refusal_of(response_format=ResponseFormat(kind="json_schema")) is not None
    assert "output_config" not in body(response_format=ResponseFormat(kind="text"))


@pytest.mark.parametrize(
    ("more", "tools", "choice"),
    [
        (
            {},
            ["omni_json_answer"],
            {"type": "tool", "name": "omni_json_answer", "disable_parallel_tool_use": True},
        ),
        ({"tools": (TOOL,)}, ["f", "omni_json_answer"], {"type": "any"}),
        (
            {"tools": (TOOL,), "parallel_tool_calls": False},
            ["f", "omni_json_answer"],
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        (
            {"tools": (TOOL,), "tool_choice": ToolChoice(mode="none")},
            ["f", "omni_json_answer"],
            {"type": "tool", "name": "omni_json_answer", "disable_parallel_tool_use": True},
        ),
        ({"tools": (TOOL,), "tool_choice": ToolChoice(mode="required")}, ["f"], {"type": "any"}),
    ],
)  # fmt: skip
def test_some_json_is_the_input_of_a_tool_that_must_be_called(more, tools, choice):
    sent = body(response_format=ResponseFormat(kind="json_object"), **more)
    assert [tool["name"] for tool in sent["tools"]] == tools
    assert sent["tool_choice"] == choice


def test_the_reserved_name_is_refused():
    assert refusal_of(tools=(Tool(name="omni_json_answer"),)) == "tools[0].name"


# --- reasoning ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "asked", "thinking", "effort"),
    [
        (NEW, {"reasoning_effort": "high"}, {"type": "adaptive"}, "high"),
        (NEW, {"reasoning_effort": "minimal"}, {"type": "adaptive"}, "low"),
        (NEW, {"reasoning_effort": "max"}, {"type": "adaptive"}, "max"),
        (NEW, {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        (NEW, {"reasoning_budget": 0}, {"type": "disabled"}, None),
        (NEW, {"reasoning_budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, None),
        (
            NEW,
            {"reasoning_budget": 2000, "reasoning_effort": "low"},
            {"type": "enabled", "budget_tokens": 2000},
            "low",
        ),
        (
            NEW,
            {"reasoning_effort": "low", "reasoning_summary": "detailed"},
            {"type": "adaptive", "display": "summarized"},
            "low",
        ),
        (NEW, {"reasoning_summary": "auto"}, {"type": "adaptive", "display": "summarized"}, None),
        (OLD, {"reasoning_summary": "auto"}, None, None),
        (OLD, {"reasoning_effort": "medium"}, {"type": "enabled", "budget_tokens": 4000}, None),
        (OLD, {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 1600}, None),
        (OLD, {"reasoning_effort": "minimal"}, {"type": "enabled", "budget_tokens": 1024}, None),
        # The limit is the gateway's own here, so a budget above it is cut to fit.
        (OLD, {"reasoning_budget": 9000}, {"type": "enabled", "budget_tokens": 7999}, None),
    ],
)  # fmt: skip
def test_reasoning(model, asked, thinking, effort):
    sent = body(model=model, output_tokens_max=8000, **asked)
    assert sent.get("thinking") == thinking
    assert sent.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("model", "is_old"),
    [
        ("claude-3-7-sonnet-20250219", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1", True),
        ("claude-opus-4-5@20251101", True),
        ("claude-haiku-4-5", True),
        ("claude-sonnet-4-6", False),
        ("claude-opus-4-8-20260528", False),
        ("claude-sonnet-5-5", False),
        ("some-other", False),
    ],
)
def test_models_before_4_6_get_a_budget_for_an_effort(model, is_old):
    sent = body(model=model, output_tokens_max=8000, reasoning_effort="high")
    assert (sent["thinking"]["type"] == "enabled") is is_old


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"reasoning_effort": "low", "output_tokens_max": 1024, "model": OLD}, "reasoning_effort"),
        ({"reasoning_budget": 500}, "reasoning_budget"),
        ({"reasoning_budget": -1}, "reasoning_budget"),
        ({"reasoning_budget": 1024, "output_tokens_max": 1024}, "reasoning_budget"),
        ({"reasoning_effort": "low", "sampling": Sampling(temperature=0.5)}, "temperature"),
        ({"reasoning_effort": "low", "sampling": Sampling(top_p=0.9)}, "top_p"),
        ({"reasoning_effort": "low", "sampling": Sampling(top_k=5)}, "top_k"),
        (
            {"reasoning_effort": "low", "tools": (TOOL,), "tool_choice": ToolChoice(name="f")},
            "tool_choice",
        ),
        (
            {"reasoning_effort": "low", "response_format": ResponseFormat(kind="json_object")},
            "response_format",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_with_reasoning_is_refused(asked, field):
    assert refusal_of(**{"model": NEW, "output_tokens_max": 8000, **asked}) == field


def test_a_callers_own_limit_is_not_bent_for_a_budget():
    call = make_call(model=OLD, output_tokens_max=2000, reasoning_budget=2000)
    request = msgspec.structs.replace(call.request, output_tokens_max=2000)
    call = msgspec.structs.replace(call, request=request)
    with pytest.raises(FieldInvalid):
        AnthropicChat().encode(call, make_spec(), stream=False)


def test_what_goes_with_reasoning_goes_out_and_what_is_optional_gives_way():
    sampling = Sampling(temperature=1, top_p=0.97, top_k=5)
    optional = frozenset({"top_k"})
    sent = body(model=NEW, reasoning_effort="low", sampling=sampling, optional=optional)
    assert (sent["temperature"], sent["top_p"], "top_k" in sent) == (1, 0.97, False)


@pytest.mark.parametrize("carried", [False, True])
def test_a_budget_waits_for_the_next_user_where_thinking_was_not_carried_back(carried):
    block = ReasoningBlock(kind="text", format="anthropic", text="Hm.", signature="s")
    messages = (
        user("Go"),
        Message(
            role="assistant",
            reasoning_blocks=(block,) if carried else (),
            tool_calls=(ToolCall(id="t", name="f", arguments_json="{}"),),
        ),
        Message(role="tool", tool_call_id="t", content="x"),
    )
    more = {"model": OLD, "output_tokens_max": 8000, "reasoning_effort": "low"}
    assert ("thinking" in said(*messages, **more)) is carried
    assert "thinking" in said(*messages, user("And?"), **more)
    assert "thinking" in said(*messages, **{**more, "model": NEW})


# --- the rest -----------------------------------------------------------------------------------
def test_sampling():
    sent = body(sampling=Sampling(temperature=0.0, top_p=0.5, top_k=7, stop=("a", "b")))
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (0.0, 0.5, 7)
    assert sent["stop_sequences"] == ["a", "b"]


def test_what_anthropic_has_not_is_refused_before_the_call():
    refused = {name for name, how in AnthropicChat.support.items() if how is Support.REFUSED}
    assert refused == {
        Feature.AUDIO,
        Feature.PENALTIES,
        Feature.LOGIT_BIAS,
        Feature.SEED,
        Feature.LOGPROBS,
        Feature.CHOICES,
        Feature.SAFETY,
    }
    assert set(AnthropicChat.support) == set(Feature)


def test_what_clashes_with_thinking_is_named():
    call = make_call(
        model="claude-sonnet-4-6",
        reasoning_effort="high",
        sampling=Sampling(temperature=0.2, top_k=5),
        optional=frozenset({"temperature", "top_k"}),
    )
    sent = AnthropicChat().encode(call, make_spec(), stream=False)
    assert sent.left_out == ("temperature", "top_k")
    assert "temperature" not in json.loads(sent.body)
