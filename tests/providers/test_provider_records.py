"""How a provider names its answers, and what its own records say of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from provider_calls import KEY, Dispatched, make_spec
from pydantic import SecretStr
from raw_provider import (
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    RawProvider,
    Script,
    answer,
    chunk,
    delta,
    plain,
    status,
    story,
    usage,
)

from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Misconfigured,
    Overloaded,
    Providers,
    ProviderSettings,
    TimedOut,
    Timeouts,
    Unreachable,
    UpstreamCall,
    load_specs,
)
from omni_grpc.simulator import Simulator

NAMED = b"X-Generation-Id: gen-1\r\n"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def provider(simulator: Simulator) -> AsyncIterator[Providers]:
    providers = Providers({"sim": ProviderSettings(base_url=simulator.base_url)})
    await providers.open()
    yield providers
    await providers.close()


@pytest.fixture
async def keeper() -> AsyncIterator[Callable]:
    """Starts a script of bytes and a provider `p` of it that keeps records."""
    ends = []

    async def keeper(
        script: Script, timeouts: Timeouts | None = None
    ) -> tuple[Providers, RawProvider]:
        raw = await RawProvider(script).__aenter__()
        providers = Providers(
            {"p": ProviderSettings(base_url=raw.url, api_key=SecretStr(KEY))},
            specs=(make_spec(timeouts, records="openrouter"),),
        )
        await providers.open()
        ends.extend((raw, providers))
        return providers, raw

    yield keeper
    for end in ends:
        await (end.close() if isinstance(end, Providers) else end.__aexit__())


def sim(call: Callable[..., UpstreamCall], behaviour: str) -> UpstreamCall:
    extra = {"metadata": msgspec.Raw(json.dumps({"sim": behaviour}).encode())}
    return call(model="fast", extra=extra)


# --- against the simulator ------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [True, False])
async def test_the_record_says_what_the_answer_said(provider, call, dispatched, stream):
    names: list[str] = []
    asked = sim(call, "tokens=8,reasoning=3,cached=50")
    if stream:
        opened = await provider.get("sim").open_stream(asked, dispatched, names.append)
        assert len(names) == 1  # with its head, before anything of it was read
        async for _ in opened:
            pass
        told = opened.usage
    else:
        told = (await provider.get("sim").complete(asked, dispatched, names.append)).usage
    (name,) = names
    found = await provider.lookup("sim", name)
    assert found is not None
    assert (found.prompt, found.cached_read) == (told.prompt, told.cached_read)
    assert (found.completion, found.reasoning) == (told.completion, told.reasoning) == (11, 3)


async def test_the_record_of_a_cancelled_call_says_what_was_billed(
    provider, simulator, call, dispatched
):
    names: list[str] = []
    stream = await provider.get("sim").open_stream(
        sim(call, "tokens=9,hang_after=4,bills_on"), dispatched, names.append
    )
    await anext(stream)
    assert await provider.lookup("sim", names[0]) is None  # it runs still
    await stream.cancel()
    async with asyncio.timeout(20):
        while (found := await provider.lookup("sim", names[0])) is None:
            await asyncio.sleep(0.01)
    assert found == Usage(
        prompt=simulator.log[0].prompt_tokens, cached_read=0, completion=9, reasoning=0
    )


async def test_a_record_that_is_not_there_is_none(provider, simulator, call, dispatched):
    assert await provider.lookup("sim", "gen-unknown") is None
    names: list[str] = []
    asked = sim(call, "tokens=1,record_ms=60000")
    await provider.get("sim").complete(asked, dispatched, names.append)
    assert await provider.lookup("sim", names[0]) is None


# --- names ----------------------------------------------------------------------------------------
async def test_without_a_header_the_first_event_names_the_answer(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM + chunk(story("a")) + LAST_CHUNK)

    names: list[str] = []
    provider, _ = await start(script)
    stream = await provider.open_stream(call(), dispatched, names.append)
    assert names == []
    async for _ in stream:
        pass
    assert names == ["chatcmpl-1"]


async def test_a_plain_answer_names_itself_too(start, call, dispatched):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain(answer()))

    names: list[str] = []
    provider, _ = await start(script)
    completion = await provider.complete(call(), dispatched, names.append)
    assert names == [completion.id] == ["chatcmpl-1"]


@pytest.mark.parametrize("odd", [7, None, "", "a b", "a\n", "ä", "x" * 129, ["a"]])
async def test_an_odd_name_is_none(start, call, dispatched, odd):
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(plain(answer(id=odd)))

    names: list[str] = []
    provider, _ = await start(script)
    assert (await provider.complete(call(), dispatched, names.append)).id is None
    assert names == []


async def test_the_name_in_the_head_is_told_before_the_body_comes(keeper, call):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD_STREAM[:-2] + NAMED + b"\r\n")
        await peer.gone()

    names: list[str] = []
    providers, _ = await keeper(script)
    stream = await providers.get("p").open_stream(call(), Dispatched(), names.append)
    assert names == ["gen-1"]
    await stream.aclose()


async def test_a_name_is_told_once(keeper, call):
    async def script(peer: Peer) -> None:
        await peer.request()
        body = chunk(delta(content="a", finish="stop") + usage())
        await peer.send(HEAD_STREAM[:-2] + NAMED + b"\r\n" + body + LAST_CHUNK)

    names: list[str] = []
    providers, _ = await keeper(script)
    async for _ in await providers.get("p").open_stream(call(), Dispatched(), names.append):
        pass
    assert names == ["gen-1"]


# --- what a record says ---------------------------------------------------------------------------
RECORD = {
    "id": "gen-1",
    "total_cost": 0.002,
    "is_byok": False,
    "finish_reason": "stop",
    "tokens_prompt": 65,
    "tokens_completion": 116,
    "native_tokens_prompt": 64,
    "native_tokens_completion": 98,
    "native_tokens_reasoning": None,
    "native_tokens_cached": 0,
    "cancelled": True,
}
COUNTED = Usage(prompt=64, cached_read=0, completion=98)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, COUNTED),
        ({"native_tokens_prompt": 64.0, "native_tokens_completion": 98.0}, COUNTED),
        ({"native_tokens_cached": 999}, Usage(prompt=64, cached_read=64, completion=98)),
        ({"native_tokens_prompt": None}, None),
        ({"native_tokens_completion": None}, None),
        # Zero completion insurance: what failed or came to nothing is not billed.
        ({"total_cost": 0, "finish_reason": "error"}, Usage(prompt=0, completion=0)),
        (
            {"total_cost": 0, "finish_reason": None, "native_tokens_completion": 0},
            Usage(prompt=0, completion=0),
        ),
        (
            {"total_cost": 0, "finish_reason": None, "native_tokens_completion": None},
            Usage(prompt=0, completion=0),
        ),
        # A free model, a cancelled one of its answers, and a key of one's own cost zero too.
        ({"total_cost": 0}, COUNTED),
        ({"total_cost": 0, "finish_reason": None}, COUNTED),
        ({"total_cost": 0, "finish_reason": "error", "is_byok": True}, COUNTED),
    ],
)
async def test_a_record_is_read_as_it_bills(keeper, more, told):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(plain({"data": RECORD | more}))

    providers, raw = await keeper(script)
    assert await providers.lookup("p", "gen-1") == told
    (request,) = raw.requests
    assert (request.method, request.path) == ("GET", "/v1/generation?id=gen-1")
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_a_name_is_asked_for_as_it_is_and_an_odd_one_never(keeper):
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(plain({"data": RECORD}))

    providers, raw = await keeper(script)
    assert await providers.lookup("p", "gen-1&id=gen-2#x%20") == COUNTED
    for odd in ("", "a b", "a\r\nx: y", "x" * 500, "ä"):
        assert await providers.lookup("p", odd) is None
    assert [request.path for request in raw.requests] == [
        "/v1/generation?id=gen-1%26id%3Dgen-2%23x%2520"
    ]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (status(401, {"error": {"message": "no", "code": 401}}), Misconfigured),
        (status(500), Overloaded),
        (status(302, b"", "Location: http://127.0.0.1:1/"), Misconfigured),
        (plain(b"not json"), Malformed),
        (plain({"data": []}), Malformed),
        (plain({"data": RECORD | {"native_tokens_prompt": "64"}}), Malformed),
        (plain({"data": RECORD | {"native_tokens_prompt": -1}}), Malformed),
        (b"", Unreachable),
    ],
)
async def test_a_provider_that_cannot_say_is_no_provider_that_has_none(keeper, said, fault):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)

    providers, _ = await keeper(script)
    with pytest.raises(fault) as caught:
        await providers.lookup("p", "gen-1")
    assert KEY not in str(caught.value)


async def test_a_lookup_is_bounded(keeper):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    providers, _ = await keeper(script, Timeouts(total_s=0.1))
    with pytest.raises(TimedOut):
        await providers.lookup("p", "gen-1")


async def test_only_providers_that_keep_records_can_be_asked(provider):
    assert provider.keeps_records("sim")
    assert not provider.keeps_records("openrouter")  # it is not configured here
    with pytest.raises(KeyError):
        await provider.lookup("openrouter", "gen-1")


def test_openrouter_is_known_as_it_documents_itself():
    (spec,) = (spec for spec in load_specs() if spec.id == "openrouter")
    assert spec.base_url == "https://openrouter.ai/api/v1"
    assert spec.key_env == "OPENROUTER_API_KEY"
    assert (spec.bills_after_cancel, spec.records) == (True, "openrouter")
    assert spec.output_limit_field == "max_tokens"


def test_what_a_cancelled_call_costs_can_be_set_where_the_address_is():
    def bills_on(setting: bool | None) -> bool:
        settings = ProviderSettings(
            base_url="http://127.0.0.1:1/v1", api_key=SecretStr("k"), bills_after_cancel=setting
        )
        return Providers({"openai": settings}).get("openai").spec.bills_after_cancel

    assert [bills_on(setting) for setting in (None, True, False)] == [False, True, False]
