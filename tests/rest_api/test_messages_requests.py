"""Bodies of Anthropic's API as the chats that they ask for."""

import json
from typing import Any

import pytest
from messages_client import HELLO, MESSAGES, ask, body
from raw_client import RawClient
from rest_rig import BILLING_KEY, KEY, OTHER_KEY, Service, completion

from omni_grpc.completion import Call
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Sampling,
    ShortCredits,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.core.errors import FeatureUnsupported, ModelUnpriced, NoCapableModel, OmniError

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SCHEMA = '{"type": "object", "properties": {"b": {}, "a": {}}}'
TOOL = {"name": "weather", "input_schema": {"type": "object"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}


async def read(service: Service, raw: RawClient, **fields: Any) -> ChatRequest:
    answer = await ask(raw, body(**fields))
    assert answer.status == 200, answer.body
    return service.chats.requests[-1]


async def said(service: Service, raw: RawClient, *blocks: Any, role: str = "user") -> Any:
    """The messages of one turn of blocks."""
    turns = [{"role": role, "content": list(blocks)}]
    return (await read(service, raw, messages=turns)).messages


# --- what is carried --------------------------------------------------------------------------
async def test_a_conversation_becomes_the_domains(service: Service, raw: RawClient) -> None:
    request = await read(
        service, raw,
        system="Be brief.",
        messages=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "system", "content": [{"type": "text", "text": "Now rhyme."}]},
            {"role": "user", "content": [{"type": "text", "text": a} for a in "ab"]},
        ],
    )  # fmt: skip
    assert request.model == "sim/fast"
    assert request.output_tokens_max == 100
    assert request.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi"),
        Message(role="system", content="Now rhyme."),
        Message(role="user", content=(TextPart(text="a"), TextPart(text="b"))),
    )


async def test_results_of_tools_stand_before_what_else_is_said(
    service: Service, raw: RawClient
) -> None:
    call = '{"type":"tool_use","id":"t1","name":"f","input":{"b": 1.0, "a":[]}}'
    turns = f"""[{{"role":"user","content":"Go"}},
        {{"role":"assistant","content":[{{"type":"text","text":"I call."}},{call}]}},
        {{"role":"user","content":[
            {{"type":"text","text":"And?"}},
            {{"type":"tool_result","tool_use_id":"t1","content":"14"}},
            {{"type":"tool_result","tool_use_id":"t2","is_error":true,"content":"gone"}},
            {{"type":"tool_result","tool_use_id":"t3"}},
            {{"type":"tool_result","tool_use_id":"t4","is_error":true,
              "cache_control":{{"type":"ephemeral"}},
              "content":[{{"type":"image","source":{json.dumps(PNG)}}}]}}
        ]}}]"""
    asked = f'{{"model":"sim/fast","max_tokens":9,"messages":{turns}}}'
    assert (await ask(raw, asked.encode())).status == 200
    _, assistant, *rest = service.chats.requests[-1].messages
    assert assistant == Message(
        role="assistant",
        content="I call.",
        tool_calls=(ToolCall(id="t1", name="f", arguments_json='{"b": 1.0, "a":[]}'),),
    )
    image = ImagePart(url="data:image/png;base64,AAAA", cache="5m")
    assert rest == [
        Message(role="tool", tool_call_id="t1", content="14"),
        Message(role="tool", tool_call_id="t2", content="gone", tool_failed=True),
        Message(role="tool", tool_call_id="t3", content=""),
        Message(role="tool", tool_call_id="t4", content=(image,), tool_failed=True),
        Message(role="user", content="And?"),
    ]


