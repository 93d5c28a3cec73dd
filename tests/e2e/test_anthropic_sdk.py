"""The official Anthropic SDK, sync and async, against the running gateway: only its URL is changed.

The tests ask models by what they can; each list below takes the models of further providers.
"""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, asking, eventually
from omni_grpc_client import Omni

from omni_grpc.core.money import nanousd_from_usd

TALKERS = ["sim/fast"]
"""Models that say 40 tokens of prose, take tools and schemas, at the prices below."""

REASONERS = ["sim/reasoner"]
SEERS = ["sim/vision"]

GRANTED = 10**9
SAY: Any = [{"role": "user", "content": "Say something."}]
PROMPT_NANOUSD, ANSWER_NANOUSD = 150, 600
PIXEL = base64.b64encode(bytes(67)).decode()


def tool(name: str, **properties: str) -> Any:
    return {
        "name": name,
        "description": f"Tells the {name}.",
        "input_schema": {
            "type": "object",
            "properties": {field: {"type": kind} for field, kind in properties.items()},
            "required": list(properties),
        },
    }


TOOLS = [tool("weather", city="string"), tool("clock", zone="string")]
CALL_BOTH: Any = [{"role": "user", "content": "Please call weather and call clock."}]


class City(pydantic.BaseModel):
    name: str
    population: int
    rivers: list[str]


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=gateway.rest, api_key=tenant.api_key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
async def asdk(gateway: Gateway, tenant: Tenant) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.rest, api_key=tenant.api_key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def ask(model: str, messages: Any = SAY, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1_000, "messages": messages, **more}


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def check_cost(ledger: Omni, message: Any, nanousd: int | None = None) -> None:
    """The answer, the usage record and the ledger agree."""
    record = ledger.usage(message.id)
    (attempt,) = record.attempts
    usage = message.usage
    assert attempt.prompt_tokens == (
        usage.input_tokens
        + (usage.cache_creation_input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
    )
    assert attempt.completion_tokens == usage.output_tokens
    if nanousd is not None:
        assert record.cost_nanousd == nanousd
    newest = next(iter(ledger.ledger_entries(page_size=1)))
    assert (newest.amount_nanousd, newest.reference) == (-record.cost_nanousd, message.id)


# --- answers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", TALKERS)
def test_a_plain_answer_costs_what_its_headers_and_the_ledger_say(
    sdk: anthropic.Anthropic, ledger: Omni, model: str
) -> None:
    raw = sdk.messages.with_raw_response.create(**ask(model))
    message = raw.parse()
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert message._request_id == message.id
    (block,) = message.content
    assert block.type == "text"
    assert block.text
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    usage = message.usage
    cost = usage.input_tokens * PROMPT_NANOUSD + usage.output_tokens * ANSWER_NANOUSD
    check_cost(ledger, message, cost)
    assert raw.headers["x-request-id"] == message.id
    assert raw.headers["x-omni-model"] == model
    assert nanousd_from_usd(raw.headers["x-omni-cost-usd"]) == cost
    balance = nanousd_from_usd(raw.headers["x-omni-balance-usd"])
    assert balance == ledger.balance().available_nanousd == GRANTED - cost
    assert ledger.chat(model, "Say something.").text == block.text


@pytest.mark.parametrize("model", TALKERS)
def test_streams_say_what_the_plain_answer_says(
    sdk: anthropic.Anthropic, ledger: Omni, model: str
) -> None:
    plain = sdk.messages.create(**ask(model))
    with sdk.messages.stream(**ask(model)) as stream:
        kinds = Counter(event.type for event in stream)
        gathered = stream.get_final_message()
    assert kinds["message_start"] == kinds["message_stop"] == kinds["content_block_stop"] == 1
    assert kinds["text"] >= 1
    assert text_of(gathered) == text_of(plain)
    assert gathered.stop_reason == plain.stop_reason == "end_turn"
    assert gathered.usage.input_tokens == plain.usage.input_tokens
    assert gathered.usage.output_tokens == plain.usage.output_tokens
    check_cost(ledger, gathered)
    first, *_, last = sdk.messages.create(stream=True, **ask(model))
    assert (first.type, last.type) == ("message_start", "message_stop")


@pytest.mark.parametrize("model", TALKERS)
def test_a_stream_tells_its_cost_in_a_comment_before_its_end(
    gateway: Gateway, tenant: Tenant, ledger: Omni, model: str
) -> None:
    with HttpConnection(gateway, tenant.api_key) as http:
        body = json.dumps(ask(model, stream=True)).encode()
        answer = http.ask("/v1/messages", body)
    *_, last, comment, stop, end = answer.body.decode().split("\n\n")
    assert last.startswith("event: message_delta\n")
    assert (stop, end) == ('event: message_stop\ndata: {"type":"message_stop"}', "")
    said = json.loads(comment.removeprefix(": omni "))
    assert said["call_id"] == answer.headers["request-id"]
    assert said["cost_nanousd"] == ledger.usage(said["call_id"]).cost_nanousd
    assert said["balance_nanousd"] == ledger.balance().available_nanousd


@pytest.mark.parametrize("model", TALKERS)
def test_limits_stops_and_system_prompts_do_what_they_say(
    sdk: anthropic.Anthropic, ledger: Omni, simulator: SimulatorThread, model: str
) -> None:
    text = text_of(sdk.messages.create(**ask(model)))
    word = text.split()[5]
    stopped = sdk.messages.create(**ask(model, stop_sequences=[word]))
    assert text_of(stopped) == text[: text.index(word)]
    assert stopped.stop_reason in ("end_turn", "stop_sequence")
    short = sdk.messages.create(**ask(model, max_tokens=3))
    assert short.stop_reason == "max_tokens"
    assert short.usage.output_tokens == 3
    longer = sdk.messages.create(
        **ask(
            model, system="Be brief.", metadata={"user_id": "me"}, extra_body={"temperature": 0.2}
        )
    )
    assert longer.usage.input_tokens > short.usage.input_tokens
    check_cost(ledger, longer)
    seen = simulator.record_of(longer.id)
    assert seen.prompt_tokens == longer.usage.input_tokens


# --- tools and forms ------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", TALKERS)
def test_tools_are_called_in_parallel_and_their_results_taken(
    sdk: anthropic.Anthropic, ledger: Omni, model: str, streamed: bool
) -> None:
    asked = ask(model, CALL_BOTH, tools=TOOLS)
    message: Any
    if streamed:
        with sdk.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = sdk.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["weather", "clock"]
    assert [set(call.input) for call in calls] == [{"city"}, {"zone"}]
    check_cost(ledger, message)
    first, second = calls
    results: Any = [
        {"type": "tool_result", "tool_use_id": first.id, "content": "weather is fine"},
        {
            "type": "tool_result",
            "tool_use_id": second.id,
            "content": [{"type": "text", "text": "clock is gone"}],
            "is_error": True,
        },
    ]
    turns = [*CALL_BOTH, message.to_param(), {"role": "user", "content": results}]
    answer = sdk.messages.create(**ask(model, turns, tools=TOOLS))
    assert "weather is fine and Error: clock is gone" in text_of(answer)


@pytest.mark.parametrize("model", TALKERS)
def test_a_tool_can_be_forced_forbidden_and_called_alone(
    sdk: anthropic.Anthropic, model: str
) -> None:
    def names(choice: Any, turns: Any = CALL_BOTH) -> tuple[list[str], str | None]:
        message = sdk.messages.create(**ask(model, turns, tools=TOOLS, tool_choice=choice))
        called = [block.name for block in message.content if block.type == "tool_use"]
        return called, message.stop_reason

    assert names({"type": "tool", "name": "clock"}, SAY) == (["clock"], "tool_use")
    assert names({"type": "none"}) == ([], "end_turn")
    assert names({"type": "auto", "disable_parallel_tool_use": True}) == (["weather"], "tool_use")
    called, reason = names({"type": "any"}, SAY)
    assert (len(called), reason) == (1, "tool_use")


@pytest.mark.parametrize("model", TALKERS)
def test_the_sdks_tool_runner_runs_to_an_answer(sdk: anthropic.Anthropic, model: str) -> None:
    asked: list[str] = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: Where.
        """
        asked.append(city)
        return "14 degrees"

    turns: Any = [{"role": "user", "content": "Please call weather."}]
    runner = sdk.beta.messages.tool_runner(
        model=model, max_tokens=1_000, messages=turns, tools=[weather]
    )
    assert "14 degrees" in text_of(runner.until_done())
    assert len(asked) == 1


@pytest.mark.parametrize("model", TALKERS)
def test_structured_output_parses_into_a_pydantic_model(
    sdk: anthropic.Anthropic, ledger: Omni, model: str
) -> None:
    message = sdk.messages.parse(**ask(model), output_format=City)
    assert isinstance(message.parsed_output, City)
    check_cost(ledger, message)
    with sdk.messages.stream(**ask(model), output_format=City) as stream:
        assert stream.get_final_message().parsed_output == message.parsed_output


@pytest.mark.parametrize("model", SEERS)
def test_images_and_documents_are_read_and_counted(
    sdk: anthropic.Anthropic, ledger: Omni, model: str
) -> None:
    png: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": png},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "A page."},
                    "title": "Pages",
                },
            ],
        }
    ]
    message = sdk.messages.create(**ask(model, turns))
    assert message.usage.input_tokens > 765
    check_cost(ledger, message)


# --- thinking -------------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", REASONERS)
def test_thoughts_are_shown_charged_and_can_be_sent_back(
    sdk: anthropic.Anthropic, ledger: Omni, model: str, streamed: bool
) -> None:
    asked = ask(
        model, max_tokens=4_000, thinking={"type": "enabled", "budget_tokens": 2_000},
    )  # fmt: skip
    message: Any
    if streamed:
        with sdk.messages.stream(**asked) as stream:
            kinds = Counter(event.type for event in stream)
            message = stream.get_final_message()
        assert kinds["thinking"] >= 1
    else:
        message = sdk.messages.create(**asked)
    thought, said = message.content
    assert (thought.type, said.type) == ("thinking", "text")
    assert thought.thinking
    assert isinstance(thought.signature, str)
    details = message.usage.output_tokens_details
    assert details.thinking_tokens > 0
    check_cost(ledger, message)
    turns = [*SAY, message.to_param(), *SAY]
    again = sdk.messages.create(**{**asked, "messages": turns})
    assert text_of(again)
    adaptive = sdk.messages.create(
        **ask(model, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    )
    assert adaptive.content[0].type == "thinking"


# --- what clients send by themselves --------------------------------------------------------------
@pytest.mark.parametrize("model", TALKERS)
def test_a_request_like_claude_codes_is_answered(
    gateway: Gateway, tenant: Tenant, ledger: Omni, model: str
) -> None:
    """A bearer token, beta headers, cache marks, tool errors, and fields only Anthropic knows."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body: Any = {
        "model": model,
        "max_tokens": 32_000,
        "stream": True,
        "output_config": {"effort": "high"},
        "system": [
            {"type": "text", "text": "You are an agent."},
            {"type": "text", "text": "Work well.", **mark},
        ],
        "tools": [*TOOLS, {**tool("read", path="string"), "eager_input_streaming": True, **mark}],
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_" + "0" * 64 + "_account__session_" + "1" * 36},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Please call read."}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I read.", "signature": ""},
                    {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": "no such file",
                        "is_error": True,
                        **mark,
                    },
                    {"type": "text", "text": "Go on."},
                ],
            },
        ],
    }
    with HttpConnection(gateway, tenant.api_key) as http:
        answer = http.ask(
            "/v1/messages?beta=true",
            json.dumps(body).encode(),
            anthropic_version="2023-06-01",
            anthropic_beta="claude-code-20250219,interleaved-thinking-2025-05-14",
        )
    assert answer.status == 200, answer.body
    ignored = answer.headers["x-omni-ignored"].split(",")
    assert {"context_management", "output_config.effort"} <= set(ignored)
    kinds = [block.partition("\n")[0] for block in answer.body.decode().split("\n\n")[:-1]]
    assert (kinds[0], kinds[-1]) == ("event: message_start", "event: message_stop")
    assert ledger.usage(answer.headers["request-id"]).cost_nanousd > 0


