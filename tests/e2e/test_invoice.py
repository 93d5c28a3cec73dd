"""A provider's export against our records: what matches, and everything that does not."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from chat_ways import Asked, refused
from commands import Command, command
from gateway import Gateway, Tenant, asking, running
from gateway_fixtures import check_books
from omni_grpc_client import Omni

from omni_grpc.storage import EmbeddedPostgres

HEADER = [
    "generation_id",
    "created_at",
    "cost_total",
    "tokens_prompt",
    "tokens_completion",
    "model_permaslug",
]


@dataclass
class Line:
    """One row of an export."""

    id: str
    prompt: int
    completion: int
    cost_nanousd: int
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def cells(self) -> list[str]:
        cost = f"{self.cost_nanousd / 10**9:.9f}"
        time = f"{self.time:%Y-%m-%d %H:%M:%S.%f}"
        return [self.id, time, cost, str(self.prompt), str(self.completion), "fast"]


@pytest.fixture(scope="module")
def gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """One that marks prices up, which its provider's invoice knows nothing of."""
    name, admin_key = template
    url = postgres.create_database("e2e_invoice", template=name)
    folder = tmp_path_factory.mktemp("invoice")
    settings = {"OMNI_MARKUP_PPM": "250000", "OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true"}
    with running(Gateway(url, simulator.base_url, folder, admin_key, 1, settings)) as started:
        yield started
    check_books(url, folder)


