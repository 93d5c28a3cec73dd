"""A chat in Google's words: the exact JSON of every feature."""

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
    SafetySetting,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.gemini import GeminiChat

USER = Message(role="user", content="Hi")
WEATHER = Tool(name="get_weather", description="Of a city.", parameters_json='{ "type":"object" }')
CLOCK = Tool(name="get_time")
OLD, NEW = "gemini-2.5-flash", "gemini-3-flash"


def body(model: str = OLD, **request: object) -> dict:
    wire = GeminiChat().encode(make_call(model=model, **request), make_spec(), stream=False)
    return json.loads(wire.body)


def generation(model: str = OLD, **request: object) -> dict:
    found = body(model, **request)["generationConfig"]
    assert found.pop("maxOutputTokens") == 100
    return found


def contents(*messages: Message, model: str = OLD) -> list[dict]:
    return body(model, messages=messages)["contents"]


def user_part(part: object) -> dict:
    return contents(Message(role="user", content=(part,)))[0]["parts"][0]


def call(**more: str) -> ToolCall:
    return ToolCall(**{"id": "c1", "name": "get_weather", "arguments_json": '{"city": "X"}'} | more)


def block(data: str, mark: str, **more: str) -> ReasoningBlock:
    return ReasoningBlock(kind="encrypted", format="gemini", data=data, id=mark, **more)


# --- the request ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stream", "path"),
    [
        (False, "models/m%2F1:generateContent"),
        (True, "models/m%2F1:streamGenerateContent?alt=sse"),
    ],
)
def test_the_route_names_the_model_and_the_verb(stream, path):
    wire = GeminiChat().encode(make_call(model="m/1"), make_spec(), stream=stream)
    assert wire.path == path
    assert not wire.headers


def test_a_provider_may_have_other_routes():
    spec = make_spec(chat_path="x/{model}:a", chat_stream_path="x/{model}:b?alt=sse")
    wire = GeminiChat().encode(make_call(model="m"), spec, stream=True)
    assert wire.path == "x/m:b?alt=sse"


def test_the_least_request_has_contents_and_the_limit():
    assert body() == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"maxOutputTokens": 100},
    }


def test_every_feature_is_declared():
    support = GeminiChat.support
    assert set(support) == set(Feature)
    assert {feature for feature, how in support.items() if how is Support.REFUSED} == {
        Feature.PARALLEL_TOOLS,
        Feature.CACHE_MARKS,
        Feature.LOGIT_BIAS,
    }


# --- messages -------------------------------------------------------------------------------------
def test_system_messages_are_one_instruction_in_their_order():
    wire = body(
        messages=(
            Message(role="system", content="A"),
            USER,
            Message(role="developer", content=(TextPart(text="B"), TextPart(text="C"))),
        )
    )
    assert wire["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}, {"text": "C"}]}
    assert [one["role"] for one in wire["contents"]] == ["user"]


def test_a_system_message_takes_text_alone():
    image = ImagePart(url="https://x/a.png")
    with pytest.raises(FieldInvalid) as caught:
        body(messages=(Message(role="system", content=(image,)), USER))
    assert caught.value.field == "messages[0].content[0]"


def test_roles_are_user_and_model():
    assert contents(
        USER,
        Message(role="assistant", content="Hello."),
        Message(role="assistant"),
        Message(role="user", content="And?", name="ann"),
    ) == [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hello."}]},
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (
            ImagePart(url="data:image/png;base64,AAAA", detail="low"),
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        (
            ImagePart(url="https://x/a.JPG?s=1"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x/a.JPG?s=1"}},
        ),
        (
            ImagePart(url="gs://b/a.webp"),
            {"fileData": {"mimeType": "image/webp", "fileUri": "gs://b/a.webp"}},
        ),
        (ImagePart(url="https://x/a"), {"fileData": {"fileUri": "https://x/a"}}),
        (ImagePart(url="https://[x/a.png"), {"fileData": {"fileUri": "https://[x/a.png"}}),
        (
            AudioPart(data="AA==", format="wav"),
            {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}},
        ),
        (
            FilePart(file_data="data:application/pdf;base64,AA==", filename="a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}},
        ),
        (
            FilePart(file_id="files/abc"),
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        ),
        (
            FilePart(file_id="gs://b/a", filename="a.pdf"),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a"}},
        ),
        (
            FilePart(file_url="https://x/a.pdf"),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x/a.pdf"}},
        ),
        (
            ImagePart(file_id="files/abc"),
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        ),
        (RefusalPart(refusal="no"), {"text": "no"}),
    ],
    ids=range(12),
)
def test_each_part_has_googles_form(part, wire):
    assert user_part(part) == wire


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(url="http://x/a.png"),
        ImagePart(url="ftp://x/a.png"),
        ImagePart(url="data:image/png,AAAA"),
        ImagePart(url="data:;base64,AAAA"),
        ImagePart(url="data:image/png;base64"),
        FilePart(file_id="file-abc"),
        FilePart(file_data="AAAA"),
        FilePart(),
        FilePart(file_url="http://x/a.pdf"),
        ImagePart(file_id="file-abc"),
    ],
    ids=range(10),
)
def test_what_google_cannot_take_is_refused_by_its_field(part):
    with pytest.raises(FieldInvalid) as caught:
        user_part(part)
    assert caught.value.field == "messages[0].content[0]"


