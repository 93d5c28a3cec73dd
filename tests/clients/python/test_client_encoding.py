import base64
import json

import pytest
from omni.router.v1 import router_service_pb2 as pb
from omni_grpc_client import (
    Audio,
    ChatOptions,
    FieldInvalid,
    File,
    Image,
    JsonSchema,
    Message,
    ReasoningBlock,
    Routing,
    SafetySetting,
    Text,
    Tool,
    ToolCall,
    assistant,
    system,
    tool_result,
    user,
)
from omni_grpc_client.encoding import chat_prompt

SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}


def encoded(messages="hi", **options) -> pb.ChatPrompt:
    return chat_prompt("a/b", messages, ChatOptions(**options))


def test_every_option_reaches_the_contract():
    weather = Tool("weather", "tells the weather", SCHEMA, strict=True)
    prompt = encoded(
        tools=[weather],
        tool_choice=weather,
        parallel_tool_calls=False,
        response_format=JsonSchema("place", SCHEMA, "a place", strict=False),
        max_output_tokens=100,
        short_credits="shorten",
        reasoning_effort="low",
        temperature=0,
        top_p=0.5,
        frequency_penalty=-1,
        presence_penalty=1.5,
        seed=-7,
        stop=["a", "b"],
        n=2,
        logprobs=True,
        top_logprobs=0,
        logit_bias={"42": -100},
    )
    schema_json = json.dumps(SCHEMA)
    assert prompt == pb.ChatPrompt(
        model="a/b",
        messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="hi")])],
        tools=[
            pb.Tool(
                name="weather",
                description="tells the weather",
                parameters_json=schema_json,
                strict=True,
            )
        ],
        tool_choice=pb.ToolChoice(tool_name="weather"),
        parallel_tool_calls=False,
        response_format=pb.ResponseFormat(
            json_schema=pb.JsonSchemaFormat(
                name="place", schema_json=schema_json, description="a place", strict=False
            )
        ),
        sampling=pb.Sampling(
            temperature=0.0,
            top_p=0.5,
            frequency_penalty=-1.0,
            presence_penalty=1.5,
            seed=-7,
            stop_sequences=["a", "b"],
            choice_count=2,
            logprobs=True,
            top_logprob_count=0,
            logit_bias={"42": -100.0},
        ),
        reasoning_effort="low",
        max_output_token_count=100,
        short_credits=pb.SHORT_CREDITS_SHORTEN,
    )


def test_every_field_of_the_contract_can_be_set():
    """A field that the contract gains makes this fail until an option sets it."""
    weather = Tool("w", "d", SCHEMA, strict=True, cache="1h")
    everything = [
        Message(
            role="assistant",
            content=["t", Text("u", "5m"), Image("https://x", "low", file_id="f")],
            tool_calls=[ToolCall("i", "n", "{}")],
            tool_call_id="t",
            name="n",
            refusal="r",
            reasoning="r",
            reasoning_blocks=[
                ReasoningBlock(
                    kind="text",
                    format="f",
                    text="t",
                    signature="s",
                    data="d",
                    id="i",
                    text_before=1,
                    calls_before=1,
                )
            ],
        ),
        tool_result("c", "gone", failed=True),
        user(File(file_id="f", data_uri="data:", filename="f", uri="u"), Audio(b"x", "wav")),
    ]
    prompts = [
        encoded(
            everything,
            tools=[weather],
            tool_choice="auto",
            parallel_tool_calls=True,
            response_format=JsonSchema("n", SCHEMA, "d", strict=True),
            max_output_tokens=1,
            short_credits="refuse",
            reasoning_effort="low",
            temperature=1,
            top_p=1,
            frequency_penalty=1,
            presence_penalty=1,
            seed=1,
            stop="s",
            n=1,
            logprobs=True,
            top_logprobs=1,
            logit_bias={"1": 1},
            top_k=1,
            reasoning_budget=1,
            reasoning_summary="auto",
            safety_settings=[SafetySetting("c", "t")],
            optional=["seed"],
            routing=Routing(
                priority="cheap",
                latency="fast",
                max_cost_nanousd=1,
                allowed_providers=["p"],
                denied_providers=["p"],
                allowed_models=["m"],
                denied_models=["m"],
                fallbacks=["m"],
                data_region="eu",
                task="coding",
            ),
            tags={"k": "v"},
            end_user="u",
        ),
        encoded(response_format="json_object", tools=[weather], tool_choice=weather),
    ]
    reached: set[str] = set()

    def walk(message) -> None:
        for field, value in message.ListFields():
            reached.add(field.full_name)
            nested = value if field.is_repeated else [value]
            if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                for one in nested:
                    walk(one)

    for prompt in prompts:
        walk(prompt)
    contract = {
        field.full_name
        for message in (
            *(pb.ChatPrompt, pb.Message, pb.Part, pb.Image, pb.Audio, pb.File, pb.Tool),
            *(pb.ToolChoice, pb.ResponseFormat, pb.JsonSchemaFormat, pb.Sampling, pb.ToolCall),
            *(pb.ReasoningBlock, pb.SafetySetting, pb.RoutingPreferences),
        )
        for field in message.DESCRIPTOR.fields
    }
    assert contract - reached == set()


