"""Cohere's own SDK, pointed straight at the simulator."""

import json
from collections.abc import AsyncIterator
from typing import Any

import cohere
import jsonschema
import pytest
from cohere.core.api_error import ApiError

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.simulator import Simulator
from omni_grpc.simulator.dialects.cohere_answer import HIDDEN_INPUT_TOKENS, HIDDEN_OUTPUT_TOKENS

SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
CLOCK: Any = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


HELLO = user("Tell me about the sea.")


@pytest.fixture
async def co(simulator: Simulator) -> AsyncIterator[cohere.AsyncClientV2]:
    async with cohere.AsyncClientV2(
        api_key="unused", base_url=simulator.origin, max_retries=0, timeout=60
    ) as made:
        yield made


class Streamed:
    """A stream read to its end by the SDK, put together."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.text = self.thinking = self.plan = ""
        self.calls: list[list[str]] = []
        self.tokens: list[str] = []
        self.end: Any = None

    @classmethod
    async def read(cls, stream: Any) -> "Streamed":
        whole = cls()
        async for event in stream:
            whole.add(event)
        return whole

    def add(self, event: Any) -> None:
        self.types.append(event.type)
        match event.type:
            case "content-delta":
                self.text += event.delta.message.content.text or ""
                self.thinking += event.delta.message.content.thinking or ""
                if event.logprobs is not None:
                    self.tokens.append(event.logprobs.text)
            case "tool-plan-delta":
                self.plan += event.delta.message.tool_plan
            case "tool-call-start":
                call = event.delta.message.tool_calls
                assert event.index == len(self.calls)
                self.calls.append([call.id, call.function.name, call.function.arguments])
            case "tool-call-delta":
                arguments = event.delta.message.tool_calls.function.arguments
                self.calls[event.index][2] += arguments
            case "message-end":
                self.end = event.delta


# --- answers ------------------------------------------------------------------------------------
async def test_a_plain_answer_reports_what_is_billed(
    co: cohere.AsyncClientV2, simulator: Simulator
) -> None:
    answer = await co.chat(model="sim/fast", messages=HELLO)
    text = answer.message.content[0].text
    usage = answer.usage
    (record,) = simulator.log
    assert (answer.id, answer.finish_reason) == (record.id, "COMPLETE")
    assert usage.billed_units.output_tokens == count_text(text) == 40
    assert usage.billed_units.input_tokens == record.billed_prompt_tokens
    assert usage.tokens.input_tokens == record.billed_prompt_tokens + HIDDEN_INPUT_TOKENS
    assert usage.tokens.output_tokens == 40 + HIDDEN_OUTPUT_TOKENS


def test_the_synchronous_client_works_too(simulator_url: str) -> None:
    with cohere.ClientV2(
        api_key="unused", base_url=simulator_url.removesuffix("/v1"), max_retries=0
    ) as co:
        plain = co.chat(model="echo", messages=HELLO)
        assert plain.message.content[0].text == HELLO[0]["content"]
        stream = co.chat_stream(model="echo", messages=HELLO)
        pieces = [e.delta.message.content.text for e in stream if e.type == "content-delta"]
        assert "".join(pieces) == HELLO[0]["content"]


@pytest.mark.parametrize("model", ["fast", "echo", "reasoner", "refusal", "burst", "empty"])
async def test_stream_and_plain_answer_are_the_same(co: cohere.AsyncClientV2, model: str) -> None:
    plain = await co.chat(model=model, messages=HELLO)
    told = await Streamed.read(co.chat_stream(model=model, messages=HELLO))
    parts = plain.message.content or []
    assert told.text == "".join(part.text for part in parts if part.type == "text")
    assert told.thinking == "".join(p.thinking for p in parts if p.type == "thinking")
    assert (told.end.finish_reason, told.end.usage) == (plain.finish_reason, plain.usage)
    assert (told.types[0], told.types[-1]) == ("message-start", "message-end")
    assert told.types.count("content-start") == told.types.count("content-end") == len(parts)


async def test_the_same_text_is_answered_the_same(co: cohere.AsyncClientV2) -> None:
    async def ask(content: Any, **more: Any) -> str:
        messages: Any = [{"role": "user", "content": content}]
        answer = await co.chat(model="fast", messages=messages, **more)
        return str(answer.message.content[0].text)

    first = await ask("a")
    assert first == await ask([{"type": "text", "text": "a"}])
    assert len({first, await ask("b"), await ask("a", seed=7)}) == 3


async def test_a_limit_and_a_stop_sequence_end_the_answer(co: cohere.AsyncClientV2) -> None:
    whole = (await co.chat(model="sim/fast", messages=HELLO)).message.content[0].text
    short = await co.chat(model="sim/fast", messages=HELLO, max_tokens=7)
    assert short.finish_reason == "MAX_TOKENS"
    assert count_text(short.message.content[0].text) == 7
    word = whole[30:36]
    for stop, reason in ((word, "STOP_SEQUENCE"), ("no such text", "COMPLETE")):
        answer = await co.chat(model="sim/fast", messages=HELLO, stop_sequences=[stop])
        assert answer.finish_reason == reason
        assert answer.message.content[0].text == whole.partition(stop)[0]


async def test_logprobs_name_every_token(co: cohere.AsyncClientV2) -> None:
    answer = await co.chat(model="fast", messages=HELLO, logprobs=True)
    told = await Streamed.read(co.chat_stream(model="fast", messages=HELLO, logprobs=True))
    texts = [one.text for one in answer.logprobs]
    assert "".join(texts) == answer.message.content[0].text
    assert told.tokens == texts
    assert all(one.logprobs[0] <= 0 and one.token_ids for one in answer.logprobs)


async def test_images_count_as_stated_numbers(
    co: cohere.AsyncClientV2, simulator: Simulator
) -> None:
    def picture(url: str) -> Any:
        part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
        return [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]

    without = await co.chat(model="vision", messages=user("a"))
    for url, seen in (("data:image/png;base64,AAAA", "images"), ("https://x/a", "image_urls")):
        answer = await co.chat(model="vision", messages=picture(url))
        more = answer.usage.billed_units.input_tokens - without.usage.billed_units.input_tokens
        assert more == 85
        assert simulator.log[-1].seen == {seen: 1}
    with pytest.raises(cohere.errors.BadRequestError):
        await co.chat(model="fast", messages=picture("https://x/a"))


async def test_a_share_of_the_prompt_was_cached(co: cohere.AsyncClientV2) -> None:
    answer = await co.chat(model="cached", messages=user("word " * 101))
    assert answer.usage.cached_tokens == answer.usage.billed_units.input_tokens // 2 > 50


# --- tools, forms, thinking ---------------------------------------------------------------------
async def test_parallel_tools_are_called_and_their_results_answered(
    co: cohere.AsyncClientV2,
) -> None:
    messages = user("call get_weather and call get_time")
    asked: Any = {"model": "fast", "tools": [WEATHER, CLOCK]}
    first = await co.chat(messages=messages, **asked)
    calls = first.message.tool_calls
    assert first.finish_reason == "TOOL_CALL"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    jsonschema.validate(json.loads(calls[0].function.arguments), SCHEMA)
    assert first.usage.billed_units.output_tokens == count_answer(
        text for call in calls for text in (call.function.name, call.function.arguments)
    )
    told = await Streamed.read(co.chat_stream(messages=messages, **asked))
    assert told.calls == [[c.id, c.function.name, c.function.arguments] for c in calls]
    messages.append(first.message)
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "12"} for call in calls]
    second = await co.chat(messages=messages, **asked)
    assert second.message.content[0].text == "The tools answered: 12 and 12"


@pytest.mark.parametrize(
    ("choice", "names"), [("REQUIRED", ["get_weather"]), ("NONE", []), (None, [])]
)
async def test_tool_choice_is_obeyed(
    co: cohere.AsyncClientV2, choice: Any, names: list[str]
) -> None:
    asked = {} if choice is None else {"tool_choice": choice}
    answer = await co.chat(model="fast", messages=HELLO, tools=[WEATHER, CLOCK], **asked)
    assert [call.function.name for call in answer.message.tool_calls or ()] == names


async def test_json_by_a_schema_and_without(co: cohere.AsyncClientV2) -> None:
    form: Any = {"type": "json_object", "json_schema": SCHEMA}
    answer = await co.chat(model="fast", messages=HELLO, response_format=form)
    jsonschema.validate(json.loads(answer.message.content[0].text), SCHEMA)
    anything = await co.chat(
        model="fast", messages=user("in JSON"), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(anything.message.content[0].text), dict)


async def test_thinking_is_told_unless_it_is_off(
    co: cohere.AsyncClientV2, simulator: Simulator
) -> None:
    answer = await co.chat(
        model="reasoner", messages=HELLO, thinking={"type": "enabled", "token_budget": 500}
    )
    thought, said = answer.message.content
    assert (thought.type, said.type) == ("thinking", "text")
    assert count_text(thought.thinking) == 24
    assert answer.usage.billed_units.output_tokens == 24 + 40
    assert simulator.log[-1].seen == {"reasoning_budget": 500}
    off = await co.chat(model="reasoner", messages=HELLO, thinking={"type": "disabled"})
    assert [part.type for part in off.message.content] == ["text"]


async def test_a_plan_comes_before_calls(co: cohere.AsyncClientV2) -> None:
    asked: Any = {"model": "reasoner", "messages": user("call get_time"), "tools": [CLOCK]}
    plain = await co.chat(**asked)
    told = await Streamed.read(co.chat_stream(**asked))
    assert count_text(plain.message.tool_plan) == 24
    assert told.plan == plain.message.tool_plan
    thinking: Any = {"type": "enabled"}
    thought = await co.chat(thinking=thinking, **asked)
    assert thought.message.tool_plan is None
    assert thought.message.content[0].thinking == plain.message.tool_plan


# --- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": user("")},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
        {"temperature": -1},
        {"p": 1.0},
        {"k": 501},
        {"frequency_penalty": -0.5},
        {"presence_penalty": 1.5},
        {"stop_sequences": list("abcdef")},
        {"max_tokens": 0},
        {"tool_choice": "REQUIRED"},
        {"tools": [CLOCK], "tool_choice": "ANY"},
        {"tools": [CLOCK], "response_format": {"type": "json_object"}},
        {"tools": [CLOCK], "safety_mode": "STRICT"},
        {"safety_mode": "LOUD"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"thinking": {"type": "enabled", "token_budget": 0}},
        {"thinking": {"type": "maybe"}},
        {"response_format": {"type": "json_schema"}},
    ],
)
async def test_what_cohere_refuses_is_refused(
    co: cohere.AsyncClientV2, fields: dict[str, Any]
) -> None:
    with pytest.raises(cohere.errors.BadRequestError) as caught:
        await co.chat(**{"model": "fast", "messages": HELLO, **fields})
    assert set(caught.value.body) == {"id", "message"}
    assert caught.value.body["message"].startswith("invalid request")


async def test_a_key_and_a_model_must_be_right(co: cohere.AsyncClientV2) -> None:
    with pytest.raises(cohere.errors.NotFoundError):
        await co.chat(model="sim/no-such", messages=HELLO)
    async with (
        Simulator(key="right") as locked,
        cohere.AsyncClientV2(api_key="wrong", base_url=locked.origin, max_retries=0) as wrong,
        cohere.AsyncClientV2(api_key="right", base_url=locked.origin, max_retries=0) as right,
    ):
        with pytest.raises(cohere.errors.UnauthorizedError):
            await wrong.chat(model="fast", messages=HELLO)
        assert (await right.chat(model="fast", messages=HELLO)).message.content


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, cohere.errors.BadRequestError),
        (429, cohere.errors.TooManyRequestsError),
        (498, cohere.errors.InvalidTokenError),
        (499, cohere.errors.ClientClosedRequestError),
        (500, cohere.errors.InternalServerError),
        (503, cohere.errors.ServiceUnavailableError),
    ],
)
async def test_errors_that_were_asked_for(
    co: cohere.AsyncClientV2, status: int, kind: type[ApiError]
) -> None:
    with pytest.raises(kind) as caught:
        await co.chat(model="fast", messages=user(f"[sim status={status}]"))
    assert caught.value.body["message"]


async def test_a_stream_that_is_cut_bills_what_was_sent(
    co: cohere.AsyncClientV2, simulator: Simulator
) -> None:
    told = await Streamed.read(co.chat_stream(model="fast", messages=user("[sim end_after=5]")))
    assert count_text(told.text) == simulator.log[-1].billed_completion_tokens == 5
    assert told.end is None


async def test_usage_may_be_missing(co: cohere.AsyncClientV2) -> None:
    answer = await co.chat(model="fast", messages=user("[sim usage=none]"))
    assert answer.usage is None
    half = await co.chat(model="fast", messages=user("[sim usage=half]"))
    assert half.usage.billed_units.output_tokens is None
