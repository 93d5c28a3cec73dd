"""Several endpoints of a provider: by weight, around those that fail, and never none."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from provider_calls import Dispatched
from pydantic import SecretStr
from raw_provider import (
    HEAD_STREAM,
    LAST_CHUNK,
    Peer,
    RawProvider,
    answer,
    chunk,
    plain,
    status,
    story,
)
from structlog.testing import capture_logs

from omni_grpc.cli.opening import provider_variables
from omni_grpc.core.chat import Message
from omni_grpc.core.conversation import WARM_SECONDS
from omni_grpc.core.media import EmbeddingRequest
from omni_grpc.providers import (
    EndpointSettings,
    EndpointSpec,
    MediaCall,
    Misconfigured,
    Overloaded,
    Providers,
    ProviderSettings,
    ProvidersFileError,
    ProviderSpec,
    RateLimited,
    Rejected,
    TimedOut,
    Timeouts,
    Unreachable,
    load_specs,
)
from omni_grpc.providers.balancing import ADVICE_SECONDS_MAX, ASIDE_SECONDS_MAX, Balance
from omni_grpc.providers.registry import ProviderSettingsError
from omni_grpc.providers.retries import Retries
from omni_grpc.settings import SettingsError, read_settings
from omni_grpc.simulator import Simulator
from omni_grpc.wiring.configured import configured_providers

LIMITED = status(429, b"{}", "retry-after: 30")
NOW_AND_THEN = Retries(count_max=2, first_s=0.001, pause_s_max=0.002)


class HandClock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def endpoint_answered(self, provider: str, endpoint: str) -> None:
        self.told.append((endpoint, "answered"))

    def endpoint_failed(self, provider: str, endpoint: str) -> None:
        self.told.append((endpoint, "failed"))


class Script:
    """What one endpoint says to each request: always the same, until that is changed."""

    def __init__(self, reply: bytes | None = None) -> None:
        self.reply = plain(answer()) if reply is None else reply
        self.keys: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            self.keys.append(request.headers.get("authorization", ""))
            if not self.reply:
                peer.reset()
                return
            await peer.send(self.reply)


class Rig:
    """Endpoints that are scripts, and a provider that has them all."""

    def __init__(self) -> None:
        self.raw: list[RawProvider] = []
        self.providers: list[Providers] = []
        self.clock = HandClock()
        self.seen = Seen()

    async def at(self, *scripts: Script) -> list[str]:
        """Starts them, each at an address of its own."""
        self.raw += [await RawProvider(script).__aenter__() for script in scripts]
        return [raw.url for raw in self.raw]

    async def provider(self, *urls: str, weights: tuple[int, ...] = (), **spec: object):
        """The provider whose endpoints `e0`, `e1`… are there, each with a key of its own."""
        spec.setdefault("bills_after_cancel", False)
        endpoints = tuple(
            EndpointSpec(
                name=f"e{n}", base_url=url, key_env=f"K{n}", weight=weights[n] if weights else 1
            )
            for n, url in enumerate(urls)
        )
        made = ProviderSpec(id="p", dialect="openai", key_env="K", endpoints=endpoints, **spec)
        keys = {
            f"e{n}": EndpointSettings(api_key=SecretStr(f"key-{n}-secret"))
            for n in range(len(urls))
        }
        given = {"p": ProviderSettings(endpoints=keys)}
        providers = Providers(given, specs=(made,), clock=self.clock)
        providers.observe(self.seen)
        await providers.open()
        self.providers.append(providers)
        return providers.get("p")

    async def close(self) -> None:
        for providers in self.providers:
            await providers.close()
        for raw in self.raw:
            await raw.__aexit__()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.close()


# --- whose turn it is -----------------------------------------------------------------------------
def turns(balance: Balance, count: int) -> list[int]:
    return [balance.first() for _ in range(count)]


def test_each_place_has_as_many_turns_as_it_weighs_as_far_apart_as_can_be():
    balance = Balance([5, 1, 1], HandClock())
    assert turns(balance, 7) == [0, 0, 1, 0, 2, 0, 0]
    many = turns(balance, 7_000)
    assert [many.count(place) for place in range(3)] == [5_000, 1_000, 1_000]


def test_a_spare_has_its_turn_while_all_others_are_set_aside():
    clock = HandClock()
    balance = Balance([1, 0, 1], clock)
    assert set(turns(balance, 20)) == {0, 2}
    for place in (0, 2):
        balance.failed(place, Unreachable("p", "p: gone", dispatched=False))
    assert turns(balance, 3) == [1, 1, 1]
    clock.at += 1.1
    assert set(turns(balance, 20)) == {0, 2}


def test_where_all_are_set_aside_the_one_that_is_back_the_soonest_is_called():
    balance = Balance([1, 1], HandClock())
    balance.failed(0, RateLimited("p", "p: no", dispatched=True, retry_after_s=20.0))
    balance.failed(1, RateLimited("p", "p: no", dispatched=True, retry_after_s=10.0))
    assert turns(balance, 3) == [1, 1, 1]


def test_an_endpoint_is_set_aside_longer_each_time_up_to_a_bound_and_comes_back():
    clock = HandClock()
    balance = Balance([1, 1], clock)
    failed = Overloaded("p", "p: it failed", dispatched=True, status=500)
    waits = []
    for _ in range(9):
        waits.append(balance.failed(0, failed))
        assert set(turns(balance, 4)) == {1}
        assert balance.failed(0, failed) is None  # a call that was under way
        clock.at += waits[-1]
        assert set(turns(balance, 4)) == {0, 1}
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits[-1] == ASIDE_SECONDS_MAX
    balance.answered(0, clock.at)
    assert balance.failed(0, failed) == 1


def test_advice_is_heeded_up_to_a_bound_and_a_call_from_before_it_ends_nothing():
    clock = HandClock()
    balance = Balance([1, 1], clock)
    limited = RateLimited("p", "p: no", dispatched=True, retry_after_s=86_400.0)
    begun_at = clock.at
    clock.at += 1
    assert balance.failed(0, limited) == ADVICE_SECONDS_MAX
    balance.answered(0, begun_at)
    assert set(turns(balance, 4)) == {1}
    balance.answered(0, clock.at)  # a call that came later was answered: it was too careful
    assert set(turns(balance, 4)) == {0, 1}


@pytest.mark.parametrize(
    "fault",
    [
        Rejected("p", "p: content", dispatched=True, status=400),
        Misconfigured("p", "p: no such model", dispatched=True, status=404),
        TimedOut("p", "p: late", wait="total", dispatched=True),
        RateLimited("p", "p: again at once", dispatched=True, retry_after_s=0.0),
    ],
)
def test_what_is_not_the_endpoints_fault_sets_none_aside(fault):
    balance = Balance([1, 1], HandClock())
    assert balance.failed(0, fault) is None
    assert set(turns(balance, 4)) == {0, 1}


# --- calls ----------------------------------------------------------------------------------------
async def test_calls_are_spread_by_weight_each_with_its_own_key(rig, call, dispatched):
    scripts = [Script(), Script()]
    provider = await rig.provider(*await rig.at(*scripts), weights=(3, 1))
    for _ in range(8):
        await provider.complete(call(), dispatched)
    assert [len(script.keys) for script in scripts] == [6, 2]
    assert set(scripts[0].keys) == {"Bearer key-0-secret"}
    assert set(scripts[1].keys) == {"Bearer key-1-secret"}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "reply", [LIMITED, status(401, b"{}"), status(403, b"{}"), status(500, b"{}"), b""]
)
async def test_what_fails_is_set_aside_and_another_answers_within_one_attempt(
    rig, call, dispatched, reply, streamed
):
    good = HEAD_STREAM + chunk(story("a")) + LAST_CHUNK if streamed else plain(answer())
    scripts = [Script(reply), Script(good)]
    provider = await rig.provider(*await rig.at(*scripts))
    for _ in range(3):
        if streamed:
            stream = await provider.open_stream(call(), dispatched)
            assert [deltas async for deltas in stream]
        else:
            assert (await provider.complete(call(), dispatched)).choices
    assert [len(script.keys) for script in scripts] == [1, 3]
    assert dispatched.count == 3  # each call is one attempt in the books
    assert rig.seen.told == [("e0", "failed"), *[("e1", "answered")] * 3]


async def test_an_endpoint_that_nobody_listens_at_costs_no_call(rig, call, dispatched):
    provider = await rig.provider("http://127.0.0.1:1/v1", *await rig.at(Script()))
    for _ in range(3):
        assert (await provider.complete(call(), dispatched)).choices
    assert rig.seen.told.count(("e0", "failed")) == 1


async def test_an_endpoint_is_called_again_when_its_time_is_over(rig, call, dispatched):
    scripts = [Script(LIMITED), Script()]
    provider = await rig.provider(*await rig.at(*scripts))
    await provider.complete(call(), dispatched)
    scripts[0].reply = plain(answer())
    rig.clock.at += 29
    await provider.complete(call(), dispatched)
    assert len(scripts[0].keys) == 1
    rig.clock.at += 2
    await provider.complete(call(), dispatched)
    await provider.complete(call(), dispatched)
    assert len(scripts[0].keys) == 2


async def test_keys_at_one_address_share_its_failures_but_not_their_limits(rig, call, dispatched):
    shared = Script(status(503, b"{}"))
    (url,) = await rig.at(shared)
    provider = await rig.provider(url, url, url)
    with pytest.raises(Overloaded):
        await provider.complete(call(), dispatched)
    assert len(shared.keys) == 1  # whoever asks, it has failed; another is asked after a pause
    shared.reply, rig.clock.at = LIMITED, rig.clock.at + 2
    with pytest.raises(RateLimited):
        await provider.complete(call(), dispatched)
    assert len(set(shared.keys[1:])) == len(shared.keys[1:]) == 3


async def test_retries_begin_anew_after_a_round_and_are_counted_as_ever(rig, call, dispatched):
    scripts = [Script(status(503, b"{}")), Script(status(503, b"{}"))]
    provider = await rig.provider(*await rig.at(*scripts), retries=NOW_AND_THEN)
    with pytest.raises(Overloaded):
        await provider.complete(call(retries=True), dispatched)
    # A first round asks both; then they are set aside, and each of two retries asks the soonest.
    assert sum(len(script.keys) for script in scripts) == 4
    assert dispatched.count == 1


async def test_while_all_are_set_aside_calls_are_made_all_the_same(rig, call, dispatched):
    scripts = [Script(LIMITED), Script(status(429, b"{}", "retry-after: 10"))]
    provider = await rig.provider(*await rig.at(*scripts))
    with pytest.raises(RateLimited) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.retry_after_s == 10
    scripts[1].reply = plain(answer())
    assert (await provider.complete(call(), dispatched)).choices
    assert [len(script.keys) for script in scripts] == [1, 2]


async def test_what_passes_stands_for_a_round_before_what_does_not(rig, call, dispatched):
    scripts = [Script(status(429, b"{}", "retry-after: 7")), Script(status(401, b"{}"))]
    provider = await rig.provider(*await rig.at(*scripts), "http://127.0.0.1:1/v1")
    with pytest.raises(RateLimited) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.retry_after_s == 7
    assert {name for name, _ in rig.seen.told} == {"e0", "e1", "e2"}


@pytest.mark.parametrize("bills_on", [True, False])
async def test_a_request_that_may_be_billed_goes_nowhere_else(rig, call, dispatched, bills_on):
    scripts = [Script(b""), Script()]
    provider = await rig.provider(*await rig.at(*scripts), bills_after_cancel=bills_on)
    if bills_on:
        with pytest.raises(Unreachable) as caught:
            await provider.complete(call(), dispatched)
        assert caught.value.dispatched
    else:
        await provider.complete(call(), dispatched)
    assert len(scripts[1].keys) == (0 if bills_on else 1)


async def test_a_silent_endpoint_ends_its_call_and_takes_no_other(rig, call, dispatched):
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    good = Script(HEAD_STREAM + chunk(story("a")) + LAST_CHUNK)
    urls = await rig.at(silent, good)
    provider = await rig.provider(*urls, timeouts=Timeouts(first_byte_s=0.05))
    with pytest.raises(TimedOut):  # it may have been generated: that is no other fault's meaning
        await provider.open_stream(call(), dispatched)
    assert good.keys == []
    for _ in range(2):
        stream = await provider.open_stream(call(), dispatched)
        assert [deltas async for deltas in stream]


async def test_the_callers_own_fault_goes_nowhere_else(rig, call, dispatched):
    scripts = [Script(status(400, b"{}")), Script()]
    provider = await rig.provider(*await rig.at(*scripts))
    with pytest.raises(Rejected):
        await provider.complete(call(), dispatched)
    assert len(scripts[1].keys) == 0
    assert rig.seen.told == []


async def test_a_caller_who_leaves_in_a_pause_between_rounds_is_not_sent_again(rig, call):
    scripts = [Script(LIMITED), Script(status(429, b"{}", "retry-after: 9"))]
    provider = await rig.provider(*await rig.at(*scripts))
    one = provider.complete(call(retries=True), Dispatched())
    task = asyncio.ensure_future(_wait(one))
    while one._exchange.dispatch.refused is None or len(scripts[1].keys) == 0:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(RateLimited):
        await one.cancel()
    assert [len(script.keys) for script in scripts] == [1, 1]


async def _wait(one) -> None:
    await one


async def test_many_calls_at_once_over_simulators_lose_none(call):
    simulators = [Simulator(key=f"right-{n}") for n in range(3)]
    for one in simulators:
        await one.start()
    endpoints = tuple(
        EndpointSpec(name=f"s{n}", base_url=one.base_url, key_env=f"S{n}", weight=weight)
        for n, (one, weight) in enumerate(zip(simulators, (2, 1, 1), strict=True))
    )
    spec = ProviderSpec(
        id="p", dialect="openai", bills_after_cancel=False, endpoints=endpoints, key_env="K"
    )
    keys = {"s0": "right-0", "s1": "right-1", "s2": "stale"}
    given = {name: EndpointSettings(api_key=SecretStr(key)) for name, key in keys.items()}
    providers = Providers({"p": ProviderSettings(endpoints=given)}, specs=(spec,))
    await providers.open()
    try:
        provider = providers.get("p")
        asked = [provider.complete(call(model="fast"), Dispatched()) for _ in range(60)]
        with capture_logs() as logs:
            assert all(found.choices for found in await asyncio.gather(*map(_result, asked)))
        right = [
            sum(record.outcome == "finished" and record.status == 200 for record in one.log)
            for one in simulators
        ]
        assert sum(right) == 60
        assert right[2] == 0
        assert right[0] > right[1] > 0
        refused = [line for line in logs if line["event"] == "endpoint_set_aside"]
        assert len(refused) == 1  # told once, however many calls were under way
        before = len(simulators[2].log)
        await provider.complete(call(model="fast"), Dispatched())
        assert len(simulators[2].log) == before  # it is set aside
    finally:
        await providers.close()
        for one in simulators:
            await one.stop()


async def _result(one):
    return await one


async def test_what_is_no_chat_goes_around_a_failing_endpoint_too(rig):
    vectors = b'{"data":[{"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":1}}'
    scripts = [Script(LIMITED), Script(plain(vectors))]
    await rig.provider(*await rig.at(*scripts))
    media = rig.providers[0].media("p")
    asked = MediaCall(
        request=EmbeddingRequest(model="m", inputs=("w",)),
        model="m",
        call_id="c",
        seconds_left=5.0,
        retries=False,
    )
    found = await media.ask(asked, Dispatched(), lambda _name: None)
    assert found.usage.prompt == 1
    assert [len(script.keys) for script in scripts] == [1, 1]


async def test_a_generation_is_looked_for_at_every_account(rig):
    record = {"native_tokens_prompt": 3, "native_tokens_completion": 5, "total_cost": 1}
    found = plain(json.dumps({"data": record}).encode())
    scripts = [Script(status(404, b"{}")), Script(status(401, b"{}")), Script(found)]
    await rig.provider(*await rig.at(*scripts), records="openrouter")
    usage = await rig.providers[0].lookup("p", "gen-1")
    assert (usage.prompt, usage.completion) == (3, 5)
    scripts[2].reply = status(404, b"{}")
    with pytest.raises(Misconfigured):  # one account could not be asked: it may have it
        await rig.providers[0].lookup("p", "gen-1")
    scripts[1].reply = status(404, b"{}")
    assert await rig.providers[0].lookup("p", "gen-1") is None


# --- conversations --------------------------------------------------------------------------------
LONG = "Why do the tides follow the moon? " * 150


def turn(call, number: int, turns: int, text: str = LONG):
    """The call of a conversation's turn: all that was said before stands in it again."""
    said = [Message(role="user", content=f"{number} {text}")]
    for past in range(1, turns):
        said += [Message(role="assistant", content="Hm."), Message(role="user", content=f"{past}?")]
    return call(messages=tuple(said))