@dataclass
class Books:
    """What one test did since it began."""

    gateway: Gateway
    tenant: Tenant
    folder: Path
    since: datetime

    def chat(self, text: str = "Say something.") -> Line:
        """An answered chat, as its provider should bill it."""
        with Omni(self.gateway.grpc, api_key=self.tenant.api_key) as omni:
            call_id = omni.chat("sim/fast", text).call_id
            (attempt,) = omni.usage(call_id).attempts
        prompt, completion = attempt.prompt_tokens or 0, attempt.completion_tokens or 0
        cost = prompt * 150 + completion * 600
        assert attempt.cost_nanousd == -(-cost * 5 // 4)  # with the markup, rounded up
        return Line(attempt.provider_ref, prompt, completion, cost)

    def compare(self, lines: Sequence[Line], *words: str, header: bool = True) -> Command:
        path = self.folder / "export.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            if header:
                rows.writerow(HEADER)
            rows.writerows(line.cells for line in lines)
        return self.invoice(path, *words)

    def invoice(self, path: Path, *words: str) -> Command:
        """Compares only what this test did."""
        until = datetime.now(UTC) + timedelta(seconds=1)
        span = ("--since", self.since.isoformat(), "--until", until.isoformat())
        return command(
            self.gateway, "reconcile", "invoice", path, "--provider", "sim", *span, *words
        )


@pytest.fixture
def books(gateway: Gateway, tenant: Tenant, tmp_path: Path) -> Books:
    return Books(gateway, tenant, tmp_path, datetime.now(UTC))


def kinds(found: Command) -> list[tuple[str, str]]:
    return [(one["kind"], one["id"]) for one in found.json["shown"]]


def test_an_invoice_that_says_what_we_say_matches_to_the_nano_dollar(books: Books) -> None:
    lines = [books.chat(f"Number {number}.") for number in range(5)]
    total = sum(line.cost_nanousd for line in lines)
    found = books.compare(lines[::-1], "--json")
    assert found.code == 0, found.err
    told = found.json
    assert (told["rows"], told["matched"], told["differences"]) == (5, 5, 0)
    assert told["ours_usd"] == told["theirs_usd"] == f"{total / 10**9:.9f}".rstrip("0")
    assert told["difference_usd"] == "0"
    shown = books.compare(lines)
    assert shown.code == 0
    assert "5 match" in shown.out
    assert "a difference of 0 USD" in shown.out


def test_everything_that_differs_is_found_and_told_by_its_kind(books: Books) -> None:
    same, tokens, cost, missing, twice = (books.chat(f"Number {n}.") for n in range(5))
    asked = Asked(asking("cut=rst,cut_after=headers"))
    lost = refused("rest plain", books.gateway, books.tenant, asked, None)
    with books.gateway.admin() as admin:
        (unresolved,) = (one for one in admin.unresolved_attempts() if one.call_id == lost.call_id)
    lines = [
        same,
        replace(tokens, completion=tokens.completion + 1),
        replace(cost, cost_nanousd=cost.cost_nanousd + 2),
        twice,
        twice,
        Line("gen-of-another-key", 10, 10, 5_000),
        Line(unresolved.provider_ref, 9, 1, 700),
    ]
    found = books.compare(lines, "--json")
    assert found.code == 1
    told = found.json
    assert sorted(kinds(found)) == sorted(
        [
            ("differs", tokens.id),
            ("differs", cost.id),
            ("missing_there", missing.id),
            ("twice", twice.id),
            ("missing_here", "gen-of-another-key"),
            ("unresolved", unresolved.provider_ref),
        ]
    )
    assert told["matched"] == 2
    assert told["differences"] == 6
    ours = sum(one.cost_nanousd for one in (same, tokens, cost, missing, twice))
    theirs = sum(line.cost_nanousd for line in lines)
    assert round(float(told["difference_usd"]) * 10**9) == theirs - ours
    (one,) = (one for one in told["shown"] if one["id"] == tokens.id)
    assert one["theirs"]["completion_tokens"] == one["ours"]["completion_tokens"] + 1
    (waits,) = (one for one in told["shown"] if one["kind"] == "unresolved")
    assert waits["attempt"] == unresolved.name.rpartition("/")[2]
    shown = books.compare(lines)
    assert shown.code == 1
    for text in (tokens.id, "gen-of-another-key", "differs", "missing there", "1 twice", "7 rows"):
        assert text in shown.out
    few = books.compare(lines, "--limit", "2", "--json")
    assert (len(few.json["shown"]), few.json["differences"]) == (2, 6)
    assert "4 more are not shown" in books.compare(lines, "--limit", "2").out
    with books.gateway.admin() as admin:
        admin.settle_attempt(unresolved, 9, 1)
    again = books.compare([Line(unresolved.provider_ref, 9, 1, 9 * 150 + 600)], "--json")
    assert again.json["matched"] == 1


def test_rounded_costs_are_the_same_within_a_tolerance(books: Books) -> None:
    line = books.chat()
    off = [replace(line, cost_nanousd=line.cost_nanousd + 400)]
    assert books.compare(off, "--json").code == 1
    assert books.compare(off, "--json", "--tolerance-usd", "0.0000005").code == 0


def test_an_export_of_another_shape_is_read_by_its_columns(books: Books) -> None:
    line = books.chat()
    path = books.folder / "usage.csv"
    path.write_text(f"When,Ref,In,Out\n{line.time:%Y-%m-%d},{line.id},{line.prompt},0\n")
    columns = ("--column", "id=Ref", "--column", "prompt=In", "--column", "completion=Out")
    found = books.invoice(path, *columns, "--json")
    assert (found.code, kinds(found)) == (1, [("differs", line.id)])
    path.write_text(f"Ref,In,Out\n{line.id},{line.prompt},{line.completion}\n")
    assert books.invoice(path, *columns).code == 0
    (books.folder / "none.csv").write_text("")
    for file, words, told in (
        (path, (), "no column of the answers' ids"),
        (path, ("--column", "id=Ref"), "no column of tokens or of costs"),
        (path, (*columns, "--tolerance-usd", "x"), "--tolerance-usd"),
        (path, (*columns, "--since", "x"), "--since"),
        (path, (*columns, "--provider", "nobody"), "There is no provider 'nobody'"),
        (books.folder / "none.csv", (), "is empty"),
    ):
        failed = books.invoice(file, *words)
        assert failed.code == 1
        assert told in failed.err
    bare = command(books.gateway, "reconcile", "invoice", path, *columns)
    assert "--provider is wanted" in bare.err
    timeless = command(books.gateway, "reconcile", "invoice", path, *columns, "--provider", "sim")
    assert "give --since and --until" in timeless.err
    missing = command(books.gateway, "reconcile", "invoice", books.folder / "nothing.csv")
    assert missing.code == 2


def test_a_span_begins_and_ends_with_the_files_rows_unless_it_is_given(books: Books) -> None:
    before, line, after = (books.chat(f"Number {n}.") for n in range(3))
    path = books.folder / "export.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, line.cells])
    own = command(books.gateway, "reconcile", "invoice", path, "--provider", "sim", "--json")
    assert own.code == 0, own.out
    whole = books.invoice(path, "--json")
    assert whole.code == 1
    assert sorted(kinds(whole)) == sorted(
        [("missing_there", before.id), ("missing_there", after.id)]
    )


def test_an_openrouter_export_needs_no_words(books: Books) -> None:
    books.chat()
    path = books.folder / "export.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, Line("gen-1", 1, 2, 3).cells])
    found = command(books.gateway, "reconcile", "invoice", path, "--json")
    assert (found.json["provider"], kinds(found)) == ("openrouter", [("missing_here", "gen-1")])


def test_many_rows_are_compared_in_slices(books: Books) -> None:
    line = books.chat()
    lines = [Line(f"gen-{number}", 1, 1, 750) for number in range(12_000)]
    lines.insert(7_000, line)
    found = books.compare(lines, "--json")
    assert found.code == 1
    told = found.json
    assert (told["rows"], told["matched"]) == (12_001, 1)
    assert told["counts"]["missing_here"] == 12_000
    assert len(told["shown"]) == 100
