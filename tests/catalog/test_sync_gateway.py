"""Syncs through a real gateway and from the command line, with sources in files."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from gateway import KEY_HASH_SECRET, Gateway, bearer, refusal, running
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2_grpc as pb_grpc
from omni.router.v1 import router_service_pb2 as router
from omni.router.v1 import router_service_pb2_grpc as router_grpc
from typer.testing import CliRunner, Result

from omni_grpc.cli.app import app
from omni_grpc.storage import EmbeddedPostgres, migrate

SAMPLES = Path(__file__).parent / "samples"
OWN = """
models:
  - {{provider: sim, id: house, usd_per_million: {{prompt: {prompt}, completion: 2}}}}
"""


@pytest.fixture
def url(catalog_server: EmbeddedPostgres) -> Iterator[str]:
    """A migrated database of the test's own."""
    found = catalog_server.create_database("sync_gateway")
    migrate(found)
    yield found
    catalog_server.drop_database("sync_gateway")


def command(url: str, *words: str, code: int = 0, **settings: str) -> Result:
    environment = {"DATABASE_URL": url, "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET, "COLUMNS": "200"}
    result = CliRunner().invoke(app, words, env=environment | settings, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def gateway(url: str, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose schedule reads one list, and whose callers may have another read as well."""
    (tmp_path / "own.yaml").write_text(OWN.format(prompt=1))
    key = json.loads(command(url, "keys", "bootstrap", "--json").stdout)["secret"]
    sources = f"prices={tmp_path / 'own.yaml'},models.dev={SAMPLES / 'models_dev.json'}"
    environment = {"OMNI_CATALOG_SOURCES": sources, "OMNI_CATALOG_SYNC_HOURS": "24"}
    with running(
        Gateway(url, "http://127.0.0.1:9", tmp_path, key, workers=2, environment=environment)
    ) as started:
        yield started


def needed_nanousd(channel: grpc.Channel, api_key: str) -> int:
    """What a short call would have to be held for; an estimate says the same."""
    stub = router_grpc.RouterServiceStub(channel)
    prompt = router.ChatPrompt(
        model="sim/house",
        messages=[router.Message(role=router.ROLE_USER, parts=[router.Part(text="Hi")])],
        max_output_token_count=1,
    )
    refused = refusal(
        lambda: stub.CompleteChat(
            router.CompleteChatRequest(prompt=prompt), metadata=bearer(api_key), timeout=60
        )
    )
    assert refused.reason == "CREDITS_EXHAUSTED"
    needed = int(refused.metadata["needed_nanousd"])
    asked = router.EstimateChatRequest(prompt=prompt)
    estimate = stub.EstimateChat(asked, metadata=bearer(api_key), timeout=60).estimate
    assert estimate.cost_max_nanousd == needed
    return needed


def test_a_gateway_syncs_by_itself_and_by_call(gateway: Gateway, url: str, tmp_path: Path):
    key = (("x-api-key", gateway.admin_key),)
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.CatalogServiceStub(channel)
        house = pb.GetModelRequest(name="providers/sim/models/house")
        until = time.monotonic() + 60
        while True:  # by the schedule, in one worker, and then in both
            try:
                price = stub.GetModel(house, metadata=key).model.pricing
                break
            except grpc.RpcError:
                assert time.monotonic() < until, gateway.log()
                time.sleep(0.05)
        assert {rate.unit: rate.nanousd_per_mtok for rate in price.rates}["prompt"] == 10**9

        (tmp_path / "own.yaml").write_text(OWN.format(prompt=9))
        request = pb.SyncCatalogRequest(sources=["prices"], dry_run=True)
        events = list(stub.SyncCatalog(request, metadata=key))
        assert [event.WhichOneof("event") for event in events[:-1]] == ["progress"] * 3
        report = events[-1].report
        assert (report.waiting_price_count, report.change_count, report.dry_run) == (1, 0, True)
        waits = report.waiting_prices[0]
        assert (waits.model, waits.new_value, waits.change_ppm) == (
            "sim/house",
            "completion=2 prompt=9",
            8_000_000,
        )

        *_, last = stub.SyncCatalog(pb.SyncCatalogRequest(accept=True), metadata=key)
        assert [one.stage for one in last.report.sources] == [pb.SYNC_STAGE_READ] * 2
        assert (last.report.repriced_count, last.report.added_count) == (1, 0)
        assert last.report.changes[0].new_value == "completion=2 prompt=9"

        # While a price waits, calls are held for at the dearer of the two.
        penniless = gateway.tenant(0)
        before = needed_nanousd(channel, penniless.api_key)
        (tmp_path / "own.yaml").write_text(OWN.format(prompt=18))
        *_, last = stub.SyncCatalog(pb.SyncCatalogRequest(), metadata=key)
        assert (last.report.waiting_price_count, last.report.repriced_count) == (1, 0)
        one_token_out = 2_000
        after = needed_nanousd(channel, penniless.api_key)
        assert after - one_token_out == 2 * (before - one_token_out) > 0

        with pytest.raises(grpc.RpcError) as caught:
            list(stub.SyncCatalog(pb.SyncCatalogRequest(sources=["/etc/passwd"]), metadata=key))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "prices, models.dev" in caught.value.details()
    assert gateway.log().count('"event": "catalog_synced"') >= 3


def test_a_listing_of_nothing_says_why(url: str):
    empty = " ".join(command(url, "catalog", "list").output.split())  # it is wrapped
    assert "No offer is callable with the providers set in this environment" in empty
    assert "--filter '' shows all" in empty
    assert "No offer fits to --filter 'tools = true'" in (
        command(url, "catalog", "list", "--filter", "tools = true").output
    )


def test_the_commands_show_sync_and_accept(url: str, tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(OWN.format(prompt=1))
    sources = ("--source", f"prices={own}", "--source", f"litellm={SAMPLES / 'litellm.json'}")
    dry = command(url, "catalog", "sync", *sources, "--dry-run")
    assert "Nothing was written" in dry.output
    facts = json.loads(command(url, "catalog", "sync", *sources, "--json").stdout)
    assert (facts["added"], facts["version"]) == (6, 1)

    own.write_text(OWN.format(prompt=9))
    waits = command(url, "catalog", "sync", *sources, code=3)
    assert "800 %" in waits.output
    assert "--accept" in waits.output
    assert "1 findings need you" in command(url, "catalog", "validate", code=1).output
    assert "sim/house" in command(url, "catalog", "diff").output
    command(url, "catalog", "sync", *sources, "--accept")
    assert "Nothing needs you" in command(url, "catalog", "validate").output
    models = tmp_path / "models.yaml"
    models.write_text('models: {sim/house: {tags: [ours]}, "nobody/*": {enabled: false}}')
    nameless = command(url, "catalog", "validate", OMNI_MODELS_FILE=str(models)).output
    assert "The entry 'nobody/*' of models.yaml names no offer." in nameless
    assert "sim/house" not in nameless
    told = json.loads(command(url, "catalog", "diff", "openai/gpt-4o", "--json").stdout)
    assert [(one["source"], one["price_counts"]) for one in told] == [("litellm", True)]

    own.write_text("models: [")
    broken = command(url, "catalog", "sync", *sources, code=1)
    assert "not YAML" in broken.output
    assert (
        "must be https"
        in command(url, "catalog", "sync", "--source", "prices=http://example.com/x", code=1).output
    )