async def homes(rig, provider, call, numbers, turns, dispatched, text: str = LONG) -> list[str]:
    before = len(rig.seen.told)
    for number in numbers:
        await provider.complete(turn(call, number, turns, text), dispatched)
    return [endpoint for endpoint, what in rig.seen.told[before:] if what == "answered"]


async def test_a_long_conversation_stays_where_its_prompt_is_cached(rig, call, dispatched):
    provider = await rig.provider(*await rig.at(Script(), Script(), Script()), weights=(2, 1, 1))
    first = await homes(rig, provider, call, range(8), 1, dispatched)
    assert [first.count(f"e{n}") for n in range(3)] == [4, 2, 2]
    for turns in (2, 3):
        order = [5, 2, 7, 0, 1, 6, 3, 4]
        again = await homes(rig, provider, call, order, turns, dispatched)
        assert again == [first[number] for number in order]
    rig.clock.at += WARM_SECONDS + 1
    spread = await homes(rig, provider, call, [5] * 4, 4, dispatched)
    assert len(set(spread)) > 1  # its cache is gone by now


async def test_short_and_repeated_prompts_are_spread(rig, call, dispatched):
    provider = await rig.provider(*await rig.at(Script(), Script()))
    for text in ("Hi.", LONG):
        for turns in (1, 2):
            found = await homes(rig, provider, call, [1] * 6, turns, dispatched, text)
            if turns == 1 or text != LONG:
                assert found.count("e0") == 3