# --- counting -------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", TALKERS)
def test_prompts_are_counted_as_they_are_charged_and_for_nothing(
    sdk: anthropic.Anthropic, ledger: Omni, simulator: SimulatorThread, model: str
) -> None:
    before = len(simulator.simulator.log)
    mark = {"cache_control": {"type": "ephemeral"}}
    for more in (
        {},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "Be brief.", **mark}], "tools": TOOLS},
        {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
    ):
        counted = sdk.messages.count_tokens(model=model, messages=SAY, **more)  # type: ignore[arg-type]  # fields of several kinds
        assert ledger.balance().posted_nanousd == GRANTED or len(simulator.simulator.log) > before
        message = sdk.messages.create(**ask(model, **more))
        assert counted.input_tokens == message.usage.input_tokens
    spent = ledger.balance().posted_nanousd
    asked = len(simulator.simulator.log)
    long: Any = [{"role": "user", "content": "word " * 200_000}]
    assert sdk.messages.count_tokens(model=model, messages=long).input_tokens > 150_000
    with pytest.raises(anthropic.NotFoundError) as missing:
        sdk.messages.count_tokens(model="sim/nothing", messages=SAY)
    assert missing.value.type == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError):
        sdk.with_options(api_key="nonsense").messages.count_tokens(model=model, messages=SAY)
    assert ledger.balance().posted_nanousd == spent
    assert len(simulator.simulator.log) == asked