@pytest.mark.parametrize(
    ("routing", "message"),
    [
        ({"priority": "cheap"}, "give a Routing"),
        (Routing(priority="dear"), "none of cheap, balanced, best"),
        (Routing(latency="slow"), "neither normal nor fast"),
        (Routing(allowed_providers="openai"), "give a list"),
        (Routing(max_cost_nanousd=0.5), "cannot be sent"),
    ],
)
def test_a_routing_that_cannot_be_sent_is_refused(routing, message):
    with pytest.raises(FieldInvalid, match=message):
        encoded(routing=routing)


def test_none_is_as_unset():
    assert encoded(**dict.fromkeys(ChatOptions.__annotations__)) == encoded()


def test_json_text_is_sent_as_written_and_objects_keep_their_order():
    text = '{"z":1.0, "a" : 9007199254740993}'
    tools = encoded(tools=[Tool("t", parameters=text), Tool("u", parameters={"z": 1, "a": "é"})])
    assert tools.tools[0].parameters_json == text
    assert tools.tools[1].parameters_json == '{"z": 1, "a": "é"}'
    assert not tools.tools[1].HasField("strict")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("auto", pb.TOOL_MODE_AUTO),
        ("none", pb.TOOL_MODE_NONE),
        ("required", pb.TOOL_MODE_REQUIRED),
    ],
)
def test_a_tool_mode(mode, expected):
    assert encoded(tool_choice=mode).tool_choice.mode == expected


def test_a_plain_text_format_is_as_unset():
    assert not encoded(response_format="text").HasField("response_format")
    assert not encoded(response_format={"type": "text"}).HasField("response_format")


def test_helpers_make_the_usual_messages(tmp_path):
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"PNG")
    (tmp_path / "cat.pdf").write_bytes(b"PDF")
    (tmp_path / "cat.MP3").write_bytes(b"MP3")
    prompt = encoded(
        [
            system("Be brief."),
            user(
                "What is this?",
                Image.from_file(picture, "low"),
                Image.from_bytes(b"x", "image/gif"),
                File.from_file(tmp_path / "cat.pdf"),
                Audio.from_file(str(tmp_path / "cat.MP3")),
                name="Ann",
            ),
            assistant("A cat."),
            tool_result("tool_1", "21"),
        ]
    )
    system_turn, user_turn, assistant_turn, tool_turn = prompt.messages
    assert system_turn == pb.Message(role=pb.ROLE_SYSTEM, parts=[pb.Part(text="Be brief.")])
    assert user_turn.name == "Ann"
    assert user_turn.parts[1].image == pb.Image(uri="data:image/png;base64,UE5H", detail="low")
    assert user_turn.parts[2].image.uri == "data:image/gif;base64,eA=="
    assert user_turn.parts[3].file == pb.File(
        data_uri="data:application/pdf;base64,UERG", filename="cat.pdf"
    )
    assert user_turn.parts[4].audio == pb.Audio(data=b"MP3", format="mp3")
    assert assistant_turn.role == pb.ROLE_ASSISTANT
    assert (tool_turn.role, tool_turn.tool_call_id) == (pb.ROLE_TOOL, "tool_1")


def test_messages_in_openais_shape_are_the_same_as_our_own():
    sound = base64.b64encode(b"wave").decode()
    theirs = [
        {"role": "developer", "content": "Be brief.", "name": "ops"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
                {"type": "file", "file": {"file_id": "f1"}},
                {"type": "file", "file": {"file_data": "data:,x", "filename": "x.txt"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "w", "arguments": "{}"}}
            ],
            "reasoning_content": "hm",
        },
        {"role": "tool", "tool_call_id": "t1", "content": "21"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    ours = [
        Message(role="developer", content="Be brief.", name="ops"),
        user(
            "Look",
            Image("https://x/y.png", "high"),
            Audio(b"wave", "wav"),
            File(file_id="f1"),
            File(data_uri="data:,x", filename="x.txt"),
        ),
        Message(role="assistant", tool_calls=[ToolCall("t1", "w", "{}")], reasoning="hm"),
        tool_result("t1", "21"),
        Message(role="assistant", refusal="no"),
    ]
    assert encoded(theirs) == encoded(ours)


def test_marks_and_blocks_in_openais_shape_are_the_same_as_our_own():
    mark = {"type": "ephemeral"}
    theirs = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t", "cache_control": mark},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://x"},
                    "cache_control": mark | {"ttl": "1h"},
                },
                {"type": "file", "file": {"file_id": "f"}, "cache_control": mark},
            ],
        },
        {
            "role": "assistant",
            "content": "a",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "t", "signature": "s", "id": None, "index": 0},
                {"type": "reasoning.summary", "summary": "s", "format": "f", "index": 1},
                {"type": "reasoning.encrypted", "data": "d", "id": "i", "index": 2},
            ],
        },
    ]
    ours = [
        user(Text("t", "5m"), Image("https://x", cache="1h"), File(file_id="f", cache="5m")),
        Message(
            role="assistant",
            content="a",
            reasoning_blocks=[
                ReasoningBlock(kind="text", format="openai", text="t", signature="s"),
                ReasoningBlock(kind="summary", format="f", text="s"),
                ReasoningBlock(kind="encrypted", format="openai", data="d", id="i"),
            ],
        ),
    ]
    assert encoded(theirs) == encoded(ours)
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": mark}
    assert encoded(tools=[tool]) == encoded(tools=[Tool("f", cache="5m")])