async def test_a_conversation_moves_where_its_endpoint_fails_and_stays_there(rig, call, dispatched):
    scripts = [Script(), Script()]
    provider = await rig.provider(*await rig.at(*scripts))
    (home,) = await homes(rig, provider, call, [1], 1, dispatched)
    place = int(home[1:])
    scripts[place].reply = LIMITED
    (other,) = await homes(rig, provider, call, [1], 2, dispatched)
    assert other != home
    scripts[place].reply = plain(answer())
    rig.clock.at += 31
    assert await homes(rig, provider, call, [1], 3, dispatched) == [other]


def test_what_one_conversation_took_is_made_up_for_within_a_bound_and_never_by_a_spare():
    balance = Balance([1, 1, 0], HandClock())
    assert [balance.first(home=0) for _ in range(500)] == [0] * 500
    after = turns(balance, 100)
    assert 20 <= after.count(1) - after.count(0) <= 45
    assert turns(balance, 100).count(0) == 50
    assert balance.first(home=2) != 2


# --- secrets --------------------------------------------------------------------------------------
async def test_keys_stand_in_no_log_and_no_fault_even_where_an_endpoint_echoes_another_one(
    rig, call, dispatched
):
    said = b'{"error":{"message":"key-0-secret and key-1-secret are not known here"}}'
    scripts = [Script(status(401, said)), Script(status(401, said))]
    provider = await rig.provider(*await rig.at(*scripts))
    with capture_logs() as logs, pytest.raises(Misconfigured) as caught:
        await provider.complete(call(), dispatched)
    shown = f"{logs} {caught.value} {caught.value.provider_message} {provider._upstream.endpoints}"
    assert "-secret" not in shown
    assert [line["endpoint"] for line in logs] == ["e0", "e1"]


