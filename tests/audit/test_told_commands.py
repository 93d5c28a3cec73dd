"""`omni-grpc audit`, `webhooks` and `statements`, and what `doctor` says of logs."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from omni_grpc.cli.app import app


class Commands:
    """Runs commands in this process, in a folder of the test's own."""

    def __init__(self, url: str) -> None:
        self._environment = {
            "DATABASE_URL": url,
            "OMNI_KEY_HASH_SECRET": "0123456789abcdef0123456789abcdef0123456789abcdef",
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, words, env=self._environment, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    def json(self, *words: str, code: int = 0) -> object:
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def run(own_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(own_url) as connection:
        for number, slug in enumerate(("operator", "acme"), start=1):
            connection.execute(
                "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE"
                " SELECT %s, %s, '', ledger_open_wallet(%s)",
                (number, slug, number),
            )
    return Commands(own_url)


def test_webhooks_are_created_changed_and_deleted_and_the_log_names_the_commands(
    run: Commands, tmp_path: Path, own_url: str
) -> None:
    url = "https://example.com/hook"
    made = run("webhooks", "create", "hook", url, "--org", "acme", "--event", "balance.low")
    secret = made.stdout.split()[-1]
    assert secret.startswith("whsec_")
    name = "orgs/acme/webhooks/hook"
    assert run.json("webhooks", "list", "--org", "acme")[0]["url"] == url  # type: ignore[index]
    assert url in run("webhooks", "show", name).stdout
    run("webhooks", "update", name, "--off")
    assert run.json("webhooks", "show", name)["active"] is False  # type: ignore[index]
    run("webhooks", "update", name, code=1)
    assert run.json("webhooks", "deliveries", name, "--state", "dead") == []
    run("webhooks", "delete", name)
    assert "There is no" in run("webhooks", "show", name, code=1).output

    listed = run.json("audit", "list", "--org", "acme", "--resource", name)
    assert [(one["action"], one["actor"]) for one in listed] == [  # type: ignore[attr-defined]
        ("DeleteWebhook", "omni-grpc webhooks delete"),
        ("UpdateWebhook", "omni-grpc webhooks update"),
        ("CreateWebhook", "omni-grpc webhooks create"),
    ]
    assert "UpdateWebhook" in run("audit", "list", "--org", "acme", "--limit", "2").stdout

    run("audit", "export", "--org", "acme", "--out", "log.jsonl")
    text = (tmp_path / "log.jsonl").read_bytes()
    assert run("audit", "export", "--org", "acme").stdout_bytes == text
    assert text.count(b"\n") == 3
    assert secret.removeprefix("whsec_").encode() not in text
    assert (
        "exists already"
        in run("audit", "export", "--org", "acme", "--out", "log.jsonl", code=1).output
    )
    assert "whole: 3 entries" in run("audit", "verify", "--org", "acme").stdout
    run("audit", "verify", "--org", "acme", "--export", "log.jsonl")

    # The end of the log is taken off together with its head: only the export shows it.
    with psycopg.connect(own_url) as sql:
        sql.execute("DELETE FROM audit_entry WHERE position = 3")
        sql.execute(
            "UPDATE audit_head SET position = 2, hash = (SELECT hash FROM audit_entry"
            " WHERE org_id = 2 AND position = 2) WHERE org_id = 2"
        )
    run("audit", "verify", "--org", "acme")
    found = run.json("audit", "verify", "--org", "acme", "--export", "log.jsonl", code=1)
    assert "entry 3" in found["fault"]  # type: ignore[index]
    (tmp_path / "log.jsonl").write_bytes(text.replace(b"DeleteWebhook", b"UpdateWebhook"))
    found = run.json("audit", "verify", "--org", "acme", "--export", "log.jsonl", code=1)
    assert "line 3 is not as it was written" in found["fault"]  # type: ignore[index]

    with psycopg.connect(own_url) as sql:
        sql.execute("UPDATE audit_entry SET actor = 'x' WHERE position = 1")
    assert "not whole" in run("audit", "verify", "--org", "acme", code=1).stdout
    findings = run.json("doctor", code=1)["findings"]  # type: ignore[index]
    logs = [one for one in findings if one["about"] == "audit log"]
    assert [one["good"] for one in logs] == [False]
    assert "entry 1" in logs[0]["words"]


def test_a_grant_is_in_the_log_the_statement_and_its_csv(run: Commands, tmp_path: Path) -> None:
    run("credits", "grant", "--org", "acme", "--usd", "2.5", "--reason", "gift")
    [entry] = run.json("audit", "list", "--org", "acme", "--action", "GrantCredits")  # type: ignore[misc]
    assert entry["actor"] == "omni-grpc credits grant"
    assert entry["resource"] == "accounts/acme/ledgerEntries/1"
    month = f"{datetime.now(UTC):%Y-%m}"
    shown = run.json("statements", "show", month, "--org", "acme")
    assert shown["closing_nanousd"] == shown["granted_nanousd"] == 2_500_000_000  # type: ignore[index]
    assert "not over" in run("statements", "show", month, "--org", "acme").stdout
    run("statements", "export", month, "--org", "acme", "--out", "month.csv")
    text = (tmp_path / "month.csv").read_bytes()
    assert run("statements", "export", month, "--org", "acme").stdout_bytes == text
    [row] = csv.DictReader(io.StringIO(text.decode(), newline=""))
    assert (row["kind"], row["amount_usd"], row["reference"]) == ("grant", "2.5", "gift")
    receipt = "accounts/acme/topUps/0190a000-0000-7000-8000-000000000001"
    assert "There is no top-up" in run("statements", "receipt", receipt, code=1).output
