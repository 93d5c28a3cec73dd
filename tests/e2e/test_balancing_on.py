"""Several endpoints of a provider, one that comes back, and shared speeds, on whole gateways."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gateway import (
    Gateway,
    HttpAnswer,
    HttpConnection,
    SimulatorThread,
    Tenant,
    asking,
    chat_body,
    eventually,
    running,
)
from gateway_fixtures import check_books, migrated
from omni_grpc_client import Omni

from omni_grpc.routing.breakers import FAILURES_IN_ROW
from omni_grpc.simulator import Simulator
from omni_grpc.storage import EmbeddedPostgres

ENDPOINTS = {
    "spread": {"big": 3, "small": 1, "stale": 1},
    "losing": {"first": 1, "second": 1},
    "dead": {"here": 1, "there": 1},
}
"""The endpoints' weights, by provider: a test each. `stale` has a key that is refused."""

MODELS = ("one", "two")


def secret(endpoint: str) -> str:
    return f"sk-{endpoint}-0123456789"


@dataclass(frozen=True)
class Rig:
    gateway: Gateway
    endpoints: dict[str, SimulatorThread]
    reserved: socket.socket
    """Bound and not listening: whoever connects to `away` is refused, and nobody gets the port."""


def providers_file(urls: dict[str, str], away_url: str, spare_url: str) -> str:
    common = {"dialect": "openai", "bills_after_cancel": False, "retries": {"count_max": 0}}

    def models(prompt: str) -> list[dict[str, object]]:
        price = {"prompt": prompt, "completion": "9"}
        more = {"context_tokens_max": 32_000, "usd_per_million": price}
        return [{"id": name, "model": f"m-{name}", **more} for name in MODELS]

    entries = [
        {"id": provider, "key_env": "NO_KEY", "models": models("2"), **common}
        | {
            "endpoints": [
                {"name": name, "weight": weight, "key_env": f"{name.upper()}_KEY"}
                | {"base_url": urls.get(name, f"{away_url}/{name}")}
                for name, weight in weights.items()
            ]
        }
        for provider, weights in ENDPOINTS.items()
    ]
    entries += [
        {"id": "away", "auth": "none", "base_url": away_url, "models": models("1"), **common},
        {"id": "spare", "auth": "none", "base_url": spare_url, "models": models("3"), **common},
    ]
    return json.dumps(entries)  # which is YAML too


@pytest.fixture(scope="module")
def rig(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    names = [name for weights in ENDPOINTS.values() for name in weights]
    threads = {name: SimulatorThread() for name in names if name not in ENDPOINTS["dead"]}
    for name, thread in threads.items():
        thread.simulator = Simulator(key="another-key" if name == "stale" else secret(name))
        thread.start()
    name, admin_key = template
    url = postgres.create_database("e2e_balancing", template=name)
    folder = tmp_path_factory.mktemp("balancing")
    environment = {f"{name.upper()}_KEY": secret(name) for name in names}
    environment |= {"OMNI_PROBE_SECONDS": "0.1", "OMNI_LOG_LEVEL": "debug"}
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        away_url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        urls = {name: thread.base_url for name, thread in threads.items()}
        (folder / "providers.yaml").write_text(providers_file(urls, away_url, simulator.base_url))
        made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
        migrated(made)
        with running(made):
            yield Rig(made, threads, reserved)
    for name, thread in threads.items():
        if name != "first":  # which its test has stopped
            thread.stop()
    check_books(url, folder)


def chat(rig: Rig, tenant: Tenant, model: str) -> HttpAnswer:
    with HttpConnection(rig.gateway, tenant.api_key) as http:
        found: HttpAnswer = http.chat(model)
    return found


def metric(rig: Rig, name: str, **labels: str) -> float:
    """The sum of a metric over all that have these labels."""
    with HttpConnection(rig.gateway, None) as http:
        lines = http.ask("/metrics").body.decode().splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(name) and all(one in line for one in wanted)
    ]
    return sum(found)