# --- what an operator may write -------------------------------------------------------------------
def written(folder: Path, endpoints: str) -> Path:
    file = folder / "providers.yaml"
    file.write_text(f"- id: openai\n  endpoints: {endpoints}\n")
    return file


@pytest.mark.parametrize(
    ("endpoints", "told"),
    [
        ("[{name: a, weight: 0}, {name: b, key_env: B, weight: 0}]", "sum to 0"),
        ("[{name: a, weight: -1}]", ">= 0"),
        ("[{name: a, weight: 1.5}]", "int"),
        ("[{name: a, weight: 1000001}]", "<= 1000000"),
        ("[{name: a}, {name: a, key_env: B}]", "'a' twice"),
        ("[{name: a, key_env: B}, {name: b, key_env: B}]", "'a' and 'b' have the same address"),
        ("[{name: A}]", "name"),
        ("[{name: a, variables: {region: R}}]", "'a' sets region"),
        ("[{weight: 1}]", "name"),
        ("[{name: a, api_key: sk-1}]", "api_key"),
        (f"[{', '.join(f'{{name: e{n}, key_env: K{n}}}' for n in range(33))}]", "32 at most"),
    ],
)
def test_endpoints_that_cannot_be_are_refused_with_their_place(tmp_path, endpoints, told):
    with pytest.raises(ProvidersFileError, match=told) as caught:
        load_specs(written(tmp_path, endpoints))
    assert "'openai'" in str(caught.value)


