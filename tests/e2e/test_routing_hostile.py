"""Bad sources, bad words and hostile questions on a whole gateway: what was known and charged
before is known and charged after, and nobody pays for a question."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from books import CREDITS
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, bearer, chat_body, running
from gateway_fixtures import check_books
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2_grpc as pb_grpc
from omni_grpc_client import DeterministicRule, FieldInvalid, Omni

from omni_grpc.storage import EmbeddedPostgres

OFFERS: Final = 8
LAST: Final = f"m{OFFERS - 1}"
LONG_CHARS: Final = 8_000_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source") / "source.yaml"


@pytest.fixture(scope="module")
def served(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose catalog has a source of the tests' own."""
    name, admin_key = template
    url = postgres.create_database("e2e_routing_hostile", template=name)
    folder = tmp_path_factory.mktemp("routing_hostile")
    environment = {"OMNI_CATALOG_SOURCES": f"house={source}"}
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made) as started:
        yield started
    check_books(url, folder)


# --- sources of the catalog -----------------------------------------------------------------------
def listed(*own: dict[str, Any]) -> str:
    """A source's document: some offers, of which the last ones are `own`."""
    found = [priced(f"m{n}", prompt="1", completion="2") for n in range(OFFERS - len(own))]
    return json.dumps({"models": [*found, *own]})


def priced(name: str, **usd_per_million: object) -> dict[str, Any]:
    return {"provider": "sim", "id": name, "usd_per_million": usd_per_million}


SOURCES: Final = {
    "down": (None, "cannot be read", 200),
    "half": (listed()[:-90], "not YAML", 200),
    "twice": (listed(priced("m0", prompt="1", completion="2")), "lists sim/m0 twice", 200),
    "dear": (listed(priced(LAST, prompt="1000", completion="2")), "", 200),
    "nothing": (listed(priced(LAST, prompt="0", completion="0")), "", 200),
    "unknown unit": (listed(priced(LAST, prompt="1", completion="2", seat="5")), "", 200),
    "negative": (listed(priced(LAST, prompt="-1", completion="2")), "", 404),
    "absurd": (listed(priced(LAST, prompt="1e30", completion="2")), "", 404),
    "no number": (listed(priced(LAST, prompt="NaN", completion="2")), "", 404),
}
"""A document, or None; how its source failed, if it did; how a call of the last offer then ends."""


def test_no_bad_source_changes_what_calls_cost(served: Gateway, source: Path) -> None:
    """A single price that cannot be makes its model unpriced, and so refused: never free."""
    tenant = served.tenant(CREDITS)
    with HttpConnection(served, tenant.api_key) as http:
        source.write_text(listed())
        assert synced(served) == ""
        before = http.chat("sim/m0", max_tokens=5)
        assert before.status == 200, before.body
        for name, (document, failure, status) in SOURCES.items():
            if document is None:
                source.unlink()
            else:
                source.write_text(document)
            assert failure in synced(served), name
            for model, wanted in (("sim/m0", 200), (f"sim/{LAST}", status)):
                found = http.chat(model, max_tokens=5)
                assert found.status == wanted, (name, found.body)
                if wanted == 200:
                    # Each model counts the same prompt, and answers with as many tokens.
                    assert found.json["usage"] == before.json["usage"], name
                else:
                    assert "never free" in found.error["message"]


def synced(served: Gateway) -> str:
    """How the source failed in a sync; empty where it did not."""
    with grpc.insecure_channel(served.grpc) as channel:
        stub = pb_grpc.CatalogServiceStub(channel)
        *_, last = stub.SyncCatalog(pb.SyncCatalogRequest(), metadata=bearer(served.admin_key))
    (outcome,) = last.report.sources
    return str(outcome.failure)


# --- aliases and policies -------------------------------------------------------------------------
def test_a_loop_of_aliases_is_refused_whole_and_the_name_means_what_it_meant(
    served: Gateway,
) -> None:
    tenant = served.tenant(CREDITS)
    scope = f"orgs/{tenant.org}"
    with served.admin() as admin:
        admin.set_alias("smart", ["sim/fast"], scope=scope)
        admin.set_alias("wise", ["smart"], scope=scope)
        with pytest.raises(FieldInvalid, match="would mean itself"):
            admin.set_alias("smart", ["wise"], scope=scope)
    with HttpConnection(served, tenant.api_key) as http:
        assert http.chat("wise").headers["x-omni-model"] == "sim/fast"