# --- tools ----------------------------------------------------------------------------------------
def test_tools_are_declared_with_their_schema_as_written():
    wire = body(tools=(WEATHER, CLOCK))
    assert wire["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "Of a city.",
                    "parametersJsonSchema": {"type": "object"},
                },
                {"name": "get_time"},
            ]
        }
    ]
    assert "toolConfig" not in wire
    raw = GeminiChat().encode(make_call(tools=(WEATHER,)), make_spec(), stream=False).body
    assert b'"parametersJsonSchema":{ "type":"object" }' in raw


@pytest.mark.parametrize(
    ("choice", "strict", "calling"),
    [
        (None, None, None),
        (ToolChoice(mode="auto"), None, {"mode": "AUTO"}),
        (ToolChoice(mode="none"), None, {"mode": "NONE"}),
        (ToolChoice(mode="required"), None, {"mode": "ANY"}),
        (
            ToolChoice(name="get_time"),
            None,
            {"mode": "ANY", "allowedFunctionNames": ["get_time"]},
        ),
        (None, True, {"mode": "VALIDATED"}),
        (ToolChoice(mode="auto"), True, {"mode": "VALIDATED"}),
        (ToolChoice(mode="required"), True, {"mode": "ANY"}),
        (ToolChoice(mode="none"), True, {"mode": "NONE"}),
    ],
)
def test_the_choice_of_tools_is_a_mode(choice, strict, calling):
    wire = body(tools=(Tool(name="f", strict=strict), CLOCK), tool_choice=choice)
    found = wire.get("toolConfig")
    assert found == (None if calling is None else {"functionCallingConfig": calling})


def test_results_of_one_turn_stand_together_by_their_functions_names():
    turns = contents(
        USER,
        Message(
            role="assistant",
            content="Let me see.",
            tool_calls=(call(), call(id="c2", name="get_time", arguments_json="")),
        ),
        Message(role="tool", tool_call_id="c2", content='{"time": "12:30"}'),
        Message(role="tool", tool_call_id="c1", content="Rain."),
        Message(role="user", content="Thanks"),
    )
    assert turns[1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"id": "c1", "name": "get_weather", "args": {"city": "X"}}},
                {"functionCall": {"id": "c2", "name": "get_time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "c2",
                        "name": "get_time",
                        "response": {"time": "12:30"},
                    }
                },
                {
                    "functionResponse": {
                        "id": "c1",
                        "name": "get_weather",
                        "response": {"output": "Rain."},
                    }
                },
            ],
        },
        {"role": "user", "parts": [{"text": "Thanks"}]},
    ]