def configured(
    folder: Path, endpoints: str, provider_key: str | None = None, **keys: str
) -> Providers:
    given = ProviderSettings(
        api_key=None if provider_key is None else SecretStr(provider_key),
        endpoints={name: EndpointSettings(api_key=SecretStr(key)) for name, key in keys.items()},
    )
    return Providers({"openai": given}, specs=load_specs(written(folder, endpoints)))


TWO = "[{name: a, key_env: A}, {name: b, key_env: B}]"


def test_all_endpoints_have_their_keys_or_none(tmp_path):
    assert "openai" in configured(tmp_path, TWO, a="k1", b="k2").ids()
    assert "openai" not in configured(tmp_path, TWO).ids()
    with pytest.raises(ProviderSettingsError, match=r"'openai' has endpoints without .*: b"):
        configured(tmp_path, TWO, a="k1")


def test_the_providers_own_key_is_no_endpoints_that_names_another(tmp_path):
    with pytest.raises(ProviderSettingsError, match="without an address or a key: b"):
        configured(tmp_path, TWO, provider_key="k0", a="k1")
    mixed = "[{name: a}, {name: b, key_env: B}]"
    assert "openai" in configured(tmp_path, mixed, provider_key="k0", b="k1").ids()


def test_the_same_key_twice_is_refused_without_being_shown(tmp_path):
    with pytest.raises(ProviderSettingsError, match=r"'a' and 'b'.*same address and key") as caught:
        configured(tmp_path, TWO, a="the-secret", b="the-secret")
    assert "the-secret" not in str(caught.value)


