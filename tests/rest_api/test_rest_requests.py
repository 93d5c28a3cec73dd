"""What a body means in the domain's words."""

import json
from typing import Any

from raw_client import chat

from omni_grpc.core.chat import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    Sampling,
    ShortCredits,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from omni_grpc.rest_api.openai import ChatOrder, read_chat


def read(**fields: Any) -> ChatOrder:
    return read_chat(chat(**fields))


def message(**fields: Any) -> Message:
    return read(messages=[fields]).request.messages[0]


def test_a_bare_question_leaves_everything_to_the_provider() -> None:
    order = read()
    assert not order.stream
    assert not order.include_usage
    request = order.request
    assert request.model == "sim/fast"
    assert request.messages == (Message(role="user", content="Hello"),)
    assert request.sampling == Sampling()
    assert request.tool_choice is request.response_format is request.output_tokens_max is None
    assert request.short_credits is ShortCredits.REFUSE
    assert request.extra == {}


def test_all_roles_and_parts_are_read() -> None:
    assert [message(role=role, content="x").role for role in ("system", "developer", "user")] == [
        "system",
        "developer",
        "user",
    ]
    assert message(role="tool", content="42", tool_call_id="c") == Message(
        role="tool", content="42", tool_call_id="c"
    )
    url = "data:image/png;base64,AA=="
    assert message(
        role="user",
        name="ann",
        content=[
            {"type": "text", "text": "x"},
            {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:,x", "filename": "x.pdf"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ],
    ) == Message(
        role="user",
        name="ann",
        content=(
            TextPart(text="x"),
            ImagePart(url=url, detail="low"),
            AudioPart(data="AA==", format="wav"),
            FilePart(file_data="data:,x", filename="x.pdf"),
            FilePart(file_id="file-1"),
        ),
    )


def test_an_assistants_turn_goes_back_as_it_came() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1.0}'}}
    assert message(
        role="assistant",
        content=None,
        refusal=None,
        annotations=[],
        reasoning_content="hm",
        tool_calls=[call],
    ) == Message(
        role="assistant",
        tool_calls=(ToolCall(id="c", name="f", arguments_json='{"a":1.0}'),),
        reasoning="hm",
    )
    assert message(role="assistant", content="x", reasoning="hm").reasoning == "hm"
    parts = [{"type": "refusal", "refusal": "No."}]
    assert message(role="assistant", content=parts).content == (RefusalPart(refusal="No."),)


def test_schemas_stay_as_they_were_written() -> None:
    schema = b'{ "b":1,"a": 1.0, "c":9007199254740993, "d": "\\u00e9" }'
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],'
        b'"tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,'
        b'"parameters":%b}},{"type":"function","function":{"name":"g","parameters":null}}],'
        b'"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":%b}}}'
    ) % (schema, schema)
    request = read_chat(body).request
    assert request.tools == (
        Tool(name="f", description="d", strict=True, parameters_json=schema.decode()),
        Tool(name="g"),
    )
    assert request.tool_choice == ToolChoice(name="f")
    assert request.parallel_tool_calls is False
    assert request.response_format == ResponseFormat(
        kind="json_schema", name="s", schema_json=schema.decode()
    )


def test_modes_and_forms_are_read() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert read(tools=[tool], tool_choice="required").request.tool_choice == ToolChoice(
        mode="required"
    )
    for kind in ("text", "json_object"):
        form = read(response_format={"type": kind}).request.response_format
        assert form == ResponseFormat(kind=kind)


def test_sampling_is_read() -> None:
    given = {"temperature": 1, "top_p": 0.5, "frequency_penalty": -2, "presence_penalty": 2}
    request = read(
        **given,
        seed=-5,
        stop="\n",
        n=2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"5": -100, "6": 1.5},
        reasoning_effort="low",
    ).request
    assert request.sampling == Sampling(
        **given,
        seed=-5,
        stop=("\n",),
        choice_count=2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"5": -100.0, "6": 1.5},
    )
    assert request.reasoning_effort == "low"
    assert read(stop=["a", "b"]).request.sampling.stop == ("a", "b")
    assert read(max_tokens=5).request.output_tokens_max == 5
    assert read(max_completion_tokens=6).request.output_tokens_max == 6


def test_unknown_fields_go_along_raw_and_our_own_does_not() -> None:
    order = read_chat(
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"omni":{"short_credits":"shorten"}'
        b',"user":"ann","metadata":{ "a" : 1.0 },"store":true,"stream":true,'
        b'"stream_options":{"include_usage":true}}'
    )
    assert order.stream
    assert order.include_usage
    extra = {name: bytes(raw) for name, raw in order.request.extra.items()}
    assert extra == {"user": b'"ann"', "metadata": b'{ "a" : 1.0 }', "store": b"true"}
    assert order.request.short_credits is ShortCredits.SHORTEN


def test_of_a_repeated_name_the_last_one_counts_everywhere() -> None:
    body = json.dumps({"model": "a", "messages": [{"role": "user", "content": "x"}]})[:-1]
    request = read_chat(f'{body}, "model": "b", "user": 1, "user": 2}}'.encode()).request
    assert request.model == "b"
    assert bytes(request.extra["user"]) == b"2"
