"""OpenAI's own SDK, pointed straight at the simulator's Responses API."""

import json
from typing import Any

import openai
import pydantic
import pytest
from sim_raw import RawCall

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.simulator import Simulator
from omni_grpc.simulator.dialects.responses_sealed import open_reasoning, seal_reasoning

SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
CLOCK: Any = {"type": "function", "name": "get_time"}
HELLO = "Tell me about the sea."
ENCRYPTED: Any = ["reasoning.encrypted_content"]


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


# --- answers ------------------------------------------------------------------------------------
async def test_a_plain_answer_reports_what_it_has(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    answer = await client.responses.create(model="sim/fast", input=HELLO, store=False)
    assert (answer.status, answer.object, answer.model) == ("completed", "response", "sim/fast")
    assert answer.usage is not None
    assert answer.usage.output_tokens == count_text(answer.output_text) == 40
    assert answer.usage.total_tokens == answer.usage.input_tokens + 40
    (record,) = simulator.log
    assert record.billed_prompt_tokens == answer.usage.input_tokens
    assert record.billed_completion_tokens == 40
    assert answer.id == record.id


@pytest.mark.parametrize("model", ["fast", "echo", "reasoner", "refusal", "burst", "empty"])
async def test_stream_and_plain_answer_are_the_same(client: openai.AsyncOpenAI, model: str) -> None:
    asked: Any = {"model": model, "input": HELLO, "reasoning": {"summary": "auto"}}
    plain = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        numbers = [event.sequence_number async for event in stream]
        streamed = await stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert streamed.usage == plain.usage
    assert [item.type for item in streamed.output] == [item.type for item in plain.output]
    assert streamed.output_text == plain.output_text


async def test_the_fragments_of_a_stream_add_up(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model="fast", input=HELLO, stream=True)
    events = [event async for event in stream]
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    last = events[-1]
    assert last.type == "response.completed"
    assert "".join(pieces) == last.response.output_text
    assert len(pieces) == 40


async def test_instructions_and_system_items_are_seen(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    await client.responses.create(
        model="vision",
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Be kind."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Hi"},
                    {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"},
                    {"type": "input_file", "file_id": "file-1"},
                ],
            },
        ],
    )
    seen = {"system": "Be brief.\nBe kind.", "image_urls": 1, "file_ids": 1}
    assert simulator.log[-1].seen == seen


async def test_the_limit_makes_it_incomplete(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="fast", input=HELLO, max_output_tokens=16)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert count_text(answer.output_text) == 16


async def test_logprobs_name_every_token(client: openai.AsyncOpenAI) -> None:
    asked: Any = {
        "model": "fast",
        "input": HELLO,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
    }
    answer = await client.responses.create(**asked)
    message = answer.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(one.token for one in part.logprobs) == part.text
    assert {len(one.top_logprobs) for one in part.logprobs} == {3}
    told = []
    async for event in await client.responses.create(stream=True, **asked):
        if event.type == "response.output_text.delta":
            told += event.logprobs
    assert [one.token for one in told] == [one.token for one in part.logprobs]


# --- tools and forms ----------------------------------------------------------------------------
async def test_parallel_tools_are_called_and_their_results_answered(
    client: openai.AsyncOpenAI,
) -> None:
    said: Any = [{"role": "user", "content": "call get_weather and call get_time"}]
    asked: Any = {"model": "fast", "tools": [WEATHER, CLOCK]}
    first = await client.responses.create(input=said, **asked)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].arguments)["unit"] in ("c", "f")
    assert first.usage is not None
    texts = [text for call in calls for text in (call.name, call.arguments)]
    assert first.usage.output_tokens == count_answer(texts)
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "12"} for call in calls
    ]
    history = [*said, *(call.model_dump(exclude_none=True) for call in calls), *results]
    second = await client.responses.create(input=history, **asked)
    assert second.output_text == "The tools answered: 12 and 12"


async def test_calls_stream_in_fragments(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "fast", "input": "call get_weather", "tools": [WEATHER]}
    plain = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        types = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert types.count("response.function_call_arguments.delta") > 3
    one, other = (answer.output[0] for answer in (plain, final))
    assert one.type == other.type == "function_call"
    assert one.arguments == other.arguments


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
        ("none", []),
        ("auto", []),
    ],
)
async def test_tool_choice_is_obeyed(
    client: openai.AsyncOpenAI, choice: Any, names: list[str]
) -> None:
    answer = await client.responses.create(
        model="fast", input="What now?", tools=[WEATHER, CLOCK], tool_choice=choice
    )
    assert [item.name for item in answer.output if item.type == "function_call"] == names