def test_a_key_for_an_endpoint_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ProviderSettingsError, match="no endpoint 'c'"):
        configured(tmp_path, TWO, a="k1", b="k2", c="k3")


def test_each_endpoint_fills_the_providers_address_with_its_own_values(tmp_path):
    file = tmp_path / "providers.yaml"
    file.write_text(
        """
- id: azure
  endpoints:
    - {name: east, key_env: EAST, variables: {resource: EAST_NAME}, weight: 3}
    - {name: west, key_env: WEST, variables: {resource: WEST_NAME}}
"""
    )
    given = {
        name: EndpointSettings(
            api_key=SecretStr(f"k-{name}"), variables={"resource": SecretStr(f"my-{name}")}
        )
        for name in ("east", "west")
    }
    providers = Providers({"azure": ProviderSettings(endpoints=given)}, specs=load_specs(file))
    endpoints = providers.get("azure")._upstream.endpoints
    assert [(one.name, one.weight, str(one.address)) for one in endpoints] == [
        ("east", 3, "https://my-east.openai.azure.com/openai"),
        ("west", 1, "https://my-west.openai.azure.com/openai"),
    ]


def test_the_file_names_the_variables_and_the_environment_has_the_keys(tmp_path):
    (tmp_path / "providers.yaml").write_text(
        """
- id: openai
  endpoints:
    - {name: first, key_env: FIRST_KEY, weight: 2}
    - {name: second, key_env: SECOND_KEY, base_url: "https://second.example/v1"}
    - {name: third}
"""
    )
    environment = {
        "OMNI_PROVIDERS_FILE": str(tmp_path / "providers.yaml"),
        "OPENAI_API_KEY": "sk-provider",
        "FIRST_KEY": "sk-first",
        "SECOND_KEY": "sk-second",
    }
    settings = read_settings(environment, provider_variables=provider_variables)
    for shown in (repr(settings), str(settings.redacted())):
        assert "sk-" not in shown
    endpoints = configured_providers(settings).get("openai")._upstream.endpoints
    assert [(one.name, one.credentials.secrets, str(one.address)) for one in endpoints] == [
        ("first", ("sk-first",), "https://api.openai.com/v1"),
        ("second", ("sk-second",), "https://second.example/v1"),
        ("third", ("sk-provider",), "https://api.openai.com/v1"),
    ]


@pytest.mark.parametrize("wrong", ["[1]", "text", "{openai: [1]}", "{openai: {first: [1]}}"])
def test_keys_of_endpoints_that_are_no_mapping_are_told(tmp_path, monkeypatch, wrong):
    (tmp_path / "omni.yaml").write_text(f"provider_endpoint_keys: {wrong}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="provider_endpoint_keys"):
        read_settings({}, provider_variables=provider_variables)


def test_one_endpoint_is_called_as_if_it_were_the_provider(tmp_path):
    providers = configured(tmp_path, "[{name: only, key_env: A}]", only="k1")
    assert type(providers.get("openai")._upstream).__name__ == "Upstream"
