"""What operators say of models and aliases, over gRPC, by models.yaml and by the command line."""

import datetime as dt
import os
import signal
from collections.abc import Iterator
from typing import Any

import grpc
import psycopg
import pytest
from commands import command
from gateway import Gateway, HttpConnection, Tenant, bearer, eventually, running
from gateway_fixtures import check_books
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2_grpc as pb_grpc
from omni_grpc_client import (
    EtagMismatch,
    FieldInvalid,
    InvalidArgument,
    ModelNotFound,
    NotFound,
    Omni,
    Rate,
)

from omni_grpc.storage import EmbeddedPostgres

FILE = """
models:
  sim/reasoner: {tags: [from-file], quality_weight_ppm: 1500000}
aliases:
  global: {filed: [sim/fast]}
"""


@pytest.fixture(scope="module")
def gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """One whose working folder has a models.yaml."""
    name, admin_key = template
    url = postgres.create_database("e2e_catalog", template=name)
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "models.yaml").write_text(FILE)
    with running(Gateway(url, simulator.base_url, folder, admin_key)) as started:
        yield started
    check_books(url, folder)


@pytest.fixture(scope="module")
def tenant(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[Omni]:
    with gateway.admin() as client:
        yield client


@pytest.fixture
def caller(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as client:
        yield client


def test_a_model_tells_everything_that_is_known_of_it(caller: Omni) -> None:
    model = caller.model("openai/gpt-4o")
    assert (model.canonical_model, model.enabled, model.tags) == ("gpt-4o", True, ())
    overall, *tasks = model.ratings
    assert (overall.task, overall.estimated) == ("", False)
    assert 0 < overall.value < 100
    assert overall.rate_time is not None
    assert {"coding", "reasoning"} <= {rating.task for rating in tasks}
    raw = model.raw
    assert (raw.quality_weight_ppm, raw.routing_weight, raw.source) == (1_000_000, 1, "seed")
    assert not raw.HasField("price_override")
    assert len(raw.etag) == 16


def test_a_model_tells_how_it_answers_here_once_it_was_called(
    gateway: Gateway, tenant: Tenant, caller: Omni
) -> None:
    unmeasured = caller.model("sim/burst")
    assert unmeasured.measured_speed is None
    with caller.stream_chat("sim/reasoner", "How far is the moon?") as stream:
        list(stream)
        usage = stream.completion.usage
    assert usage.reasoning_tokens
    found = caller.model("sim/reasoner")
    speed = found.measured_speed
    assert speed is not None
    assert (round(speed.call_count), speed.source) == (1, "traffic")
    assert speed.first_token_ms is not None
    assert speed.output_tokens_per_second is not None
    answer = usage.completion_tokens - usage.reasoning_tokens
    assert speed.reasoning_ratio == pytest.approx(usage.reasoning_tokens / answer)
    listed = {one.model: one.measured_speed for one in caller.models('provider = "sim"')}
    assert listed["sim/reasoner"] is not None
    assert listed["sim/burst"] is None
    # What says how much to reason tells nothing of calls that do not.
    caller.chat("sim/reasoner", "How far is the moon?", reasoning_effort="high")
    again = caller.model("sim/reasoner").measured_speed
    assert again is not None
    assert round(again.call_count) == 2
    assert again.reasoning_ratio == pytest.approx(speed.reasoning_ratio)
    with HttpConnection(gateway, tenant.api_key) as connection:
        told = connection.ask("/v1/models/sim/reasoner").json["measured_speed"]
        assert told["reasoning_ratio"] == pytest.approx(again.reasoning_ratio)
        data = connection.ask("/v1/models").json["data"]
    by_id = {one["id"]: one.get("measured_speed") for one in data}
    assert by_id["sim/reasoner"]["source"] == "traffic"
    assert by_id["sim/burst"] is None


def test_the_file_holds_from_the_start_and_goes_before_calls(admin: Omni, caller: Omni) -> None:
    model = caller.model("sim/reasoner")
    assert model.tags == ("from-file",)
    facts = [(one.field, one.source, one.pattern) for one in model.raw.operator_facts]
    assert facts == [
        ("quality_weight_ppm", "models.yaml", "sim/reasoner"),
        ("tags", "models.yaml", "sim/reasoner"),
    ]
    assert [one.model for one in caller.resolve_model("filed").models] == ["sim/fast"]
    with pytest.raises(FieldInvalid, match=r"models\.yaml sets tags"):
        admin.update_model("sim/reasoner", tags=["mine"])
    with pytest.raises(FieldInvalid, match=r"models\.yaml sets the alias"):
        admin.delete_alias("filed")


def test_words_are_said_seen_filtered_recorded_and_taken_back(admin: Omni, caller: Omni) -> None:
    name = "openai/gpt-4.1"
    before = caller.model(name)
    changed = admin.update_model(
        name,
        etag=before.etag,
        tags=["b", "a"],
        regions=["eu"],
        quality_weight_ppm=0,
        routing_weight=4,
        replacement="gpt-4o",
        deprecate_time=dt.datetime(2020, 2, 3, 4, 5, tzinfo=dt.UTC),
        deprecation_reason="tired",
        price_override=[Rate("prompt", 0, 1_000), Rate("completion", 0, 2_000)],
    )
    assert (changed.tags, changed.regions, changed.deprecated) == (("a", "b"), ("eu",), True)
    raw = changed.raw
    assert (raw.quality_weight_ppm, raw.routing_weight) == (0, 4)
    assert raw.deprecate_time.ToDatetime(dt.UTC) == dt.datetime(2020, 2, 3, tzinfo=dt.UTC)
    assert changed.pricing is not None
    assert before.pricing is not None
    assert changed.pricing.version > before.pricing.version
    assert {rate.nanousd_per_mtok for rate in changed.pricing.rates} == {1_000, 2_000}
    assert [model.model for model in caller.models('tag:"a" AND region:"eu"')] == [name]
    assert [model.model for model in caller.models("routing_weight > 1")] == [name]
    with pytest.raises(EtagMismatch, match="changed since"):
        admin.update_model(name, etag=before.etag, tags=["late"])
    where = f'subject = "{name}" AND field = "price"'
    (change,) = admin.model_changes(where, page_size=1)
    assert (change.new_value, change.source) == ("completion=0.000002 prompt=0.000001", "operator")
    assert change.actor.startswith("orgs/operator/apiKeys/")
    resolved = caller.resolve_model(name)
    assert "gpt-4o answers instead" not in resolved.warning  # nothing can be called without a key
    cleared = admin.update_model(
        name,
        tags=None,
        regions=None,
        quality_weight_ppm=None,
        routing_weight=None,
        replacement=None,
        deprecate_time=None,
        deprecation_reason=None,
        price_override=None,
    )
    assert not cleared.raw.operator_facts
    assert cleared.pricing == before.pricing
    discounted = admin.update_model(name, price_override=500_000)
    assert discounted.raw.price_override.discount_ppm == 500_000
    admin.update_model(name, price_override=None)


@pytest.mark.parametrize(
    ("model", "paths", "field"),
    [
        (pb.Model(tags=["x"]), [], "update_mask"),
        (pb.Model(), ["display_name"], "update_mask"),
        (pb.Model(), ["*"], "update_mask"),
        (pb.Model(routing_weight=-1), ["routing_weight"], "routing_weight"),
        (pb.Model(tags=["a b"]), ["tags"], "tags"),
        (pb.Model(replacement="nothing"), ["replacement"], "replacement"),
        (pb.Model(price_override={}), ["price_override"], "price"),
        (
            pb.Model(price_override={"rates": [{"unit": "seat", "nanousd_per_mtok": 1}]}),
            ["price_override"],
            "model.price_override.rates",
        ),
        (
            pb.Model(price_override={"rates": [{"unit": "prompt", "nanousd_per_mtok": 2**62}]}),
            ["price_override"],
            "price",
        ),
        (
            pb.Model(deprecate_time={"seconds": 2**40}),
            ["deprecate_time"],
            "model.deprecate_time",
        ),
    ],
)
def test_an_update_that_cannot_be_is_refused_by_its_field(
    gateway: Gateway, model: pb.Model, paths: list[str], field: str
) -> None:
    model.name = "providers/openai/models/gpt-4o-mini"
    request = pb.UpdateModelRequest(model=model, update_mask={"paths": paths})
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.CatalogServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.UpdateModel(request, metadata=bearer(gateway.admin_key))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with gateway.admin() as client:
        assert not client.model("openai/gpt-4o-mini").raw.operator_facts
        with pytest.raises(InvalidArgument) as refused:
            _update(client, request)
    assert refused.value.field == field


def _update(client: Omni, request: pb.UpdateModelRequest) -> None:
    """The request as it is, through the client's own reading of errors."""
    from omni_grpc_client.calls import Call, Kind

    call = Call(request=request, parse=lambda response: response, kind=Kind.WRITE)
    client._wire.run(client._wire.stubs.catalog.UpdateModel, call, None)


def test_aliases_of_an_org_are_its_own_and_a_chat_goes_by_them(
    admin: Omni, caller: Omni, gateway: Gateway, tenant: Tenant
) -> None:
    scope = f"orgs/{tenant.org}"
    admin.set_alias("house", ["sim/fast"], scope=scope)
    admin.set_alias("house", ["sim/slow", "sim/fast"])
    assert caller.chat("house", "Say hello").model == "sim/fast"
    found = caller.resolve_model("house")
    assert ([one.model for one in found.models], found.warning) == (["sim/fast"], "")
    assert found.alias is not None
    assert found.alias.scope == scope
    listed = [(one.name, one.targets) for one in caller.aliases(scope)]
    assert listed == [("house", ("sim/fast",))]
    assert "house" in {one.name for one in caller.aliases(page_size=1)}
    with HttpConnection(gateway, tenant.api_key) as connection:
        assert connection.ask("/v1/models/house").json["id"] == "sim/fast"
    other = gateway.tenant(0)
    with Omni(gateway.grpc, api_key=other.api_key) as stranger:
        for ask in (
            lambda: list(stranger.aliases(scope)),
            lambda: stranger.resolve_model("a", scope=scope),
        ):
            with pytest.raises(NotFound):
                ask()
    with pytest.raises(FieldInvalid, match="would mean itself"):
        admin.set_alias("house", ["house"], scope=scope)
    with pytest.raises(FieldInvalid, match="name of an offer"):
        admin.set_alias("sim/fast", ["sim/slow"])
    admin.delete_alias("house", scope=scope)
    admin.delete_alias("house")
    with pytest.raises(ModelNotFound):
        caller.resolve_model("house")
    with pytest.raises(NotFound):
        admin.delete_alias("house")
    with pytest.raises(FieldInvalid, match="NUL"):
        admin.delete_alias("ho\0use")


def test_a_deprecated_model_answers_by_its_replacement_until_it_is_switched_off(
    admin: Omni, caller: Omni
) -> None:
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    admin.update_model("sim/slow", deprecate_time=long_ago, replacement="sim/fast")
    with pytest.raises(FieldInvalid, match="lead back to itself"):
        admin.update_model("sim/fast", replacement="sim/slow")
    found = caller.resolve_model("sim/slow")
    assert [one.model for one in found.models] == ["sim/fast", "sim/slow"]
    assert "sim/slow is deprecated since 2020-01-01; sim/fast answers" in found.warning
    assert caller.chat("sim/slow", "Say hello").model == "sim/fast"
    admin.update_model("sim/slow", enabled=False)
    with pytest.raises(ModelNotFound):
        caller.chat("sim/slow", "Say hello")
    admin.update_model("sim/slow", enabled=None, deprecate_time=None, replacement=None)


def test_a_changed_file_holds_soon_and_a_broken_one_changes_nothing(
    gateway: Gateway, caller: Omni
) -> None:
    path = gateway.folder / "models.yaml"
    assert gateway.process is not None
    try:
        path.write_text(FILE.replace("from-file", "from-file-2"))
        os.kill(gateway.process.pid, signal.SIGHUP)
        eventually(lambda: caller.model("sim/reasoner").tags == ("from-file-2",))
        path.write_text("models: {sim/reasoner: {tag: [x]}}")
        os.kill(gateway.process.pid, signal.SIGHUP)
        eventually(lambda: "models_file_refused" in gateway.log())
        assert caller.model("sim/reasoner").tags == ("from-file-2",)
    finally:
        path.write_text(FILE)
        os.kill(gateway.process.pid, signal.SIGHUP)
    eventually(lambda: caller.model("sim/reasoner").tags == ("from-file",))


def test_a_name_of_the_router_s_is_no_model_of_the_catalog(gateway: Gateway, caller: Omni) -> None:
    failed = command(gateway, "catalog", "show", "omni/auto")
    assert failed.code == 1
    assert failed.err.startswith("Error: 'omni/auto' is no model of the catalog")
    assert "POST /v1/router/debug" in failed.err
    assert failed.err.rstrip().endswith("(NOT_FOUND)")
    with pytest.raises(NotFound, match="the router's, which chooses"):
        caller.model("omni/auto")


def test_a_command_s_word_reaches_the_running_gateway(gateway: Gateway, caller: Omni) -> None:
    run = command(gateway, "catalog", "update", "openai/gpt-4", "--tag", "told", "--json")
    assert run.json["tags"] == ["told"]
    eventually(lambda: caller.model("openai/gpt-4").tags == ("told",))
    shown = command(gateway, "catalog", "show", "openai/gpt-4", "--json").json
    assert shown[0]["sources"]["tags"] == "operator (openai/gpt-4)"
    (change,) = command(
        gateway, "catalog", "changes", "--subject", "openai/gpt-4", "--limit", "1", "--json"
    ).json
    assert (change["field"], change["new"]) == ("tags", "told")


def test_commands_show_what_all_workers_measured(gateway: Gateway) -> None:
    with psycopg.connect(gateway.database_url) as connection:
        connection.execute(
            "INSERT INTO offer_speed (offer, first_ms, first_weight, token_ms, token_weight)"
            " VALUES ('openai/gpt-4', 1236, 3, 40, 4)"
        )
    listing = ("catalog", "list", "--filter", 'model = "openai/gpt-4"')
    (found,) = command(gateway, *listing, "--json").json
    speed = found["measured_speed"]
    assert speed["first_token_ms"] == pytest.approx(412)
    assert speed["output_tokens_per_second"] == pytest.approx(100)
    assert (speed["reasoning_ratio"], speed["source"]) == (None, "traffic")
    assert speed["call_count"] == pytest.approx(4, rel=0.05)
    assert "412 ms, 100 tokens/s" in command(gateway, *listing).out
    assert "412 ms, 100 tokens/s" in command(gateway, "catalog", "show", "openai/gpt-4").out
    unmeasured = ("catalog", "list", "--filter", 'model = "openai/gpt-4o"')
    assert "tokens/s" not in command(gateway, *unmeasured).out