# --- async ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", TALKERS)
async def test_the_async_client_does_the_same(asdk: anthropic.AsyncAnthropic, model: str) -> None:
    plain = await asdk.messages.create(**ask(model))
    async with asdk.messages.stream(**ask(model)) as stream:
        pieces = [text async for text in stream.text_stream]
    assert "".join(pieces) == text_of(plain)
    parsed = await asdk.messages.parse(**ask(model), output_format=City)
    assert isinstance(parsed.parsed_output, City)
    counted = await asdk.messages.count_tokens(model=model, messages=SAY)
    assert counted.input_tokens == plain.usage.input_tokens
    with pytest.raises(anthropic.BadRequestError):
        await asdk.messages.create(**ask(model, []))


@pytest.mark.parametrize("model", TALKERS)
async def test_30_streams_at_once_are_whole_and_charged_each_once(
    asdk: anthropic.AsyncAnthropic, ledger: Omni, model: str
) -> None:
    async def one(number: int) -> Any:
        turns: Any = [{"role": "user", "content": f"Tell me of number {number}."}]
        async with asdk.messages.stream(**ask(model, turns)) as stream:
            return await stream.get_final_message()

    found = await asyncio.gather(*(one(number) for number in range(30)))
    assert len({text_of(message) for message in found}) == 30
    charged = {
        entry.reference: -entry.amount_nanousd
        for entry in ledger.ledger_entries(page_size=50)
        if entry.amount_nanousd < 0
    }
    assert charged == {
        message.id: message.usage.input_tokens * PROMPT_NANOUSD
        + message.usage.output_tokens * ANSWER_NANOUSD
        for message in found
    }