def test_calls_are_spread_by_weight_around_an_endpoint_whose_key_is_refused(rig: Rig) -> None:
    tenant = rig.gateway.tenant()
    for _ in range(16):
        found = chat(rig, tenant, "spread/one")
        assert found.status == 200, found.body
        with Omni(rig.gateway.grpc, api_key=tenant.api_key) as omni:
            (attempt,) = omni.usage(found.headers["x-request-id"]).attempts  # one hold
        assert (attempt.model, attempt.outcome) == ("spread/one", "answered")
    right = {name: len(rig.endpoints[name].simulator.log) for name in ENDPOINTS["spread"]}
    assert right["stale"] == 1  # set aside by its first refusal
    assert right["big"] + right["small"] == 16
    assert 11 <= right["big"] <= 13  # three of four, but for the turn that one of them took over

    def counted(outcome: str) -> dict[str, float]:
        name = "omni_endpoint_requests_total"
        return {one: metric(rig, name, endpoint=one, outcome=outcome) for one in right}

    assert counted("answered") == right | {"stale": 0}
    assert counted("failed") == {"big": 0, "small": 0, "stale": 1}
    assert_no_secret(rig)


def test_an_endpoint_that_goes_away_costs_no_call_and_is_told_of(rig: Rig) -> None:
    tenant = rig.gateway.tenant()
    assert {chat(rig, tenant, "losing/one").status for _ in range(2)} == {200}
    rig.endpoints["first"].stop()
    assert {chat(rig, tenant, "losing/one").status for _ in range(6)} == {200}
    told = [json.loads(line) for line in rig.gateway.log().splitlines() if '"losing"' in line]
    events = {(line["event"], line["endpoint"]) for line in told if "endpoint" in line}
    assert events == {
        ("endpoint_answered", "first"),
        ("endpoint_answered", "second"),
        ("endpoint_set_aside", "first"),
    }
    assert_no_secret(rig)


def test_where_every_endpoint_fails_the_error_tells_why_and_where_nobody(rig: Rig) -> None:
    tenant = rig.gateway.tenant()
    for _ in range(3):  # also while all are set aside
        found = chat(rig, tenant, "dead/one")
        assert found.status == 503
        message = found.error["message"]
        assert "dead: no connection" in message
        assert not any(text in message for text in ("127.0.0.1", "here", "sk-"))
    with Omni(rig.gateway.grpc, api_key=tenant.api_key) as omni:
        assert omni.balance().posted_nanousd == 10**9
    assert_no_secret(rig)


def assert_no_secret(rig: Rig) -> None:
    with HttpConnection(rig.gateway, None) as http:
        shown = http.ask("/metrics").body.decode() + rig.gateway.log()
    for name in (name for weights in ENDPOINTS.values() for name in weights):
        assert secret(name).removeprefix("sk-") not in shown


def test_probes_keep_callers_from_a_provider_that_is_away_and_find_it_when_it_is_back(
    rig: Rig,
) -> None:
    tenant = rig.gateway.tenant()

    def asked() -> str:
        with HttpConnection(rig.gateway, tenant.api_key) as http:
            found = http.chat("two", omni={"allowed_providers": ["away", "spare"]})
        assert found.status == 200, found.body
        return str(found.headers["x-omni-model"])

    def probed(outcome: str) -> float:
        name = "omni_provider_probes_total"
        return metric(rig, name, provider="away", outcome=outcome)

    for _ in range(FAILURES_IN_ROW):
        assert asked() == "spare/two"
    assert eventually(lambda: probed("failed") >= 3)
    assert metric(rig, "omni_breaker_open", model="away/two") == 1
    port = rig.reserved.getsockname()[1]
    rig.reserved.close()
    back = SimulatorThread()
    back.start(port)
    try:
        assert eventually(lambda: probed("answered"))
        assert eventually(lambda: asked() == "away/two")
        assert metric(rig, "omni_breaker_open", model="away/two") == 0
    finally:
        back.stop()


def test_a_gateway_that_has_just_started_knows_what_another_measured(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    def latency(gateway: Gateway, tenant: Tenant) -> int | None:
        body = chat_body("omni/cheap", omni={"allowed_models": ["sim/demo"]})
        with HttpConnection(gateway, tenant.api_key) as http:
            offers = http.ask("/v1/router/debug", body).json["offers"]
        (found,) = [one.get("latency_ms") for one in offers if one["model"] == "sim/demo"]
        return None if found is None else int(found)

    with running(own_gateway):
        tenant = own_gateway.tenant()
        assert latency(own_gateway, tenant) is None
        with HttpConnection(own_gateway, tenant.api_key) as http:
            assert http.chat("sim/demo", asking("tokens=10"), stream=True).status == 200
        measured = latency(own_gateway, tenant)
        assert measured
    second = Gateway(
        own_gateway.database_url, simulator.base_url, own_gateway.folder, own_gateway.admin_key
    )
    with running(second):
        assert latency(second, tenant) == pytest.approx(measured, rel=0.1)