async def test_media_and_documents_are_carried(service: Service, raw: RawClient) -> None:
    def document(**source: Any) -> Any:
        return {"type": "document", "source": source, "title": "T", "context": "C"}

    marked = {"type": "ephemeral", "ttl": "1h"}
    pdf = document(type="base64", media_type="application/pdf", data="JVBE")
    (message,) = await said(
        service, raw,
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_2"}},
        document(type="url", url="https://x/y.pdf"),
        pdf | {"cache_control": marked},
        document(type="text", media_type="text/plain", data="words"),
        document(type="file", file_id="file_1"),
        document(type="content", content="one"),
        document(type="content", content=[{"type": "text", "text": "two"}]),
    )  # fmt: skip
    assert message.content == (
        ImagePart(url="data:image/png;base64,AAAA"),
        ImagePart(url="https://x/y.png"),
        ImagePart(file_id="file_2"),
        TextPart(text="C"),
        FilePart(file_url="https://x/y.pdf", filename="T"),
        TextPart(text="C"),
        FilePart(file_data="data:application/pdf;base64,JVBE", filename="T", cache="1h"),
        TextPart(text="T\nC"),
        TextPart(text="words"),
        TextPart(text="C"),
        FilePart(file_id="file_1", filename="T"),
        TextPart(text="T\nC"),
        TextPart(text="one"),
        TextPart(text="T\nC"),
        TextPart(text="two"),
    )


async def test_tools_and_their_choice_are_carried(service: Service, raw: RawClient) -> None:
    asked = (
        '{"model":"sim/fast","max_tokens":9,"messages":[{"role":"user","content":"x"}],'
        '"tools":[{"type":"custom","name":"f","description":"d","strict":true,'
        f'"cache_control":{{"type":"ephemeral","ttl":"1h"}},"input_schema":{SCHEMA}}}]}}'
    )
    assert (await ask(raw, asked.encode())).status == 200
    assert service.chats.requests[-1].tools == (
        Tool(name="f", description="d", parameters_json=SCHEMA, strict=True, cache="1h"),
    )
    alone = {"disable_parallel_tool_use": True}
    for choice, expected, parallel in (
        ({"type": "auto"}, ToolChoice(mode="auto"), None),
        ({"type": "auto", **alone}, ToolChoice(mode="auto"), False),
        ({"type": "any", **alone}, ToolChoice(mode="required"), False),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice(mode="required"), None),
        ({"type": "tool", "name": "weather"}, ToolChoice(name="weather"), None),
        ({"type": "none"}, ToolChoice(mode="none"), None),
    ):
        request = await read(service, raw, tools=[TOOL], tool_choice=choice)
        assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


async def test_settings_are_carried(service: Service, raw: RawClient) -> None:
    request = await read(
        service, raw, model="omni/auto", temperature=0.5, top_p=0.9, top_k=40,
        stop_sequences=["END", "STOP"],
        metadata={"user_id": "me"}, service_tier="standard_only",
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"a": 1}}},
        omni={"short_credits": "shorten", "optional": ["top_k", "stop_sequences"]},
    )  # fmt: skip
    assert request.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=40, stop=("END", "STOP"))
    assert request.reasoning_effort == "high"
    assert request.response_format == ResponseFormat(
        kind="json_schema", name="answer", schema_json='{"a": 1}', strict=True
    )
    assert request.short_credits is ShortCredits.SHORTEN
    assert request.optional == {"top_k", "stop"}
    assert {name: bytes(value) for name, value in request.extra.items()} == {
        "user": b'"me"',
        "service_tier": b'"default"',
    }
    older = await read(service, raw, output_format={"type": "json_schema", "schema": {}})
    assert older.response_format is not None
    long = await read(service, raw, metadata={"user_id": "u" * 65}, service_tier="auto")
    assert len(json.loads(bytes(long.extra["user"]))) == 64
    assert set(long.extra) == {"user"}


@pytest.mark.parametrize(
    ("thinking", "budget", "summary"),
    [
        ({"type": "enabled", "budget_tokens": 2048}, 2048, "auto"),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, 1024, None),
        ({"type": "adaptive"}, None, "auto"),
        ({"type": "adaptive", "display": "summarized"}, None, "auto"),
        ({"type": "disabled"}, 0, None),
    ],
)
async def test_thinking_is_asked_and_no_provider_refused_for_it(
    service: Service, raw: RawClient, thinking: Any, budget: int | None, summary: str | None
) -> None:
    request = await read(service, raw, model="omni/auto", thinking=thinking)
    assert (request.reasoning_budget, request.reasoning_summary) == (budget, summary)
    assert request.optional == {"reasoning_budget", "reasoning_summary"}