async def test_leaving_a_stream_stops_the_provider_and_costs_what_came(
    asdk: anthropic.AsyncAnthropic, simulator: SimulatorThread, ledger: Omni
) -> None:
    stream = await asdk.messages.create(stream=True, **ask("sim/slow"))
    async for event in stream:
        if event.type == "content_block_delta":
            break
    await stream.close()
    call_id = stream.response.headers["request-id"]
    seen = simulator.record_of(call_id)
    assert await asyncio.to_thread(eventually, lambda: seen.outcome == "cancelled")
    assert seen.completion_tokens < 40
    assert await asyncio.to_thread(eventually, lambda: ledger.balance().held_nanousd == 0)
    cost = seen.prompt_tokens * PROMPT_NANOUSD + seen.completion_tokens * ANSWER_NANOUSD
    assert ledger.usage(call_id).cost_nanousd == cost


# --- repeats --------------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [False, True])
def test_a_repeat_is_the_first_answer_and_costs_nothing(
    sdk: anthropic.Anthropic, ledger: Omni, streamed: bool
) -> None:
    asked = ask("sim/fast", CALL_BOTH, tools=TOOLS, extra_headers={"idempotency-key": "mine"})
    first = sdk.messages.create(**asked)
    spent = ledger.balance().posted_nanousd
    again: Any
    if streamed:
        with sdk.messages.stream(**asked) as stream:
            again = stream.get_final_message()
    else:
        again = sdk.messages.create(**asked)
    assert again.id == first.id
    assert [block.model_dump() for block in again.content] == [
        block.model_dump() for block in first.content
    ]
    assert again.stop_reason == first.stop_reason == "tool_use"
    assert again.usage.output_tokens == first.usage.output_tokens
    assert ledger.balance().posted_nanousd == spent
    with pytest.raises(anthropic.ConflictError) as reused:
        sdk.messages.create(**{**asked, "max_tokens": 7})
    assert reused.value.response.headers["x-should-retry"] == "false"


