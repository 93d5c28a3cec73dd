"""`omni-grpc routing`, on a database of its own: set, list, delete, report; refused whole."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from quick_clusters import MIGRATED, quick_server
from typer.testing import CliRunner, Result

from omni_grpc.cli.app import app

DATABASE = "routing_cli_tests"

POLICIES = """
policies:
  - name: cheap
    when: {tasks: [coding]}
    rule: {kind: cost, min_quality: 0.7}
  - name: eu
    scope: global
    order: 5
    rule: {kind: region, regions: [eu], policy: cheap}
  - name: chain
    active: false
    rule: {kind: deterministic, models: [not-there/yet]}
"""
EXPERIMENTS = """
experiments:
  - name: newer
    arms: [{name: b, share_ppm: 500000, policy: chain}]
"""


@pytest.fixture(scope="module")
def routing_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("routing-cli")
    with quick_server(folder) as server:
        yield server.create_database(DATABASE, template=MIGRATED)


class Commands:
    """Runs commands in this process, in a folder of the test's own."""

    def __init__(self, url: str) -> None:
        self._environment = {
            "DATABASE_URL": url,
            "OMNI_KEY_HASH_SECRET": "0123456789abcdef0123456789abcdef0123456789abcdef",
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, text: str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(
            app, ["routing", *words], input=text, env=self._environment, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    def json(self, *words: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self(*words, "--json").stdout)
        return found


@pytest.fixture
def routing(routing_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(routing_url) as connection:
        connection.execute("DELETE FROM routing_rule")
    return Commands(routing_url)


def test_policies_are_set_listed_and_deleted(routing: Commands) -> None:
    assert "There are no policies." in routing("policies", "list").stdout
    told = routing("policies", "set", "-", text=POLICIES).stdout
    assert "Set global/routingPolicies/cheap" in told
    assert "the catalog knows no model 'not-there/yet'" in told.replace("\n", " ")
    listed = routing("policies", "list").stdout
    for words in ("cost min_quality=0.7", "tasks=coding", "always", "only where it is named"):
        assert words in listed
    facts = routing.json("policies", "list", "--scope", "global")
    assert [one["name"] for one in facts] == [
        "global/routingPolicies/chain",
        "global/routingPolicies/cheap",
        "global/routingPolicies/eu",
    ]
    assert facts[1]["update_by"] == "omni-grpc routing"
    assert routing.json("policies", "list", "--scope", "orgs/other") == []
    refused = routing("policies", "delete", "global/routingPolicies/cheap", code=1)
    assert "hands on to the policy 'cheap'" in refused.stderr
    assert "Deleted" in routing("policies", "delete", "global/routingPolicies/eu").stdout
    assert "NOT_FOUND" in routing("policies", "delete", "global/routingPolicies/eu", code=1).stderr


def test_a_wrong_file_sets_nothing_and_tells_every_fault(routing: Commands, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICIES + "  - {name: Bad, rule: {kind: hybrid}}\n")
    told = routing("policies", "set", str(path), code=1).stderr
    assert "nothing was set" in told
    assert "mine.yaml: line 13: policies[3].name" in told
    assert "line 13: policies[3].rule: the weights sum to zero" in told
    assert routing.json("policies", "list") == []
    routing("policies", "set", str(tmp_path / "gone.yaml"), code=1)
    assert "has nothing to set" in routing("policies", "set", "-", text="", code=1).stderr
    lost = POLICIES.replace("policy: cheap", "policy: lost")
    assert "FIELD_INVALID" in routing("policies", "set", "-", text=lost, code=1).stderr
    nobodys = POLICIES.replace("scope: global", "scope: orgs/nobody")
    assert "NOT_FOUND" in routing("policies", "set", "-", text=nobodys, code=1).stderr
    assert routing.json("policies", "list") == []


def test_the_policies_file_is_listed_beside_the_database(routing: Commands, tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text(POLICIES)
    routing("policies", "set", "-", text="policies: [{name: cheap, rule: {kind: score}}]")
    facts = routing.json("policies", "list")
    assert [(one["source"], one["hidden"]) for one in facts[1:3]] == [
        ("database", False),
        ("file", True),
    ]
    assert "hidden by the database's" in routing("policies", "list").stdout
    (tmp_path / "policies.yaml").write_text("policies: 3")
    assert "must be a list" in routing("policies", "list", code=1).stderr


def test_experiments_are_set_listed_reported_and_deleted(
    routing: Commands, routing_url: str
) -> None:
    routing("policies", "set", "-", text=POLICIES)
    assert (
        "has experiments too"
        in routing("policies", "set", "-", text=POLICIES + EXPERIMENTS, code=1).stderr
    )
    routing("experiments", "set", "-", text=EXPERIMENTS)
    assert "b 50 %" in routing("experiments", "list").stdout
    with psycopg.connect(routing_url) as connection:
        connection.execute(
            "INSERT INTO routed_call (call_id, wallet, key_id, asked, model, task, complexity, "
            "policy, experiment, arm, cost_nanousd, duration_ms, reason, attempt_count, end_user) "
            "SELECT gen_random_uuid(), 1, 1, 'omni/auto', 'a/b', '', '', '', "
            "'global/experiments/newer', CASE WHEN n % 2 = 0 THEN 'b' ELSE 'control' END, "
            "1000000 * (1 + n % 2 + 0.1 * (n % 7)), 100 + n, 'OK', 1, 'user-' || n % 50 "
            "FROM generate_series(1, 400) n"
        )
    told = routing("experiments", "report", "global/experiments/newer").stdout
    assert "b: cost per call: b is" in told
    assert "lower than control" in told
    assert "no difference is shown" in told
    report = json.loads(
        routing("experiments", "report", "global/experiments/newer", "--json").stdout
    )
    assert [arm["calls"] for arm in report["arms"]] == [200, 200]
    routing("experiments", "delete", "global/experiments/newer")
    routing("experiments", "report", "global/experiments/newer", code=1)