def test_options_in_openais_shape_are_the_same_as_our_own():
    theirs = encoded(
        tools=[
            {
                "type": "function",
                "function": {"name": "w", "parameters": SCHEMA, "strict": True},
            }
        ],
        tool_choice={"type": "function", "function": {"name": "w"}},
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "p", "schema": SCHEMA, "strict": True},
        },
    )
    weather = Tool("w", parameters=SCHEMA, strict=True)
    ours = encoded(
        tools=[weather],
        tool_choice=weather,
        response_format=JsonSchema("p", SCHEMA, strict=True),
    )
    assert theirs == ours
    assert encoded(response_format={"type": "json_object"}) == encoded(
        response_format="json_object"
    )


def test_a_dumped_message_of_the_openai_sdk_is_taken():
    chat = pytest.importorskip("openai.types.chat")
    answer = chat.ChatCompletionMessage(role="assistant", content="hi", annotations=[])
    assert encoded([answer.model_dump()]) == encoded([assistant("hi")])


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([{"content": "hi"}], "messages[0].role"),
        ([{"role": "robot", "content": "hi"}], "messages[0].role"),
        ([{"role": 7, "content": "hi"}], "messages[0].role"),
        ([user("hi"), {"role": "user", "content": 7}], "messages[1].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content[0]"),
        (
            [{"role": "user", "content": [{"type": "video", "video": {}}]}],
            "messages[0].content[0].type",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x"}]}],
            "messages[0].content[0].image_url",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "input_audio": {"data": "!!", "format": "wav"}}
                    ],
                }
            ],
            "messages[0].content[0].input_audio.data",
        ),
        (
            [{"role": "user", "content": "hi", "cache_control": {"a": 1}}],
            "messages[0].cache_control",
        ),
        ([{"role": "assistant", "tool_calls": {"id": "x"}}], "messages[0].tool_calls"),
        (
            [{"role": "assistant", "tool_calls": [{"type": "custom", "id": "x"}]}],
            "messages[0].tool_calls[0].type",
        ),
        ({"role": "user", "content": "hi"}, "messages"),
        (["hi"], "messages[0]"),
        ([Message(role="robot")], "messages[0].role"),
        ([user(b"bytes")], "messages[0].content[0]"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_by_its_path(messages, field):
    with pytest.raises(FieldInvalid) as caught:
        encoded(messages)
    assert caught.value.field == field
    assert caught.value.code is None
    assert caught.value.charged_nanousd == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tool_choice": "weather"}, "tool_choice"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice.type"),
        ({"response_format": "xml"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "flat"}]}, "tools[0].name"),
        (
            {"tools": [{"type": "function", "function": {"name": "x", "strict": "yes"}}]},
            "tools[0].function.strict",
        ),
        ({"short_credits": "borrow"}, "short_credits"),
        ({"temperature": "hot"}, None),
        ({"max_output_tokens": 2**31}, None),
        ({"seed": 1.5}, None),
        ({"tools": [Tool("x", parameters={"minimum": float("nan")})]}, None),
        ({"tools": [Tool("x", parameters={"default": {1, 2}})]}, None),
        ({"reasoning_effort": "\ud800"}, None),
    ],
)
def test_an_option_that_cannot_be_sent_is_refused(options, field):
    with pytest.raises(FieldInvalid) as caught:
        encoded(**options)
    assert caught.value.field == field


def test_an_option_that_there_is_not_is_a_type_error():
    with pytest.raises(TypeError, match="no option 'max_tokens'"):
        encoded(max_tokens=7)


def test_arguments_that_are_no_object_are_refused():
    assert ToolCall("1", "t", "").arguments() == {}
    for wrong in ("[1]", "{", "7"):
        with pytest.raises(ValueError, match=r"JSON|Expecting"):
            ToolCall("1", "t", wrong).arguments()