# --- failures -------------------------------------------------------------------------------------
def test_failures_are_the_sdks_own_exceptions(
    gateway: Gateway, tenant: Tenant, sdk: anthropic.Anthropic, ledger: Omni
) -> None:
    with gateway.admin() as omni:
        billing = omni.create_api_key(f"orgs/{tenant.org}", scopes=["billing"]).secret

    def fails(kind: type[anthropic.APIStatusError], key: str = "", **fields: Any) -> Any:
        client = sdk.with_options(api_key=key) if key else sdk
        with pytest.raises(kind) as caught:
            client.messages.create(**{**ask("sim/fast"), **fields})
        assert type(caught.value) is kind
        assert caught.value.request_id
        return caught.value

    assert fails(anthropic.AuthenticationError, "nonsense").type == "authentication_error"
    assert fails(anthropic.PermissionDeniedError, billing).type == "permission_error"
    wrong = fails(anthropic.BadRequestError, extra_body={"temperature": 3})
    assert (wrong.type, wrong.body["error"]["omni"]["field"]) == (
        "invalid_request_error", "temperature",
    )  # fmt: skip
    assert fails(anthropic.NotFoundError, model="sim/nothing").type == "not_found_error"
    assert fails(anthropic.BadRequestError, model="sim/error-400").type == "invalid_request_error"
    assert fails(anthropic.UnprocessableEntityError, model="sim/error-422").status_code == 422
    long: Any = [{"role": "user", "content": "word " * 200_000}]
    too_long = fails(anthropic.BadRequestError, messages=long)
    assert too_long.api_message.startswith("prompt is too long")
    searching = fails(
        anthropic.BadRequestError, tools=[{"type": "web_search_20250305", "name": "web_search"}]
    )
    assert searching.body["error"]["omni"]["reason"] == "FEATURE_UNSUPPORTED"
    huge: Any = [{"role": "user", "content": "x" * (11 * 1024 * 1024)}]
    assert fails(anthropic.ContentTooLargeError, messages=huge).type == "request_too_large"
    failed = fails(anthropic.OverloadedError, model="sim/error-500")
    assert (failed.status_code, failed.type) == (529, "overloaded_error")
    late = {"x-omni-timeout-ms": "300"}
    slow = fails(anthropic.GatewayTimeoutError, model="sim/hang", extra_headers=late)
    assert (slow.type, slow.response.headers["x-should-retry"]) == ("timeout_error", "false")
    ledger.create_hold(ledger.balance().available_nanousd)
    held = fails(anthropic.RateLimitError)
    assert held.type == "rate_limit_error"
    assert held.response.headers["retry-after"] == "1"


