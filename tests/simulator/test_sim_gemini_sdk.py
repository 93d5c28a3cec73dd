"""Google's own SDK, pointed straight at the simulator."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import jsonschema
import pydantic
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.simulator import Simulator

# The SDK's own way to use aiohttp.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)

CITY: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = types.FunctionDeclaration(
    name="get_weather", description="The weather of a city", parameters_json_schema=CITY
)
CLOCK = types.FunctionDeclaration(name="get_time")
TOOLS = types.Tool(function_declarations=[WEATHER, CLOCK])
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


def config(**more: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(automatic_function_calling=BY_HAND, **more)


@pytest.fixture
async def google(simulator: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    options = types.HttpOptions(base_url=simulator.origin)
    async with genai.Client(api_key="unused", http_options=options).aio as made:
        yield made


async def read(client: Any, **asked: Any) -> list[types.GenerateContentResponse]:
    return [chunk async for chunk in await client.models.generate_content_stream(**asked)]


def parts_of(answer: types.GenerateContentResponse) -> list[types.Part]:
    assert answer.candidates
    assert answer.candidates[0].content
    return answer.candidates[0].content.parts or []


async def test_a_plain_answer_reports_what_it_has(google, simulator: Simulator) -> None:
    answer = await google.models.generate_content(model="fast", contents="Hello")
    usage = answer.usage_metadata
    assert answer.text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert usage.candidates_token_count == count_text(answer.text) == 40
    assert usage.total_token_count == usage.prompt_token_count + 40
    assert answer.model_version == "fast"
    assert answer.response_id == simulator.log[-1].id
    assert simulator.log[-1].billed_completion_tokens == 40


async def test_a_stream_says_the_same_as_a_plain_answer(google) -> None:
    asked = {"model": "fast", "contents": "Hello", "config": config(candidate_count=2)}
    plain = await google.models.generate_content(**asked)
    chunks = await read(google, **asked)
    for index in (0, 1):
        pieces = [
            part.text or ""
            for chunk in chunks
            for candidate in chunk.candidates
            if candidate.index == index
            for part in candidate.content.parts
        ]
        assert "".join(pieces) == plain.candidates[index].content.parts[0].text
    reasons = [c.finish_reason for chunk in chunks for c in chunk.candidates if c.finish_reason]
    assert reasons == [types.FinishReason.STOP] * 2
    assert chunks[-1].usage_metadata == plain.usage_metadata
    so_far = [
        chunk.usage_metadata.candidates_token_count for chunk in chunks if chunk.usage_metadata
    ]
    assert so_far == sorted(so_far)


async def test_vertex_is_spoken_by_its_own_routes(simulator: Simulator) -> None:
    client = genai.Client(
        vertexai=True,
        project="p",
        location="europe-west4",
        credentials=Credentials(token="ya29.x"),
        http_options=types.HttpOptions(base_url=simulator.origin),
    )
    async with client.aio as vertex:
        answer = await vertex.models.generate_content(model="fast", contents="Hello")
        chunks = await read(vertex, model="fast", contents="Hello")
    assert "".join(chunk.text or "" for chunk in chunks) == answer.text
    assert len(simulator.log) == 2


async def test_functions_are_called_in_parallel_and_their_results_are_read(
    google, simulator: Simulator
) -> None:
    ask = types.Content(
        role="user", parts=[types.Part(text="Please call get_weather and call get_time")]
    )
    first = await google.models.generate_content(
        model="gemini-3-flash", contents=[ask], config=config(tools=[TOOLS])
    )
    calls = first.function_calls
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    jsonschema.validate(calls[0].args, CITY)
    assert len({call.id for call in calls}) == 2
    signatures = [part.thought_signature for part in parts_of(first)]
    assert signatures[0]
    assert not any(signatures[1:]), "the first of parallel calls alone is signed"
    results = types.Content(
        role="user",
        parts=[
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": f"{call.name}!"}
                )
            )
            for call in calls
        ],
    )
    second = await google.models.generate_content(
        model="gemini-3-flash",
        contents=[ask, first.candidates[0].content, results],
        config=config(tools=[TOOLS]),
    )
    assert second.text == "The tools answered: get_weather! and get_time!"
    assert simulator.log[-1].seen["reasoning_blocks"] == 1
    assert simulator.log[-1].seen["tool_results"] == 2


async def test_a_call_streams_whole_and_is_counted(google) -> None:
    asked = {
        "model": "fast",
        "contents": "call get_weather and call get_time",
        "config": config(tools=[TOOLS]),
    }
    chunks = await read(google, **asked)
    calls = [call for chunk in chunks for call in chunk.function_calls or ()]
    plain = await google.models.generate_content(**asked)
    assert [(c.name, c.args) for c in calls] == [(c.name, c.args) for c in plain.function_calls]
    assert plain.function_calls[0].id is None, "models before 3 name no calls"
    texts = (t for c in calls for t in (c.name, json.dumps(c.args, separators=(",", ":"))))
    assert plain.usage_metadata.candidates_token_count == count_answer(texts)


@pytest.mark.parametrize(
    ("mode", "only", "called"),
    [
        ("ANY", None, ["get_weather"]),
        ("ANY", ["get_time"], ["get_time"]),
        ("NONE", None, []),
        ("AUTO", None, []),
        ("VALIDATED", None, []),
    ],
)
async def test_the_mode_of_calling_is_obeyed(google, mode, only, called) -> None:
    calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=only)
    answer = await google.models.generate_content(
        model="fast",
        contents="What now?",
        config=config(tools=[TOOLS], tool_config=types.ToolConfig(function_calling_config=calling)),
    )
    assert [call.name for call in answer.function_calls or ()] == called


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"Rain in {city}"


async def test_the_sdk_calls_python_functions_by_itself(google) -> None:
    answer = await google.models.generate_content(
        model="gemini-3-flash",
        contents="call get_weather",
        config=types.GenerateContentConfig(tools=[get_weather]),
    )
    assert "Rain in" in answer.text


async def test_thoughts_are_shown_where_they_are_asked_and_always_counted(google) -> None:
    shown = config(thinking_config=types.ThinkingConfig(include_thoughts=True))
    answer = await google.models.generate_content(model="reasoner", contents="Hi", config=shown)
    thoughts = [part for part in parts_of(answer) if part.thought]
    assert count_text("".join(part.text for part in thoughts)) == 24
    assert answer.usage_metadata.thoughts_token_count == 24
    assert answer.usage_metadata.candidates_token_count == 40
    assert parts_of(answer)[-1].thought_signature
    chunks = await read(google, model="reasoner", contents="Hi", config=shown)
    streamed = [part for chunk in chunks for part in parts_of(chunk)]
    assert "".join(p.text for p in streamed if p.thought) == "".join(p.text for p in thoughts)
    assert streamed[-1].thought_signature
    for chunk in (
        chunks[-1],
        await google.models.generate_content(model="reasoner", contents="Hi"),
    ):
        assert chunk.usage_metadata.thoughts_token_count == 24
    hidden = await read(google, model="reasoner", contents="Hi")
    assert not any(part.thought for chunk in hidden for part in parts_of(chunk))


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [
        ({"thinking_level": "LOW"}, 12),
        ({"thinking_level": "HIGH"}, 48),
        ({"thinking_budget": 0}, None),
        ({"thinking_budget": 1_024}, 12),
        ({"thinking_budget": -1}, 24),
        ({"thinking_budget": 24_576}, 48),
    ],
)
async def test_thinking_follows_its_level_or_budget(google, thinking, tokens) -> None:
    answer = await google.models.generate_content(
        model="reasoner",
        contents="Hi",
        config=config(thinking_config=types.ThinkingConfig(**thinking)),
    )
    assert answer.usage_metadata.thoughts_token_count == tokens


class Part(pydantic.BaseModel):
    name: str
    weight: float | None


class Machine(pydantic.BaseModel):
    title: str
    parts: list[Part]
    works: bool


async def test_structured_output_parses_into_pydantic(google) -> None:
    for seed in range(4):
        asked = {"response_mime_type": "application/json", "seed": seed}
        answer = await google.models.generate_content(
            model="fast", contents="Hi", config=config(response_schema=Machine, **asked)
        )
        assert isinstance(answer.parsed, Machine)
        answer = await google.models.generate_content(
            model="fast", contents="Hi", config=config(response_json_schema=CITY, **asked)
        )
        jsonschema.validate(json.loads(answer.text), CITY)


async def test_json_mode_answers_an_object(google) -> None:
    answer = await google.models.generate_content(
        model="fast", contents="Hi", config=config(response_mime_type="application/json")
    )
    assert isinstance(json.loads(answer.text), dict)


async def test_logprobs_name_every_token(google) -> None:
    answer = await google.models.generate_content(
        model="fast", contents="Hi", config=config(response_logprobs=True, logprobs=3)
    )
    result = answer.candidates[0].logprobs_result
    assert "".join(token.token for token in result.chosen_candidates) == answer.text
    assert all(len(top.candidates) == 3 for top in result.top_candidates)
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP


async def test_the_limit_cuts_and_says_so(google) -> None:
    answer = await google.models.generate_content(
        model="fast", contents="Hi", config=config(max_output_tokens=7)
    )
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert count_text(answer.text) == answer.usage_metadata.candidates_token_count == 7


async def test_the_limit_covers_thoughts_too(google, simulator: Simulator) -> None:
    asked = {"model": "reasoner", "contents": "Hi", "config": config(max_output_tokens=5)}
    answer = await google.models.generate_content(**asked)
    assert not answer.text
    assert answer.usage_metadata.thoughts_token_count == 5
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    await read(google, **asked)
    assert [call.billed_completion_tokens for call in simulator.log] == [5, 5]


async def test_a_call_that_was_cut_is_not_shown_and_is_billed(google, simulator) -> None:
    asked = {
        "model": "fast",
        "contents": "call get_weather",
        "config": config(tools=[TOOLS], max_output_tokens=4),
    }
    answer = await google.models.generate_content(**asked)
    assert not answer.function_calls
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count == 4
    chunks = await read(google, **asked)
    assert chunks[-1].usage_metadata.candidates_token_count == 4
    assert [call.billed_completion_tokens for call in simulator.log] == [4, 4]


async def test_a_filter_ends_an_answer_or_blocks_a_prompt(google) -> None:
    answer = await google.models.generate_content(model="filter", contents="Hi")
    assert answer.candidates[0].finish_reason == types.FinishReason.SAFETY
    asked = {"model": "filter", "contents": "Hi [sim tokens=0]"}
    blocked = await google.models.generate_content(**asked)
    assert blocked.candidates is None
    assert blocked.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    chunks = await read(google, **asked)
    assert [chunk.prompt_feedback.block_reason for chunk in chunks] == [
        types.BlockedReason.PROHIBITED_CONTENT
    ]
    assert chunks[0].usage_metadata.prompt_token_count


async def test_media_count_by_their_modality(google, simulator: Simulator) -> None:
    def media(kind: str) -> types.Part:
        return types.Part.from_bytes(data=b"0", mime_type=kind)

    answer = await google.models.generate_content(
        model="vision",
        contents=[
            "Look",
            media("image/png"),
            media("audio/wav"),
            media("application/pdf"),
            types.Part.from_uri(file_uri="gs://b/x.png", mime_type="image/png"),
            types.Part.from_uri(file_uri="https://x/f.pdf", mime_type="application/pdf"),
        ],
    )
    usage = answer.usage_metadata
    counts = {one.modality.value: one.token_count for one in usage.prompt_tokens_details}
    assert counts["IMAGE"] == 2 * 765
    assert counts["AUDIO"] == 300
    assert counts["DOCUMENT"] == 3_000
    assert sum(counts.values()) == usage.prompt_token_count
    seen = simulator.log[-1].seen
    for name in ("images", "image_urls", "audios", "files", "file_urls"):
        assert seen[name] == 1
    with pytest.raises(errors.ClientError, match="does not take image"):
        await google.models.generate_content(model="fast", contents=[media("image/png")])


async def test_every_setting_is_seen(google, simulator: Simulator) -> None:
    await google.models.generate_content(
        model="fast",
        contents="Hi",
        config=config(
            system_instruction="Be brief.",
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            seed=7,
            stop_sequences=["x"],
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            candidate_count=2,
            safety_settings=[
                types.SafetySetting(
                    category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH"
                )
            ],
        ),
    )
    assert simulator.log[-1].seen == {
        "system": "Be brief.",
        "safety_settings": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40.0,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.5,
        "seed": 7,
        "stop": ["x"],
        "n": 2,
    }


# --- errors -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
    ],
)
async def test_errors_have_googles_form(google, status, word) -> None:
    kind = errors.ClientError if status < 500 else errors.ServerError
    for ask in (google.models.generate_content, partial(read, google)):
        with pytest.raises(kind) as caught:
            await ask(model=f"error-{status}", contents="Hi")
        assert caught.value.code == status
        assert caught.value.status == word
        assert caught.value.message


async def test_too_many_requests_say_when_to_come_back(google) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await google.models.generate_content(model="error-429", contents="Hi")
    details = caught.value.details["error"]["details"]
    assert details == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]


async def test_an_error_in_a_stream_is_an_event(google) -> None:
    with pytest.raises(errors.APIError) as caught:
        await read(google, model="error-mid", contents="Hi")
    assert caught.value.code == 500


async def test_a_wrong_key_is_refused_as_google_does() -> None:
    async with Simulator(key="right") as simulator:
        options = types.HttpOptions(base_url=simulator.origin)
        async with genai.Client(api_key="wrong", http_options=options).aio as client:
            with pytest.raises(errors.ClientError, match="API key not valid") as caught:
                await client.models.generate_content(model="fast", contents="Hi")
        assert caught.value.code == 400
        async with genai.Client(api_key="right", http_options=options).aio as client:
            assert await client.models.generate_content(model="fast", contents="Hi")
