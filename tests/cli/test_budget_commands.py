"""`omni-grpc budgets`, as an operator runs it on a database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from quick_clusters import MIGRATED, quick_server
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.cli.budgets import bar

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command in this process; what it prints, read where it is JSON."""
    monkeypatch.chdir(tmp_path)
    with quick_server(tmp_path / "database") as server:
        environment = {
            "DATABASE_URL": server.url(MIGRATED),
            "OMNI_KEY_HASH_SECRET": "0123456789abcdef0123456789abcdef0123456789abcdef",
            "COLUMNS": "300",
        }

        def work(*words: str, code: int = 0) -> Any:
            found = CliRunner().invoke(app, words, env=environment, catch_exceptions=False)
            assert found.exit_code == code, found.output
            return json.loads(found.stdout) if "--json" in words and not code else found.output

        yield work


def test_a_budget_is_made_shown_changed_and_deleted(run: Run) -> None:
    run("orgs", "create", "acme")
    run("teams", "create", "web", "--org", "acme")
    at = ("--org", "acme", "--team", "web")
    name = "orgs/acme/teams/web/budgets/daily"
    made = run("budgets", "create", "daily", *at, "--period", "day", "--usd", "12.5", "--json")
    assert (made["name"], made["amount_nanousd"], made["spent"]) == (name, 12_500_000_000, 0)
    assert made["time_zone"] == "UTC"
    said = run(
        "budgets", "create", "all", "--org", "acme", "--period", "total", "--tokens", "1000000",
        "--time-zone", "Asia/Tokyo",
    )  # fmt: skip
    assert "holds in every worker" in said
    shown = run("budgets", "list", *at)
    assert all(text in shown for text in (name, "12.5 USD", "░" * 10 + " 0 %"))
    shown = run("budgets", "get", "orgs/acme/budgets/all")
    assert "1,000,000 tokens" in shown
    assert "for ever" in shown
    changed = run("budgets", "update", name, "--usd", "20", "--name", "Each day", "--json")
    assert (changed["amount_nanousd"], changed["display_name"]) == (20 * 10**9, "Each day")
    assert "--usd, --tokens or --name" in run("budgets", "update", name, code=1)
    assert "cannot become" in run("budgets", "update", name, "--tokens", "7", code=1)
    assert "--period is one of" in run(
        "budgets", "create", "x", *at, "--period", "year", "--usd", "1", code=1
    )
    assert run("budgets", "delete", name, "--json") == {"deleted": name}
    assert run("budgets", "list", *at, "--json") == []
    entries = run("audit", "list", "--org", "acme", "--json")
    assert {"CreateBudget", "UpdateBudget", "DeleteBudget"} <= {one["action"] for one in entries}


def test_the_bar_shows_what_is_spent_and_held() -> None:
    assert bar(100, 50, 24) == "█" * 5 + "▒" * 2 + "░" * 3 + " 50 %"
    assert bar(10, 30, 5) == "█" * 10 + " 300 %"
    assert bar(0, 0, 0) == "█" * 10 + " 100 %"