async def test_cache_marks_stand_where_the_caller_put_them(
    service: Service, raw: RawClient
) -> None:
    mark = {"type": "ephemeral"}
    request = await read(
        service, raw, cache_control={"type": "ephemeral", "ttl": "1h"},
        system=[{"type": "text", "text": "S", "cache_control": mark}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "U", "cache_control": mark}]},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "last"},
        ],
    )  # fmt: skip
    system, user, assistant, last = request.messages
    assert system.content == (TextPart(text="S", cache="5m"),)
    assert user.content == (TextPart(text="U", cache="5m"),)
    assert assistant.content == "A"
    assert last.content == (TextPart(text="last", cache="1h"),)


async def test_a_header_names_what_may_be_left_out(service: Service, raw: RawClient) -> None:
    named = {"x-omni-optional": "top_k, stop_sequences"}
    assert (await ask(raw, body(thinking={"type": "disabled"}), headers=named)).status == 200
    assert service.chats.requests[-1].optional == {
        "top_k", "stop", "reasoning_budget", "reasoning_summary",
    }  # fmt: skip
    wrong = await ask(raw, headers={"x-omni-optional": "model"})
    assert wrong.json["error"]["omni"]["field"] == "x-omni-optional[0]"


async def test_a_body_is_fitted_to_the_model_that_is_named(
    service: Service, raw: RawClient
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    asked = {"max_tokens": 32_000, "output_config": {"effort": "high"}, "thinking": thinking}
    for model in ("sim/fast", "quick"):
        answer = await ask(raw, body(model, **asked))
        assert answer.headers["x-omni-ignored"] == "output_config.effort,thinking"
        request = service.chats.requests[-1]
        assert (request.output_tokens_max, request.reasoning_effort) == (16_384, None)
        assert (request.reasoning_budget, request.reasoning_summary) == (None, None)
        plain = await ask(raw, body(model, thinking={"type": "disabled"}))
        assert "x-omni-ignored" not in plain.headers
    # What a name means that is chosen later, or not called here, is the router's to say.
    for model in ("omni/auto", "elsewhere/fast", "nothing"):
        answer = await ask(raw, body(model, **asked))
        assert "x-omni-ignored" not in answer.headers
        request = service.chats.requests[-1]
        assert (request.output_tokens_max, request.reasoning_effort) == (32_000, "high")


# --- reasoning that comes back ----------------------------------------------------------------
async def test_reasoning_of_any_provider_comes_back_whole(service: Service, raw: RawClient) -> None:
    blocks = (
        ReasoningBlock(kind="text", format="anthropic", text="hm", signature="c2ln"),
        ReasoningBlock(kind="encrypted", format="anthropic", data="cmVk"),
        ReasoningBlock(kind="summary", format="responses", text="so", data="ZW5j", id="rs_1"),
        ReasoningBlock(kind="encrypted", format="gemini", data="dHM=", id="call_1"),
    )

    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        return completion(call, Answer(text="Hi", reasoning="hmso", reasoning_blocks=blocks))

    service.chats.complete_script = script
    content = (await ask(raw)).json["content"]
    assert [block["type"] for block in content] == [
        "thinking", "redacted_thinking", "thinking", "redacted_thinking", "text",
    ]  # fmt: skip
    assert [block.get("thinking") for block in content] == ["hm", None, "so", None, None]
    assert (content[0]["signature"], content[1]["data"]) == ("c2ln", "cmVk")
    assert content[2]["signature"].startswith("omni1.")
    turns = [*HELLO, {"role": "assistant", "content": content}, *HELLO]
    request = await read(service, raw, messages=turns)
    assert request.messages[1] == Message(role="assistant", content="Hi", reasoning_blocks=blocks)
    # Nobody else can use them, nor can they be made up.
    other = await ask(raw, body(messages=turns), key=OTHER_KEY)
    assert (other.status, other.json["error"]["type"]) == (400, "invalid_request_error")
    assert other.json["error"]["omni"]["field"] == "messages[1].content[2].signature"
    for place, name in ((2, "signature"), (3, "data")):
        forged = json.loads(json.dumps(turns))
        text = forged[1]["content"][place][name]
        forged[1]["content"][place][name] = (
            text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]
        )
        answer = await ask(raw, body(messages=forged))
        assert answer.status == 400
        assert answer.json["error"]["omni"]["field"] == f"messages[1].content[{place}].{name}"