def test_a_call_that_cannot_be_paid_is_402_with_what_is_needed(gateway: Gateway) -> None:
    poor = gateway.tenant(nanousd=1_000)
    with anthropic.Anthropic(base_url=gateway.rest, api_key=poor.api_key) as sdk:
        for stream in (False, True):
            with pytest.raises(anthropic.PaymentRequiredError) as refused:
                sdk.messages.create(**ask("sim/fast"), stream=stream)
            assert refused.value.type == "billing_error"
            body: Any = refused.value.body
            assert int(body["error"]["omni"]["available_nanousd"]) == 1_000


@pytest.mark.parametrize("model", ["cut-mid", "fin-mid", "truncated", "error-mid", "bad-json"])
def test_a_stream_that_its_provider_cuts_raises_and_costs_what_came(
    sdk: anthropic.Anthropic, ledger: Omni, model: str
) -> None:
    stream = sdk.messages.create(stream=True, **ask(f"sim/{model}"))
    pieces: list[str] = []
    with pytest.raises(anthropic.APIStatusError, match="broke off") as cut:
        pieces.extend(
            event.delta.text
            for event in stream
            if event.type == "content_block_delta" and event.delta.type == "text_delta"
        )
    assert cut.value.type == "api_error"
    call_id = stream.response.headers["request-id"]
    assert ledger.usage(call_id).cost_nanousd == 10 * PROMPT_NANOUSD + 5 * ANSWER_NANOUSD


# --- the SDK's own types --------------------------------------------------------------------------
ASKED: dict[str, Any] = {
    "text": ask("sim/fast"),
    "tools": ask("sim/fast", CALL_BOTH, tools=TOOLS),
    "length": ask("sim/fast", max_tokens=3),
    "json": ask("sim/fast", output_config={"format": {"type": "json_schema", "schema": {
        "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
        "additionalProperties": False}}}),
    "asked": ask("sim/fast", [{"role": "user", "content": asking("tokens=2,finish=length")}]),
    **{
        name: ask(f"sim/{name}")
        for name in (
            "empty", "refusal", "filter", "reasoner", "cached", "burst", "echo",
            "no-usage", "usage-zero", "usage-over", "usage-every", "wrong-model", "crlf",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_every_body_and_event_is_strictly_of_the_sdks_types(
    gateway: Gateway, tenant: Tenant, name: str
) -> None:
    with HttpConnection(gateway, tenant.api_key) as http:
        plain = http.ask("/v1/messages", json.dumps(ASKED[name]).encode())
        streamed = http.ask("/v1/messages", json.dumps({**ASKED[name], "stream": True}).encode())
    assert (plain.status, streamed.status) == (200, 200)
    message = pydantic.TypeAdapter(Message).validate_json(plain.body, strict=True)
    check_fields(message)
    kinds = pydantic.TypeAdapter[Any](RawMessageStreamEvent)
    for data in (block.partition("\ndata: ")[2] for block in streamed.body.decode().split("\n\n")):
        if data:
            check_fields(kinds.validate_json(data, strict=True))


def check_fields(found: Any) -> None:
    """No field that the SDK does not know."""
    if isinstance(found, pydantic.BaseModel):
        assert not found.model_extra, (type(found), found.model_extra)
        for _, value in found:
            check_fields(value)
    elif isinstance(found, list):
        for value in found:
            check_fields(value)
