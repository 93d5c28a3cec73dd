"""Probes: a provider that is away is asked beside all traffic, and called again when it is back."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from omni_grpc.completion import Probes
from omni_grpc.completion.probes import PROBES_AT_ONCE_MAX
from omni_grpc.providers import (
    EndpointSettings,
    EndpointSpec,
    Providers,
    ProviderSettings,
    ProviderSpec,
    probe,
)
from omni_grpc.providers.registry import _endpoints
from omni_grpc.routing import Health
from omni_grpc.routing.breakers import FAILURES_IN_ROW, OPEN_SECONDS, OPEN_SECONDS_MAX
from omni_grpc.simulator import Simulator


class MovedClock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.probes: list[tuple[str, bool]] = []

    def provider_probed(self, provider: str, *, is_there: bool) -> None:
        self.probes.append((provider, is_there))


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def health(clock: MovedClock) -> Health:
    return Health(clock)


def trip(health: Health, offer: str = "p/a", *, unreached: bool = True) -> None:
    for _ in range(FAILURES_IN_ROW):
        health.begun(offer)
        health.failed(offer, "it broke", unreached=unreached)
    assert health.fault(offer) is not None


# --- what a probe says to a breaker ---------------------------------------------------------------
def test_a_provider_that_nobody_reached_and_that_answers_a_probe_may_be_tried(health):
    trip(health, "p/a")
    trip(health, "p/b")
    trip(health, "q/a")
    assert health.open_providers() == {"p", "q"}
    assert health.found_there("p") == ("p/a", "p/b")
    assert health.fault("p/a") is health.fault("p/b") is None
    assert health.fault("q/a") is not None
    assert health.open_providers() == {"q"}
    assert health.tripped == {"p/a", "p/b", "q/a"}  # half open: only an answer closes them


def test_a_provider_that_answers_probes_while_it_fails_calls_is_tried_at_its_own_time(
    health, clock
):
    trip(health, unreached=False)
    assert health.found_there("p") == ()
    assert health.fault("p/a") is not None
    clock.at += 1.3 * OPEN_SECONDS
    assert health.fault("p/a") is None


def test_one_that_fell_silent_to_probes_too_and_answers_again_may_be_tried(health):
    trip(health, unreached=False)
    health.found_away("p", keep_s=10)
    assert health.found_there("p") == ("p/a",)
    assert health.fault("p/a") is None


def test_while_probes_fail_no_caller_tries_until_the_bound(health, clock):
    trip(health)
    opened_at = clock.at
    while health.fault("p/a") is not None:
        health.found_away("p", keep_s=12.5)
        clock.at += 5
    assert OPEN_SECONDS_MAX <= clock.at - opened_at <= 1.2 * OPEN_SECONDS_MAX + 5
    health.begun("p/a")  # probes may err: a call tries all the same
    health.answered("p/a", first_token_s=None, whole_s=0.1, output_tokens=1)
    assert health.tripped == frozenset()
    health.found_away("p", keep_s=12.5)
    assert health.fault("p/a") is None  # what works is left alone


def test_a_provider_that_said_when_is_not_tried_before_whatever_probes_find(health, clock):
    health.failed("p/a", "too many", retry_after_s=30)
    health.found_away("p", keep_s=60)
    assert health.found_there("p") == ()
    clock.at += 29
    assert health.fault("p/a") is not None
    clock.at += 2
    assert health.fault("p/a") is None


def test_a_trial_that_fails_after_a_probe_waits_as_after_any_other(health, clock):
    trip(health)
    health.found_there("p")
    health.begun("p/a")
    health.failed("p/a", "it still breaks")
    assert health.found_there("p") == ()
    assert health.fault("p/a") is not None
    clock.at += 1.9 * OPEN_SECONDS
    assert health.fault("p/a") is not None  # twice as long as before


def test_a_trial_that_runs_is_the_only_one_whatever_probes_find(health, clock):
    trip(health)
    clock.at += 1.3 * OPEN_SECONDS
    health.begun("p/a")
    assert health.found_there("p") == ()
    assert health.fault("p/a") is not None


# --- asking ---------------------------------------------------------------------------------------
class Gated:
    """Providers that answer when they are let."""

    def __init__(self, *ids: str) -> None:
        self._ids = frozenset(ids)
        self.let = asyncio.Event()
        self.asked: list[str] = []
        self.running = self.most = 0

    def ids(self) -> frozenset[str]:
        return self._ids

    async def probe(self, provider_id: str) -> bool:
        self.asked.append(provider_id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.let.wait()
        finally:
            self.running -= 1
        if provider_id == "p0":
            raise RuntimeError("a fault of one probe")
        return True


async def test_few_are_asked_at_once_each_once_and_one_that_breaks_stops_no_other(health):
    names = [f"p{n}" for n in range(3 * PROBES_AT_ONCE_MAX)]
    for name in names:
        trip(health, f"{name}/a")
        trip(health, f"{name}/b")
    trip(health, "gone/a")  # of a provider that is not configured any more
    prober, told = Gated(*names), Told()
    look = asyncio.ensure_future(Probes(health, prober, told, seconds=60).look())
    while prober.running < PROBES_AT_ONCE_MAX:
        await asyncio.sleep(0)
    assert len(prober.asked) == PROBES_AT_ONCE_MAX
    prober.let.set()
    await look
    assert sorted(prober.asked) == sorted(names)
    assert prober.most == PROBES_AT_ONCE_MAX
    assert len(told.probes) == len(names) - 1
    assert health.open_providers() == {"p0", "gone"}


async def test_nobody_is_asked_while_all_breakers_are_closed(health):
    prober = Gated("p")
    await Probes(health, prober, Told(), seconds=60).look()
    assert prober.asked == []


async def test_it_stops_at_once_in_the_middle_of_its_probes(health):
    trip(health)
    prober = Gated("p")
    running = asyncio.ensure_future(Probes(health, prober, Told(), seconds=0.001).run())
    while not prober.running:
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert prober.running == 0


# --- what a probe is, on real sockets -------------------------------------------------------------
@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(key="right") as running:
        yield running


@pytest.fixture
def nobody() -> AsyncIterator[str]:
    """An address that refuses every connection, and that nobody else gets."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"


