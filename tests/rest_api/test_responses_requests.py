"""What `/v1/responses` reads: each field's way into the chat, and what is refused by name."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_client import RawClient
from responses_client import PATH, ask, events_of, response_of
from rest_rig import OTHER_KEY, Service, completion, started

from omni_grpc.completion import Call, ChatEvent
from omni_grpc.core.chat import (
    Answer,
    AudioPart,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    ShortCredits,
    TextPart,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId
from omni_grpc.rest_api.responses_wire import ReasoningSeal, read_order
from omni_grpc.storage import Sealer

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

F = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
G = {"type": "function", "name": "g"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.0}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "fine"}
BLOCKS = (ReasoningBlock(kind="text", format="anthropic", text="hm", signature="c2ln"),)


async def read(service: Service, raw: RawClient, content: Any = "Hello", **fields: Any) -> Any:
    """The chat that a body becomes."""
    response_of(await raw.ask(ask(content, **fields), path=PATH))
    return service.chats.requests[-1]


def said(*messages: Any) -> list[tuple[str, Any]]:
    return [(message.role, message.content) for message in messages]


# --- input ------------------------------------------------------------------------------------
async def test_a_text_is_a_users_turn_behind_the_instructions(
    service: Service, raw: RawClient
) -> None:
    request = await read(service, raw, "Hi", instructions="Be kind.")
    assert request.messages == (
        Message(role="system", content="Be kind."),
        Message(role="user", content="Hi"),
    )
    assert request.model == "sim/fast"
    assert request.extra == {}
    assert request.optional == frozenset()


async def test_messages_of_every_role_and_kind_of_part_are_read(
    service: Service, raw: RawClient
) -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "file_id": None},
        {"type": "input_image", "file_id": "file-2", "detail": "high"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://a.example/a.pdf"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    request = await read(
        service,
        raw,
        [
            {"role": "developer", "content": "short"},
            {"type": "message", "role": "system", "content": [parts[0]], "status": "completed"},
            {"type": "message", "role": "user", "content": parts},
            {"role": "assistant", "content": "easy"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "x", "annotations": [], "logprobs": []},
                    {"type": "output_text", "text": "y", "annotations": []},
                    {"type": "refusal", "refusal": "No."},
                ],
            },
        ],
    )
    assert request.messages == (
        Message(role="developer", content="short"),
        Message(role="system", content="a"),
        Message(
            role="user",
            content=(
                TextPart(text="a"),
                ImagePart(url="https://a.example/b.png", detail="low"),
                ImagePart(url="data:image/png;base64,AAAA"),
                ImagePart(file_id="file-2", detail="high"),
                FilePart(file_id="file-1"),
                FilePart(file_url="https://a.example/a.pdf"),
                FilePart(file_data="data:application/pdf;base64,AA", filename="a.pdf"),
                AudioPart(data="AA==", format="wav"),
            ),
        ),
        Message(role="assistant", content="easy"),
        Message(role="assistant", content=(TextPart(text="x"), TextPart(text="y")), refusal="No."),
    )


async def test_the_items_of_one_turn_become_one_message(service: Service, raw: RawClient) -> None:
    request = await read(
        service,
        raw,
        [
            {"role": "user", "content": "a"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]},
            {"role": "assistant", "content": "I look."},
            CALL,
            {**CALL, "call_id": "c2", "name": "g", "id": "fc_2", "status": "completed"},
            OUTPUT,
            {
                **OUTPUT,
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "x"}, {"type": "input_text", "text": ""}],
            },
            {"role": "assistant", "content": "Done."},
            {"role": "assistant", "content": "Really."},
        ],
    )
    assert request.messages == (
        Message(role="user", content="a"),
        Message(
            role="assistant",
            content="I look.",
            reasoning="t",
            tool_calls=(
                ToolCall(id="c1", name="f", arguments_json='{"a": 1.0}'),
                ToolCall(id="c2", name="g", arguments_json='{"a": 1.0}'),
            ),
        ),
        Message(role="tool", content="fine", tool_call_id="c1"),
        Message(role="tool", content=(TextPart(text="x"), TextPart(text="")), tool_call_id="c2"),
        Message(role="assistant", content="Done."),
        Message(role="assistant", content="Really."),
    )


async def test_reasoning_without_a_turn_is_left_out(service: Service, raw: RawClient) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    request = await read(service, raw, [thought, {"role": "user", "content": "a"}, thought])
    assert request.messages == (Message(role="user", content="a"),)


# --- reasoning that comes back ----------------------------------------------------------------
async def sealed(service: Service, raw: RawClient) -> dict[str, Any]:
    """A reasoning item as the service gives it out."""

    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        return completion(call, Answer(text="a", reasoning="hm", reasoning_blocks=BLOCKS))

    service.chats.complete_script = script
    item: dict[str, Any] = response_of(await raw.ask(ask(), path=PATH))["output"][0]
    return item


async def test_sealed_reasoning_comes_back_whole(service: Service, raw: RawClient) -> None:
    item = await sealed(service, raw)
    assert "signature" not in item["encrypted_content"]
    request = await read(service, raw, [{"role": "user", "content": "a"}, item, CALL, OUTPUT])
    turn = request.messages[1]
    assert turn.reasoning_blocks == BLOCKS
    assert turn.reasoning is None
    late = await read(
        service, raw, [{"role": "assistant", "content": "a"}, item, {"role": "user", "content": ""}]
    )
    assert late.messages[0].reasoning_blocks == BLOCKS


async def test_reasoning_that_was_changed_or_is_anothers_is_refused(
    service: Service, raw: RawClient
) -> None:
    item = await sealed(service, raw)
    text = item["encrypted_content"]
    body = base64.b64decode(text.removeprefix("omni1."))
    changed = "omni1." + base64.b64encode(body[:-1] + bytes([body[-1] ^ 1])).decode()
    plain = "omni1." + base64.b64encode(b'[{"kind":"text","format":"x"}]').decode()
    for bad in (changed, plain, "", "omni1.", "omni1.%%%", "gAAAAAB", text[:-8], text + "AAAA"):
        asked = ask([{**item, "encrypted_content": bad}, {"role": "user", "content": "a"}])
        error = (await raw.ask(asked, path=PATH)).error
        assert error["param"] == "input[0].encrypted_content", bad
        assert error["code"] == "invalid_value"
    asked = ask([item, {"role": "assistant", "content": "a"}])
    assert (await raw.ask(asked, path=PATH, key=OTHER_KEY)).error["param"] == (
        "input[0].encrypted_content"
    )


# --- tools and settings -----------------------------------------------------------------------
async def test_tools_and_their_choice_are_read(service: Service, raw: RawClient) -> None:
    request = await read(service, raw, tools=[F, {**G, "description": "d"}], tool_choice="auto")
    assert request.tools == (
        Tool(name="f", parameters_json='{"type": "object"}', strict=False),
        Tool(name="g", description="d"),
    )
    assert request.tool_choice == ToolChoice(mode="auto")
    both = [F, G]
    forced = await read(service, raw, tools=both, tool_choice={"type": "function", "name": "g"})
    assert forced.tool_choice == ToolChoice(name="g")
    some = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "g"}],
    }
    allowed = await read(service, raw, tools=both, tool_choice=some)
    assert [tool.name for tool in allowed.tools] == ["g"]
    assert allowed.tool_choice == ToolChoice(mode="required")
    none = await read(service, raw, tool_choice="auto", parallel_tool_calls=True, tools=[])
    assert none.tool_choice is None
    assert none.parallel_tool_calls is None


async def test_functions_of_a_namespace_have_its_name_before_theirs(
    service: Service, raw: RawClient
) -> None:
    async def script(call: Call, request: ChatRequest) -> ChatCompletion:
        return completion(call, Answer(tool_calls=calls))

    async def stream(call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (
            ChatDelta(
                tool_calls=tuple(
                    ToolCallDelta(index=index, id=one.id, name=one.name, arguments_json="{}")
                    for index, one in enumerate(calls)
                ),
                finish_reason="tool_calls",
            ),
        )
        yield completion(call)

    calls = (
        ToolCall(id="c1", name="agents__spawn", arguments_json="{}"),
        ToolCall(id="c2", name="f", arguments_json="{}"),
    )
    service.chats.complete_script, service.chats.stream_script = script, stream
    space = {
        "type": "namespace",
        "name": "agents",
        "description": "d",
        "tools": [{**F, "name": "spawn"}],
    }
    asked: dict[str, Any] = {"tools": [F, space]}
    body = response_of(await raw.ask(ask(**asked), path=PATH))
    assert [tool.name for tool in service.chats.requests[-1].tools] == ["f", "agents__spawn"]
    assert body["tools"] == [F, space]
    streamed = events_of(await raw.ask(ask(stream=True, **asked), path=PATH))
    done = [e for e in streamed if e["type"] == "response.function_call_arguments.done"]
    assert [event["name"] for event in done] == ["spawn", "f"]
    for output in (body["output"], streamed[-1]["response"]["output"]):
        assert [(one.get("namespace"), one["name"]) for one in output] == [
            ("agents", "spawn"), (None, "f"),
        ]  # fmt: skip
        request = await read(service, raw, [{"role": "user", "content": "a"}, *output], **asked)
        assert request.messages[1].tool_calls == calls


async def test_settings_are_read(service: Service, raw: RawClient) -> None:
    request = await read(
        service,
        raw,
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.25,
        top_logprobs=2,
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        reasoning={"effort": "high", "summary": "detailed", "context": "auto", "mode": None},
        text={"format": {"type": "json_object"}},
        truncation="disabled",
        background=False,
        metadata={"a": "b"},
        omni={"short_credits": "shorten", "optional": ["temperature"]},
        parallel_tool_calls=False,
        tools=[F],
    )
    assert request.output_tokens_max == 9
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.25)
    assert (sampling.logprobs, sampling.top_logprobs) == (True, 2)
    assert (request.reasoning_effort, request.reasoning_summary) == ("high", "detailed")
    assert request.response_format == ResponseFormat(kind="json_object")
    assert request.short_credits is ShortCredits.SHORTEN
    assert request.optional == {"temperature"}
    assert request.parallel_tool_calls is False
    assert request.extra == {}


async def test_a_schema_stays_as_it_was_written(service: Service, raw: RawClient) -> None:
    schema = '{"type":"object", "properties":{"b":{"const":1.0},"a":{"maximum":9007199254740993}}}'
    form = '{"type": "json_schema", "name": "n", "strict": true, "schema": ' + schema + "}"
    body = '{"model": "sim/fast", "input": "Hi", "text": {"format": ' + form + "}}"
    response_of(await raw.ask(body.encode(), path=PATH))
    assert service.chats.requests[-1].response_format == ResponseFormat(
        kind="json_schema", name="n", schema_json=schema, strict=True
    )


async def test_permissions_are_optional_and_demands_are_not(
    service: Service, raw: RawClient
) -> None:
    request = await read(
        service, raw, tools=[F], parallel_tool_calls=True, reasoning={"summary": "auto"}
    )
    assert request.optional == {"parallel_tool_calls", "reasoning_summary"}
    assert request.parallel_tool_calls is True
    assert request.reasoning_summary == "auto"


async def test_a_header_names_what_is_optional_for_clients_with_fixed_bodies(
    service: Service, raw: RawClient
) -> None:
    names = {"x-omni-optional": "parallel_tool_calls, seed"}
    asked = ask(tools=[F], parallel_tool_calls=False)
    response_of(await raw.ask(asked, path=PATH, headers=names))
    assert service.chats.requests[-1].optional == {"parallel_tool_calls", "seed"}
    answer = await raw.ask(asked, path=PATH, headers={"x-omni-optional": "model"})
    assert (answer.status, answer.error["param"]) == (400, "x-omni-optional[0]")


async def test_what_chats_have_too_goes_along_and_nothing_else(
    service: Service, raw: RawClient
) -> None:
    request = await read(
        service,
        raw,
        user="u",
        prompt_cache_key="k",
        safety_identifier="s",
        service_tier="flex",
        text={"verbosity": "low"},
        top_k=4,
        client_metadata={"x": "y"},
        metadata={"sim": "tokens=3"},
        conversation=None,
    )
    assert {name: bytes(value) for name, value in request.extra.items()} == {
        "user": b'"u"',
        "prompt_cache_key": b'"k"',
        "safety_identifier": b'"s"',
        "service_tier": b'"flex"',
        "verbosity": b'"low"',
        "top_k": b"4",
    }


async def test_the_request_of_codex_passes(service: Service, raw: RawClient) -> None:
    """The shape in which the agent asks, in its second turn."""
    item = await sealed(service, raw)
    parameters = {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}},
        "required": ["command"],
        "additionalProperties": False,
    }
    context = [{"type": "input_text", "text": "<environment_context/>"}]
    body = {
        "model": "sim/fast",
        "instructions": "You are a coding agent.",
        "input": [
            {"type": "message", "role": "developer", "content": context},
            {"type": "message", "role": "user", "content": context},
            {**item, "content": None},
            {**CALL, "name": "shell"},
            OUTPUT,
        ],
        "tools": [
            {
                "type": "function",
                "name": "shell",
                "description": "Runs a command.",
                "strict": False,
                "parameters": parameters,
            }
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "8f0c7c1e-6e0c-4e39-8f5f-1d3f6c0d9a11",
        "text": {"verbosity": "medium"},
        "client_metadata": {"originator": "codex_cli_rs"},
    }
    events = events_of(await raw.ask(json.dumps(body).encode(), path=PATH))
    assert events[-1]["type"] == "response.completed"
    request = service.chats.requests[-1]
    assert [m.role for m in request.messages] == [
        "system",
        "developer",
        "user",
        "assistant",
        "tool",
    ]
    assert request.messages[3].reasoning_blocks == BLOCKS
    assert set(request.extra) == {"prompt_cache_key", "verbosity"}
    assert request.optional == {"reasoning_summary"}


async def test_a_request_id_is_the_callers_own(service: Service, raw: RawClient) -> None:
    response_of(await raw.ask(ask(), path=PATH, headers={"idempotency-key": "mine"}))
    assert service.chats.calls[-1].request_id == "mine"


# --- what is refused --------------------------------------------------------------------------
USER = {"role": "user", "content": "a"}
MANY = [{"type": "function", "name": f"f{number}"} for number in range(512)]


def part(**fields: Any) -> list[Any]:
    return [{"role": "user", "content": [fields]}]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("input[1].type", {"input": [USER, {"type": "item_reference", "id": "rs_1"}]}),
        ("input[1].type", {"input": [USER, {"id": "rs_1"}]}),
        ("input[0].type", {"input": [{"type": "web_search_call", "id": "ws_1", "output": 1}]}),
        ("tools[1].type", {"tools": [F, {"type": "web_search"}]}),
        ("tools[0].type", {"tools": [{"type": "custom", "name": "apply_patch", "format": {}}]}),
        (
            "tools[0].tools[1].type",
            {"tools": [{"type": "namespace", "name": "n", "tools": [G, {"type": "custom"}]}]},
        ),
        ("tool_choice.type", {"tools": [F], "tool_choice": {"type": "file_search"}}),
        ("conversation", {"conversation": "conv_1"}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("context_management", {"context_management": [{"type": "compaction"}]}),
        ("moderation", {"moderation": {"model": "m"}}),
        ("background", {"background": True}),
        ("truncation", {"truncation": "auto"}),
        ("reasoning.context", {"reasoning": {"context": "all_turns"}}),
        ("reasoning.mode", {"reasoning": {"mode": "pro"}}),
    ],
)
async def test_what_is_not_carried_is_refused_by_name(
    raw: RawClient, service: Service, field: str, changed: Any
) -> None:
    body = {"model": "sim/fast", "input": "Hello", **changed}
    answer = await raw.ask(json.dumps(body).encode(), path=PATH)
    assert answer.status == 400
    assert answer.error["code"] == "unsupported_feature"
    assert answer.error["param"] == field
    assert answer.error["message"].startswith(field.removesuffix(".type"))
    assert service.chats.requests == []


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("model", {"model": None}),
        ("input", {"input": None}),
        ("input", {"input": []}),
        ("input[0]", {"input": [7]}),
        ("input[0].role", {"input": [{"role": "tool", "content": "a"}]}),
        ("input[0].content", {"input": [{"role": "user"}]}),
        ("input[0].content", {"input": [{"role": "user", "content": []}]}),
        ("input[0].content", {"input": [{"role": "assistant", "content": []}]}),
        ("input[0].content[0].type", {"input": part(type="text", text="a")}),
        ("input[0].content[0].text", {"input": part(type="input_text", text=1)}),
        ("input[0].content[0].image_url", {"input": part(type="input_image", image_url="x")}),
        ("input[0].content[0]", {"input": part(type="input_file")}),
        ("input[0].content[0].file_url", {"input": part(type="input_file", file_url="file:///a")}),
        (
            "input[0].content[0]",
            {"input": part(type="input_file", file_url="https://a.example/a", file_id="file-1")},
        ),
        (
            "input[0].content[0]",
            {"input": part(type="input_image", image_url="https://a.example/a", file_id="file-1")},
        ),
        ("input[0].content[0]", {"input": part(type="output_text", text="a")}),
        (
            "input[0].content[0]",
            {
                "input": [
                    {
                        "role": "assistant",
                        "content": [{"type": "input_image", "image_url": "data:,"}],
                    }
                ]
            },
        ),
        ("input[0].call_id", {"input": [OUTPUT]}),
        ("input[0].call_id", {"input": [{**CALL, "call_id": ""}]}),
        ("input[0].arguments", {"input": [{**CALL, "arguments": {}}]}),
        ("tools[0].name", {"tools": [{"type": "function"}]}),
        ("tools[0].name", {"tools": [{"type": "function", "name": "a b"}]}),
        ("tools[0].parameters", {"tools": [{**G, "parameters": []}]}),
        ("tools[1].name", {"tools": [G, G]}),
        ("tools[0].name", {"tools": [{"type": "namespace", "tools": [G]}]}),
        (
            "tools[0].tools[0].name",
            {"tools": [{"type": "namespace", "name": "n" * 62, "tools": [G]}]},
        ),
        ("tools", {"tools": [{"type": "namespace", "name": "n", "tools": MANY}, G]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tools": [F], "tool_choice": "sometimes"}),
        ("tool_choice.name", {"tools": [F], "tool_choice": {"type": "function", "name": "g"}}),
        ("tool_choice.tools", {"tools": [F], "tool_choice": {"type": "allowed_tools"}}),
        (
            "tool_choice.tools[0]",
            {
                "tools": [F],
                "tool_choice": {
                    "type": "allowed_tools",
                    "tools": [{"type": "function", "name": "g"}],
                },
            },
        ),
        ("text.format.type", {"text": {"format": {"type": "xml"}}}),
        ("text.format.name", {"text": {"format": {"type": "json_schema", "schema": {}}}}),
        ("text.format.schema", {"text": {"format": {"type": "json_schema", "name": "n"}}}),
        ("include[0]", {"include": ["everything"]}),
        ("top_logprobs", {"top_logprobs": 3}),
        ("stream_options", {"stream_options": {"include_obfuscation": False}}),
        ("max_output_tokens", {"max_output_tokens": 0}),
        ("metadata", {"metadata": {str(number): "" for number in range(17)}}),
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("omni.optional[0]", {"omni": {"optional": ["model"]}}),
    ],
)
async def test_what_is_wrong_is_named(raw: RawClient, field: str, changed: Any) -> None:
    body = {"model": "sim/fast", "input": "Hello", **changed}
    answer = await raw.ask(json.dumps(body).encode(), path=PATH)
    assert answer.status == 400
    assert answer.error["code"] == "invalid_value"
    assert answer.error["param"] == field, answer.error["message"]


async def test_other_methods_are_told_which_there_are(raw: RawClient) -> None:
    answer = await raw.ask(b"{}", method="PUT", path=PATH)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = await raw.ask(b"{}", method="POST", path=f"{PATH}/resp_1")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, DELETE")


# --- whatever bytes come ----------------------------------------------------------------------
SEAL = ReasoningSeal(Sealer(b"secret", b"fuzz"), AccountId(1))
WORDS = st.sampled_from(
    ["message", "reasoning", "function_call", "function_call_output", "input_text", "output_text",
     "refusal", "input_image", "input_file", "user", "assistant", "system", "type", "role", "a"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["type", "role", "content", "summary", "text", "call_id", "name", "arguments", "output",
     "encrypted_content", "id", "image_url", "refusal", "input_audio", "file_data"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["tools", "tool_choice", "text", "reasoning", "include", "metadata", "omni", "instructions"]
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(VALUES | st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=4),
       st.dictionaries(FIELDS, VALUES, max_size=2))  # fmt: skip
async def test_any_body_is_read_or_refused(content: Any, fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "input": content, **fields}).encode()
    try:
        request, places = read_order(body).chat((), SEAL)
    except FieldInvalid as error:
        assert error.message
        return
    assert len(places) == len(request.messages) > 0
