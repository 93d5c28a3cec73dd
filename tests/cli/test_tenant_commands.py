"""`omni-grpc orgs`, `teams`, `envs`, `users` and `keys`, as an operator runs them on a database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from quick_clusters import MIGRATED, quick_server
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.storage import EmbeddedPostgres

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The databases' server."""
    folder = tmp_path_factory.mktemp("tenants-cli")
    with quick_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def run(server: EmbeddedPostgres) -> Run:
    """Runs a command in this process; what it prints, read where it is JSON."""
    url = server.create_database("tenants_cli_tests", template=MIGRATED)
    environment = {
        "DATABASE_URL": url,
        "OMNI_KEY_HASH_SECRET": "0123456789abcdef0123456789abcdef0123456789abcdef",
        "COLUMNS": "300",
    }

    def work(*words: str, code: int = 0, **settings: str) -> Any:
        found = CliRunner().invoke(app, words, env=environment | settings, catch_exceptions=False)
        assert found.exit_code == code, found.output
        return json.loads(found.stdout) if "--json" in words and not code else found.output

    return work


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No omni.yaml of the folder in which the tests run."""
    monkeypatch.chdir(tmp_path)


def test_a_tenant_is_set_up_and_taken_down(run: Run) -> None:
    made = run("orgs", "create", "acme", "--name", "Acme", "--json")
    assert (made["name"], made["account"]) == ("orgs/acme", "accounts/acme")
    assert run("teams", "create", "web", "--org", "acme").strip() == "orgs/acme/teams/web is there."
    live = run("envs", "create", "live", "--org", "acme", "--team", "web", "--json")
    assert live["name"] == "orgs/acme/teams/web/environments/live"
    at = ("--org", "acme", "--team", "web", "--env", "live")
    key = run("keys", "create", *at, "--model", "sim/*", "--expires", "2090-01-01", "--json")
    assert (key["parent"], key["models"], key["expire_time"][:4]) == (
        live["name"],
        ["sim/*"],
        "2090",
    )
    assert key["secret"].startswith("omni_")
    assert run("keys", "get", key["name"], "--json")["name"] == key["name"]
    assert [one["name"] for one in run("keys", "list", *at, "--json")] == [key["name"]]
    assert "secret" not in run("keys", "list", *at)
    turned = run("keys", "rotate", key["name"], "--overlap-hours", "0", "--json")
    new = turned["api_key"]["name"]
    assert turned["replaced_api_key"]["name"] == key["name"]
    refused = run("teams", "delete", "web", "--org", "acme", code=1)
    assert "1 environment and 1 valid key" in refused
    assert "refuses it within 5 seconds" in run("keys", "revoke", new)
    renamed = run("envs", "update", "live", *at[:4], "--name", "Live", "--json")
    assert renamed["display_name"] == "Live"
    assert "is gone" in run("envs", "delete", "live", *at[:4])
    assert run("envs", "list", *at[:4], "--json") == []
    assert run("teams", "delete", "web", "--org", "acme", "--json") == {
        "deleted": "orgs/acme/teams/web"
    }


def test_an_organisation_is_suspended_and_warned(run: Run) -> None:
    run("orgs", "create", "later")
    changed = run("orgs", "update", "later", "--low-balance", "5", "--suspend", "--json")
    assert (changed["low_balance_nanousd"], changed["suspended"]) == (5 * 10**9, True)
    changed = run("orgs", "update", "later", "--low-balance", "0", "--resume", "--json")
    assert (changed["low_balance_nanousd"], changed["suspended"]) == (None, False)
    assert "Nothing to change" in run("orgs", "update", "later", code=1)
    assert "orgs/later" in run("orgs", "list")
    assert run("orgs", "get", "later", "--json")["display_name"] == "later"
    assert "There is no `orgs/nobody`" in run("orgs", "get", "nobody", code=1)


def test_users_are_let_in_by_the_operator(run: Run) -> None:
    run("orgs", "create", "people")
    asked = ("--org", "people", "--issuer", "https://idp.example")
    boss = run("users", "create", *asked, "--subject", "ann", "--role", "owner", "--json")
    assert boss["role"] == "owner"
    assert "last owner" in run("users", "delete", boss["name"], code=1)
    other = run("users", "create", *asked, "--subject", "bob", "--json")
    changed = run("users", "update", other["name"], "--role", "owner", "--json")
    assert changed["role"] == "owner"
    assert "--role must be one of" in run("users", "update", other["name"], "--role", "x", code=1)
    assert "is out" in run("users", "delete", boss["name"])
    assert [one["name"] for one in run("users", "list", "--org", "people", "--json")] == [
        other["name"]
    ]


def test_the_first_admin_key_is_made_once(run: Run) -> None:
    first = run("keys", "bootstrap", "--json")
    assert first["scopes"] == ["admin", "billing", "inference", "management", "viewing"]
    assert "exists already" in run("keys", "bootstrap", code=1)
    listed = run("keys", "list", "--org", "operator", "--json")
    assert [one["name"] for one in listed] == [first["name"]]


def test_a_database_without_the_tables_is_told_with_what_helps(
    run: Run, server: EmbeddedPostgres
) -> None:
    empty = server.create_database("tenants_cli_empty")
    told = run("orgs", "list", code=1, DATABASE_URL=empty)
    assert "from 0001_ledger on: run `omni-grpc migrate` first" in told


def test_amounts_are_shown_in_dollars_and_told_to_programs_in_nano_dollars(run: Run) -> None:
    run("orgs", "create", "dollars")
    shown = run("orgs", "update", "dollars", "--low-balance", "2.5")
    assert "low_balance_usd" in shown
    assert " 2.5 " in shown
    assert run("orgs", "get", "dollars", "--json")["low_balance_nanousd"] == 2_500_000_000


@pytest.mark.parametrize("usd", ["-5", "abc", "1e400"])
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("topups", "settle", "x", "--payment", "p", "--reason", "r", "--amount"), "--amount"),
        (("topups", "auto", "--org", "acme", "--below"), "--below"),
        (("topups", "auto", "--org", "acme", "--amount"), "--amount"),
        (("topups", "auto", "--org", "acme", "--month-max"), "--month-max"),
    ],
)
def test_no_amount_of_dollars_is_told_by_its_option(
    run: Run, words: tuple[str, ...], option: str, usd: str
) -> None:
    told = f"{option}: {usd!r} is not an amount of dollars"
    assert told in " ".join(run(*words, usd, code=1).split())