async def test_unsigned_thinking_does_not_go_back(service: Service, raw: RawClient) -> None:
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    turns = [
        *HELLO,
        {"role": "assistant", "content": [unsigned, {"type": "text", "text": "Hi"}]},
        *HELLO,
        {"role": "assistant", "content": [unsigned]},
        *HELLO,
    ]
    request = await read(service, raw, messages=turns)
    assert [(m.role, m.content) for m in request.messages] == [
        ("user", "Hello"), ("assistant", "Hi"), ("user", "Hello"), ("user", "Hello"),
    ]  # fmt: skip
    assert all(not m.reasoning_blocks and m.reasoning is None for m in request.messages)


# --- marks, and what is left out --------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [FeatureUnsupported, ModelUnpriced, NoCapableModel])
async def test_marks_are_left_out_for_a_provider_that_takes_none(
    service: Service, raw: RawClient, stream: bool, kind: type[OmniError]
) -> None:
    hello, streamed = service.chats.complete_script, service.chats.stream_script

    def refuse(request: ChatRequest) -> None:
        if isinstance(request.messages[0].content, tuple):
            raise kind("No marks here.", metadata={"feature": "prompt-cache marks"})

    async def complete(call: Call, request: ChatRequest) -> Any:
        refuse(request)
        return await hello(call, request)

    async def events(call: Call, request: ChatRequest) -> Any:
        refuse(request)
        async for event in streamed(call, request):
            yield event

    service.chats.complete_script, service.chats.stream_script = complete, events
    marked = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    tools = [{**TOOL, "cache_control": {"type": "ephemeral"}}]
    turns = [{"role": "user", "content": [marked]}, {"role": "user", "content": [marked, marked]}]
    answer = await ask(raw, body(stream=stream, messages=turns, tools=tools))
    assert answer.status == 200
    assert answer.headers["x-omni-ignored"] == "cache_control"
    asked = service.chats.requests[-1]
    assert asked.tools[0].cache is None
    assert asked.messages[1].content == (TextPart(text="Hi"), TextPart(text="Hi"))


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_left_out_is_named(service: Service, raw: RawClient, stream: bool) -> None:
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
        "citations": {"enabled": True},
    }
    used = {
        "type": "tool_use", "id": "t", "name": "f", "input": {},
        "cache_control": {"type": "ephemeral"},
    }  # fmt: skip
    answer = await ask(
        raw,
        body(
            stream=stream, context_management={"edits": []}, speed="fast", mcp_servers=[],
            messages=[
                {"role": "user", "content": [document]},
                {"role": "assistant", "content": [used]},
            ],
        ),
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"},
    )  # fmt: skip
    assert answer.status == 200
    assert answer.headers["x-omni-ignored"].split(",") == [
        "context_management",
        "speed",
        "messages[0].content[0].citations",
        "messages[1].content[0].cache_control",
    ]