def test_ids_that_google_did_not_give_are_not_sent_to_it():
    made = "gemini_0_0_r1"
    turns = contents(
        USER,
        Message(role="assistant", tool_calls=(call(id=made),)),
        Message(role="tool", tool_call_id=made, content="Rain."),
    )
    assert turns[1]["parts"][0]["functionCall"] == {"name": "get_weather", "args": {"city": "X"}}
    assert turns[2]["parts"][0]["functionResponse"] == {
        "name": "get_weather",
        "response": {"output": "Rain."},
    }


@pytest.mark.parametrize("text", ["{", "{}x", '{"a": }', "[1]", "7", ""])
def test_a_result_that_is_no_object_is_the_output(text):
    turns = contents(
        USER,
        Message(role="assistant", tool_calls=(call(),)),
        Message(role="tool", tool_call_id="c1", content=text),
    )
    assert turns[2]["parts"][0]["functionResponse"]["response"] == {"output": text}


def test_a_result_may_have_images():
    content = (TextPart(text="Seen:"), ImagePart(url="data:image/png;base64,AAAA"))
    turns = contents(
        USER,
        Message(role="assistant", tool_calls=(call(),)),
        Message(role="tool", tool_call_id="c1", content=content),
    )
    assert turns[2]["parts"][0]["functionResponse"] == {
        "id": "c1",
        "name": "get_weather",
        "response": {"output": "Seen:"},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
    }


def test_a_result_of_no_call_is_refused():
    with pytest.raises(FieldInvalid) as caught:
        contents(USER, Message(role="tool", tool_call_id="c9", content="Rain."))
    assert caught.value.field == "messages[1].tool_call_id"


@pytest.mark.parametrize("text", ["[]", "{", "{}}", '{"a": \ud800}', "null"])
def test_arguments_and_schemas_must_be_objects(text):
    for request in (
        {"messages": (USER, Message(role="assistant", tool_calls=(call(arguments_json=text),)))},
        {"tools": (Tool(name="f", parameters_json=text),)},
        {"response_format": ResponseFormat(kind="json_schema", schema_json=text)},
    ):
        with pytest.raises(FieldInvalid):
            body(**request)


def test_a_lone_surrogate_is_refused():
    with pytest.raises(FieldInvalid):
        contents(Message(role="user", content="\ud800"))


# --- forms ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("form", "wire"),
    [
        (ResponseFormat(kind="text"), {}),
        (ResponseFormat(kind="json_object"), {"responseMimeType": "application/json"}),
        (
            ResponseFormat(kind="json_schema", name="n", schema_json='{"type":"object"}'),
            {
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object"},
            },
        ),
        (
            ResponseFormat(kind="json_schema", name="n"),
            {"responseMimeType": "application/json"},
        ),
    ],
)
def test_the_form_of_the_answer(form, wire):
    assert generation(response_format=form) == wire