def test_a_policy_that_lets_nothing_through_refuses_its_calls_and_no_others(
    served: Gateway,
) -> None:
    tenant = served.tenant(CREDITS)
    with served.admin() as admin, HttpConnection(served, tenant.api_key) as http:
        rule = DeterministicRule(models=("nobody/sells-this",))
        policy = admin.create_routing_policy("lost", rule, scope=f"orgs/{tenant.org}")
        for path in ("/v1/chat/completions", "/v1/estimate"):
            found = http.ask(path, chat_body("omni/auto"))
            assert (found.status, found.error["code"]) == (400, "no_capable_model"), path
            assert "policy" in found.error["message"]
        told = http.ask("/v1/router/debug", chat_body("omni/auto")).json
        assert (told["attempts"], told["policy"]) == ([], policy.name)
        assert policy.name in told["reason"]
        assert http.chat("sim/fast").status == 200
        with HttpConnection(served, served.tenant(CREDITS).api_key) as other:
            assert other.chat("omni/auto").status == 200
        admin.delete_routing_policy(policy.name)
        assert http.chat("omni/auto").status == 200


# --- estimates ------------------------------------------------------------------------------------
def test_an_estimate_follows_its_own_organisations_policy(served: Gateway) -> None:
    """Also where the same question was answered for another a moment ago."""
    one, other = served.tenant(CREDITS), served.tenant(CREDITS)
    assert estimated(served, other, "omni/cheap")["model"] != "sim/reasoner"
    with served.admin() as admin:
        rule = DeterministicRule(models=("sim/reasoner",))
        admin.create_routing_policy("thinker", rule, scope=f"orgs/{one.org}")
    assert estimated(served, one, "omni/cheap")["model"] == "sim/reasoner"
    assert estimated(served, other, "omni/cheap")["model"] != "sim/reasoner"


def test_an_estimate_is_the_same_over_both_transports_and_to_whoever_has_nothing(
    served: Gateway,
) -> None:
    rich, poor = served.tenant(CREDITS), served.tenant(0)
    told = estimated(served, rich, "sim/vision", n=2, max_tokens=100)
    with Omni(served.grpc, api_key=rich.api_key) as omni:
        same = omni.estimate_chat("sim/vision", "Say something.", n=2, max_output_tokens=100)
    assert told["cost_nanousd"] == same.cost_nanousd
    assert told["cost_max_nanousd"] == same.cost_max_nanousd
    assert told["credits_suffice"] is True
    nothing = estimated(served, poor, "sim/vision", n=2, max_tokens=100)
    assert (nothing["available_nanousd"], nothing["credits_suffice"]) == (0, False)
    assert nothing["cost_nanousd"] == told["cost_nanousd"]


def estimated(served: Gateway, tenant: Tenant, model: str, **fields: object) -> dict[str, Any]:
    with HttpConnection(served, tenant.api_key) as http:
        found = http.ask("/v1/estimate", chat_body(model, **fields))
    assert found.status == 200, found.body
    answer: dict[str, Any] = found.json
    return answer


HOSTILE: Final = {
    "unknown": ({"model": "gpt-12"}, 404, "model"),
    "unknown name of the router": ({"model": "omni/dearest"}, 404, "model"),
    "unpriced": ({"model": "sim/embed"}, 400, "model"),
    "too long": ({"text": "word " * (LONG_CHARS // 5)}, 400, "messages"),
    "no message": ({"messages": []}, 400, "messages"),
    "limit": ({"max_tokens": 10**9}, 400, "max_completion_tokens"),
    "no cost": ({"omni": {"max_cost_usd": 0}}, 400, "omni.max_cost_usd"),
    "small cost": ({"omni": {"max_cost_usd": 1e-9}}, 400, "omni.max_cost_usd"),
    "tags": ({"omni": {"tags": {f"t{n}": "x" for n in range(17)}}}, 400, "omni.tags"),
    "long tag": ({"omni": {"tags": {"t": "x" * 100_000}}}, 400, "omni.tags"),
    "typed wish": ({"omni": {"priority": "dearest"}}, 400, "omni.priority"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_question_is_refused_by_its_field_and_costs_nothing(
    served: Gateway, name: str
) -> None:
    given, status, field = HOSTILE[name]
    given = {"model": "sim/fast", **given}
    tenant = served.tenant(CREDITS)
    with HttpConnection(served, tenant.api_key) as http:
        for path in ("/v1/estimate", "/v1/router/debug"):
            found = http.ask(path, chat_body(**given))  # type: ignore[arg-type]
            if name == "small cost" and path == "/v1/router/debug":  # it tells why nothing is left
                assert (found.status, found.json["attempts"]) == (200, [])
                continue
            assert found.status == status, (path, found.body[:500])
            assert found.error["param"] == field
    with Omni(served.grpc, api_key=tenant.api_key) as omni:
        balance = omni.balance()
        assert (balance.posted_nanousd, balance.held_nanousd) == (CREDITS, 0)


def test_who_has_no_key_is_told_nothing(served: Gateway) -> None:
    for key in (None, "omni_0000000000_wrong"):
        with HttpConnection(served, key) as http:
            for path in ("/v1/estimate", "/v1/router/debug"):
                assert http.ask(path, chat_body("omni/auto")).status == 401