@pytest.fixture
def deaf() -> AsyncIterator[str]:
    """An address whose connections are accepted by the kernel, and that nobody ever answers at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def is_there(*urls: str, seconds: float | None = None, **fields: object) -> bool:
    fields = {"dialect": "openai", "key_env": "K"} | fields
    endpoints = tuple(
        EndpointSpec(name=f"e{n}", base_url=url, key_env=f"K{n}") for n, url in enumerate(urls)
    )
    spec = ProviderSpec(id="p", bills_after_cancel=False, endpoints=endpoints, **fields)
    keys = {one.name: EndpointSettings(api_key=SecretStr(f"k-{one.name}")) for one in endpoints}
    providers = Providers({"p": ProviderSettings(endpoints=keys)}, specs=(spec,))
    await providers.open()
    try:
        if seconds is None:
            return await providers.probe("p")
        return await probe.is_there(_endpoints(providers._upstreams["p"]), seconds)
    finally:
        await providers.close()


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "gemini", "cohere"])
async def test_a_provider_that_answers_anything_is_there(simulator, dialect):
    assert await is_there(simulator.base_url, dialect=dialect)  # with a wrong key, even
    assert simulator.log == ()  # no chat was asked


async def test_one_without_a_list_of_models_is_connected_to(simulator, nobody):
    bedrock = {"dialect": "bedrock", "auth": "aws"}
    assert await is_there(simulator.origin, **bedrock)
    assert not await is_there(nobody, **bedrock)
    assert not await is_there(simulator.origin.replace("http:", "https:"), **bedrock)  # no TLS


async def test_one_that_fails_by_its_own_account_is_not_there(start_failing):
    assert not await is_there(await start_failing(503))
    assert await is_there(await start_failing(404))


async def test_one_endpoint_that_answers_is_enough(simulator, nobody):
    assert await is_there(nobody, simulator.base_url)
    assert not await is_there(nobody, nobody.replace("/v1", "/v2"))


async def test_a_deaf_provider_is_given_up_in_time_and_leaves_time_for_others(simulator, deaf):
    assert not await is_there(deaf, seconds=0.1)
    assert await is_there(deaf, simulator.base_url, seconds=3.0)


@pytest.fixture
async def start_failing() -> AsyncIterator[object]:
    servers: list[asyncio.Server] = []

    async def start(status: int) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()