# --- thinking -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "request_", "wire"),
    [
        (OLD, {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        (OLD, {"reasoning_effort": "low"}, {"thinkingBudget": 1_024, "includeThoughts": True}),
        (OLD, {"reasoning_effort": "medium"}, {"thinkingBudget": 8_192, "includeThoughts": True}),
        (OLD, {"reasoning_effort": "high"}, {"thinkingBudget": 24_576, "includeThoughts": True}),
        (NEW, {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        (
            NEW,
            {"reasoning_effort": "minimal"},
            {"thinkingLevel": "MINIMAL", "includeThoughts": True},
        ),
        (
            "gemini-3.1-pro-preview",
            {"reasoning_effort": "minimal"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
        (NEW, {"reasoning_effort": "xhigh"}, {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        (
            "gemini-flash-latest",
            {"reasoning_effort": "low"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
        (OLD, {"reasoning_budget": 0}, {"thinkingBudget": 0}),
        (NEW, {"reasoning_budget": 500}, {"thinkingBudget": 500, "includeThoughts": True}),
        (
            NEW,
            {"reasoning_budget": 500, "reasoning_effort": "high"},
            {"thinkingBudget": 500, "includeThoughts": True},
        ),
        (OLD, {"reasoning_summary": "auto"}, {"includeThoughts": True}),
        (
            OLD,
            {"reasoning_summary": "detailed", "reasoning_effort": "none"},
            {"thinkingBudget": 0, "includeThoughts": True},
        ),
    ],
)  # fmt: skip
def test_thinking_is_a_level_or_a_budget(model, request_, wire):
    assert generation(model, **request_) == {"thinkingConfig": wire}


def test_an_unknown_effort_is_refused():
    with pytest.raises(FieldInvalid) as caught:
        body(reasoning_effort="much")
    assert caught.value.field == "reasoning_effort"


# --- signatures -----------------------------------------------------------------------------------
def model_parts(*blocks: ReasoningBlock, model: str = NEW, **message: object) -> list[dict]:
    told = Message(role="assistant", reasoning_blocks=blocks, **message)
    return contents(USER, told, model=model)[1]["parts"]


def test_the_signature_of_a_call_goes_back_to_it():
    parts = model_parts(block("s2", "c2"), tool_calls=(call(), call(id="c2")))
    assert [part.get("thoughtSignature") for part in parts] == [None, "s2"]


def test_a_call_without_any_signature_gets_the_documented_stand_in_where_one_is_demanded():
    calls = (call(), call(id="c2"))
    parts = model_parts(tool_calls=calls)
    assert [part.get("thoughtSignature") for part in parts] == [
        "skip_thought_signature_validator",
        None,
    ]
    for model in (OLD, "gemini-2.0-flash", "other"):
        parts = model_parts(model=model, tool_calls=calls)
        assert not any("thoughtSignature" in part for part in parts)


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ((), [("abcd", None)]),
        ((block("s", "text:0:4"),), [("abcd", "s")]),
        ((block("s", "text:4:4"),), [("abcd", None), ("", "s")]),
        ((block("s", "text:1:3"),), [("a", None), ("bc", "s"), ("d", None)]),
        (
            (block("t", "text:2:4"), block("s", "text:0:1")),
            [("a", "s"), ("b", None), ("cd", "t")],
        ),
        # Marks that do not fit the text any more are left out.
        ((block("s", "text:3:5"),), [("abcd", None)]),
        ((block("s", "text:3:2"), block("s", "text:x:2")), [("abcd", None)]),
        ((block("s", "text:0:3"), block("t", "text:2:4")), [("abc", "s"), ("d", None)]),
        (
            (ReasoningBlock(kind="encrypted", format="anthropic", data="s", id="text:0:4"),),
            [("abcd", None)],
        ),
    ],
    ids=range(9),
)
def test_the_signature_of_a_text_goes_back_to_the_characters_it_came_with(blocks, parts):
    for content in ("abcd", (TextPart(text="ab"), RefusalPart(refusal="cd"))):
        found = model_parts(*blocks, content=content)
        assert [(part["text"], part.get("thoughtSignature")) for part in found] == parts


def test_a_signed_thought_goes_back_before_everything():
    parts = model_parts(block("s", "thought", text="hm"), content="a", reasoning="hm, so")
    assert parts == [
        {"text": "hm", "thought": True, "thoughtSignature": "s"},
        {"text": "a"},
    ]


def test_reasoning_without_a_signature_does_not_go_back():
    assert model_parts(content="a", reasoning="hm") == [{"text": "a"}]


def test_a_refusal_goes_back_as_text():
    assert model_parts(refusal="no") == [{"text": "no"}]


# --- sampling and safety --------------------------------------------------------------------------
def test_every_setting_has_googles_name():
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        seed=7,
        stop=("x", "y"),
        choice_count=2,
        logprobs=True,
        top_logprobs=3,
    )
    assert generation(sampling=sampling) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "frequencyPenalty": 0.1,
        "presencePenalty": 0.2,
        "seed": 7,
        "stopSequences": ["x", "y"],
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert generation(sampling=Sampling(logprobs=True, top_logprobs=0)) == {
        "responseLogprobs": True
    }


def test_safety_settings_are_googles_own():
    setting = SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")
    assert body(safety=(setting,))["safetySettings"] == [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    ]