async def test_structured_output_parses_into_pydantic(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.parse(model="fast", input=HELLO, text_format=City)
    assert isinstance(answer.output_parsed, City)
    async with client.responses.stream(model="fast", input=HELLO, text_format=City) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == answer.output_parsed
    anything = await client.responses.create(
        model="fast", input="in JSON", text={"format": {"type": "json_object"}}
    )
    assert isinstance(json.loads(anything.output_text), dict)


# --- reasoning ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("effort", "expected"), [("low", 12), (None, 24), ("high", 48)])
async def test_a_summary_is_told_where_one_is_asked_for(
    client: openai.AsyncOpenAI, effort: Any, expected: int
) -> None:
    for summary in ("auto", None):
        answer = await client.responses.create(
            model="reasoner", input=HELLO, reasoning={"effort": effort, "summary": summary}
        )
        thought = answer.output[0]
        assert thought.type == "reasoning"
        assert answer.usage is not None
        assert answer.usage.output_tokens_details.reasoning_tokens == expected
        texts = [part.text for part in thought.summary]
        assert count_answer(texts) == (expected if summary else 0)
        assert thought.encrypted_content is None


async def test_encrypted_reasoning_comes_back_untouched_or_is_refused(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    first = await client.responses.create(model="reasoner", input=HELLO, include=ENCRYPTED)
    items: Any = [item.model_dump(exclude_none=True) for item in first.output]
    more = {"role": "user", "content": "And?"}
    second = await client.responses.create(model="reasoner", input=[*items, more])
    assert second.status == "completed"
    assert simulator.log[-1].seen == {"reasoning_blocks": 1}
    thought, message = items

    async def refused(*given: Any) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.responses.create(model="reasoner", input=[*given, more])
        return caught.value

    for forged in (
        thought | {"encrypted_content": thought["encrypted_content"][:-4] + "AAAA"},
        thought | {"encrypted_content": "gAAAAAnothing"},
        thought | {"id": "rs_of_another"},
    ):
        fault = await refused(forged, message)
        assert (fault.status_code, fault.code) == (400, "invalid_encrypted_content")
    alone = {"type": "reasoning", "id": thought["id"], "summary": []}
    assert (await refused(alone, message)).status_code == 404
    assert "required following item" in (await refused(thought)).message


def test_sealed_reasoning_belongs_to_its_item() -> None:
    sealed = seal_reasoning("rs_1", "Hm.")
    assert open_reasoning(sealed, "rs_1") == open_reasoning(sealed, None) == "Hm."
    assert open_reasoning(sealed, "rs_2") is None
    assert open_reasoning("", None) is None


# --- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
        ({"messages": []}, "messages"),
        ({"stop": ["x"]}, "stop"),
        ({"input": []}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "thing"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}]},
            "input",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [WEATHER | {"parameters": {"type": "object"}}]}, "tools[0].parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"include": ["everything"]}, "include[...]"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}, "n": 2},
            "n",
        ),
    ],
)
async def test_what_openai_refuses_is_refused(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="fast", input="Hi", extra_body=fields)
    assert caught.value.type == "invalid_request_error"
    assert (caught.value.param or "").replace("0", "...", param.count("...")) == param


async def test_a_key_and_a_model_must_be_right(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="sim/no-such", input="Hi")
    async with Simulator(key="right") as locked:
        wrong = client.with_options(base_url=locked.base_url)
        with pytest.raises(openai.AuthenticationError):
            await wrong.responses.create(model="fast", input="Hi")
        right = wrong.with_options(api_key="right")
        assert (await right.responses.create(model="fast", input="Hi")).output_text


# --- behaviours ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
async def test_errors_that_were_asked_for(
    client: openai.AsyncOpenAI, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind):
        await client.responses.create(model="fast", input=f"[sim status={status}]")


async def test_an_error_in_a_stream_comes_after_what_was_sent(
    client: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    told: list[str] = []

    async def run() -> None:
        stream = await client.responses.create(
            model="fast", input="Hi", stream=True, metadata={"sim": "error_after=5"}
        )
        async for event in stream:
            if event.type == "response.output_text.delta":
                told.append(event.delta)  # noqa: PERF401 - kept when the stream breaks

    with pytest.raises(openai.APIError, match="server had an error"):
        await run()
    assert count_text("".join(told)) == 5
    assert simulator.log[-1].billed_completion_tokens == 5


@pytest.mark.parametrize(("way", "told"), [("none", None), ("half", {"input_tokens"})])
async def test_usage_may_be_missing(
    client: openai.AsyncOpenAI, way: str, told: set[str] | None
) -> None:
    answer = await client.responses.create(
        model="fast", input="Hi", metadata={"sim": f"usage={way}"}
    )
    usage = answer.usage
    counts = None if usage is None else usage.model_fields_set - {"total_tokens"}
    assert counts == told


async def test_a_body_that_is_no_json_is_refused(simulator: Simulator) -> None:
    head = "POST /v1/responses HTTP/1.1\r\nhost: sim\r\ncontent-length: 1\r\n"
    call = await RawCall.send(simulator, f"{head}connection: close\r\n\r\n", b"{")
    await call.read_to_end()
    assert call.received.startswith(b"HTTP/1.1 400")