# --- what is refused --------------------------------------------------------------------------
SEARCH = {"type": "search_result", "source": "s", "title": "t", "content": []}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": [{"role": "user", "content": [SEARCH]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [SEARCH]}]}]},
         "messages[0].content[0].content[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "bash_20250124", "name": "bash"}]}, "tools[1].type"),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"thread": {"type": "continue", "previous_message_id": "m"}}, "thread"),
        ({"inference_geo": "eu"}, "inference_geo"),
    ],
)  # fmt: skip
async def test_what_is_not_carried_is_refused_by_name(
    service: Service, raw: RawClient, fields: dict[str, Any], field: str
) -> None:
    answer = await ask(raw, body(**fields))
    error = answer.json["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert error["omni"]["reason"] == "FEATURE_UNSUPPORTED"
    assert error["omni"]["field"] == field
    assert error["message"].startswith(field)
    assert service.chats.requests == []


def turn(role: str, *blocks: Any) -> Any:
    return {"messages": [{"role": role, "content": list(blocks)}]}


TEXT = {"type": "text", "text": "x"}
USED = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        (turn("user"), "messages[0].content"),
        (turn("user", USED), "messages[0].content[0].type"),
        (turn("assistant", {"type": "image", "source": PNG}), "messages[0].content[0].type"),
        (turn("system", {"type": "image", "source": PNG}), "messages[0].content[0].type"),
        (turn("assistant", {**USED, "input": []}), "messages[0].content[0].input"),
        (turn("user", {"text": "x"}), "messages[0].content[0].type"),
        (turn("user", {"type": "image", "source": {"type": "url", "url": "file:///etc"}}),
         "messages[0].content[0].source.url"),
        (turn("user", {"type": "document", "source": {"type": "url", "url": "file:///etc"}}),
         "messages[0].content[0].source.url"),
        (turn("user", {"type": "image", "source": {**PNG, "media_type": "image/bmp"}}),
         "messages[0].content[0].source.media_type"),
        (turn("user", {"type": "document", "source": {"type": "content", "content": []}}),
         "messages[0].content[0].source.content"),
        (turn("assistant", {"type": "thinking", "thinking": "", "signature": ""}), "messages"),
        (turn("tool", TEXT), "messages[0].role"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "not a name", "input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool", "name": "f"}, "tools": [TOOL]}, "tool_choice.name"),
        ({"output_config": {"format": {"type": "json_schema", "schema": 1}}},
         "output_config.format.schema"),
        ({"output_format": {"type": "xml", "schema": {}}}, "output_format.type"),
        ({"output_format": {"type": "json_schema", "schema": {}},
          "output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_format"),
        ({"omni": {"optional": ["messages"]}}, "omni.optional[0]"),
        ({"omni": {"other": 1}}, "omni.other"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named(
    service: Service, raw: RawClient, fields: dict[str, Any], field: str
) -> None:
    answer = await ask(raw, body(**fields))
    error = answer.json["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert error["omni"]["reason"] == "FIELD_INVALID"
    assert error["omni"]["field"] == field
    assert field in error["message"]
    assert service.chats.requests == []


async def test_refusals_of_a_provider_name_the_bodys_fields(
    service: Service, raw: RawClient
) -> None:
    refused = "messages[2].content[0]"

    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        raise FeatureUnsupported(f"{refused}: not here.", field=refused)

    service.chats.complete_script = script
    answer = await ask(raw, body(system="S", messages=[*HELLO, *HELLO]))
    assert answer.json["error"]["omni"]["field"] == "messages[1].content"
    assert answer.json["error"]["message"] == "messages[1].content: not here."
    refused = "stop"
    answer = await ask(raw)
    assert answer.json["error"]["omni"]["field"] == "stop_sequences"


# --- keys -------------------------------------------------------------------------------------
async def test_keys_are_taken_from_either_header(service: Service, raw: RawClient) -> None:
    for headers, key, status in (
        ({"x-api-key": KEY}, None, 200),
        ({}, KEY, 200),
        ({"x-api-key": "nonsense"}, None, 401),
        ({}, None, 401),
        ({"x-api-key": BILLING_KEY}, None, 403),
    ):
        answer = await raw.ask(body(), path=MESSAGES, key=key, headers=headers)
        assert answer.status == status
