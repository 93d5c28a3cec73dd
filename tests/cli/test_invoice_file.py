"""What is read of a provider's export, and what is said of one that cannot be."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from omni_grpc.billing.invoices import Billed, InvoiceRow
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.invoice_file import InvoiceFile, moment_of

OPENROUTER = (
    "generation_id,created_at,cost_total,cost_web_search,tokens_prompt,tokens_completion,"
    "tokens_reasoning,tokens_cached,model_permaslug,provider_name,streamed\n"
    'gen-1,2026-06-28 03:46:57.713,0.0123,0,10389,137,0,0,openai/gpt-oss-120b,"A, B",true\n'
    "gen-2,2026-06-28T03:46:58Z,7.5e-06,0,1,0,0,0,openai/gpt-oss-120b,A,false\n"
)


def file_of(tmp_path: Path, text: str, *columns: str) -> InvoiceFile:
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode())
    return InvoiceFile(path, columns)


def one(tmp_path: Path, text: str, *columns: str) -> InvoiceRow:
    (row,) = file_of(tmp_path, text, *columns).rows()
    return row


def test_openrouters_activity_export_is_read_as_it_is(tmp_path: Path) -> None:
    file = file_of(tmp_path, OPENROUTER)
    assert file.is_openrouters
    assert file.has_times
    first, second = file.rows()
    assert first == InvoiceRow(
        1,
        "gen-1",
        "openai/gpt-oss-120b",
        datetime(2026, 6, 28, 3, 46, 57, 713_000, UTC),
        Billed(10389, 137, Decimal("12300000.0000")),
    )
    assert second.billed == Billed(1, 0, Decimal("7500.000"))
    assert list(file.rows()) == [first, second]


def test_columns_are_found_by_their_usual_names_or_as_they_are_named(tmp_path: Path) -> None:
    usual = one(tmp_path, "id,model,prompt_tokens,completion_tokens,cost\na,m,1,2,0.5\n")
    assert usual.billed == Billed(1, 2, Decimal("500000000.0"))
    assert usual.time is None
    other = "Ref;x,In,Out,Price,When,id\nr-1,3,4,$1,2030-01-01,z\n"
    named = one(
        tmp_path, other, "id=Ref;x", "prompt=In", "completion=Out", "cost=Price", "time=When"
    )
    assert named == InvoiceRow(
        1, "r-1", "", datetime(2030, 1, 1, tzinfo=UTC), Billed(3, 4, Decimal(1000000000))
    )


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        ("1", "1000000000"),
        ("$1,234.50", "1234500000000"),
        ("0.0000000001", "0.1"),
        ("1e-9", "1"),
        ("-0.5", "-500000000"),
        ("", None),
    ],
)
def test_costs_are_dollars_as_providers_print_them(
    tmp_path: Path, cost: str, nano: str | None
) -> None:
    found = one(tmp_path, f'id,cost\na,"{cost}"\n').billed.cost
    assert found == (None if nano is None else Decimal(nano))


@pytest.mark.parametrize(
    "time",
    ["2030-01-01 00:00:00", "2030-01-01T01:00:00+01:00", "1893456000", "2030-01-01 00:00:00 UTC"],
)
def test_times_are_utc_unless_they_say_otherwise(tmp_path: Path, time: str) -> None:
    row = one(tmp_path, f"id,cost,created_at\na,1,{time}\n")
    assert row.time == datetime(2030, 1, 1, tzinfo=UTC)


def test_marks_of_bytes_empty_lines_and_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = file_of(tmp_path, "\ufeffid, cost \r\n\r\na,1\r\n\r\nb,2\r\n")
    assert [row.id for row in file.rows()] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("", (), "is empty"),
        ("model,cost\nm,1\n", (), "no column of the answers' ids; it has model, cost"),
        ("id,model\na,m\n", (), "no column of tokens or of costs"),
        ("id,cost\na,1\n", ("id=x",), "no column 'x'"),
        ("id,cost\na,1\n", ("nothing=id",), "NAME is one of id, model"),
        ("id,cost\na,1\n", ("id",), "NAME=HEADER"),
        ("id,cost\na,1\n,2\n", (), "row 2: it has no id"),
        ("id,cost\na,1\nb\n", (), "row 2: it ends before its cost"),
        ("id,cost\na,much\n", (), "row 1: 'much' is no cost"),
        ("id,cost\na,NaN\n", (), "row 1: 'NaN' is no cost"),
        ("id,cost\na,1e99\n", (), "row 1: '1e99' is no cost"),
        ("id,prompt_tokens\na,1.5\n", (), "row 1: '1.5' is no prompt"),
        ("id,prompt_tokens\na,-1\n", (), "row 1: '-1' is no prompt"),
        ("id,prompt_tokens\na,x\n", (), "row 1: 'x' is no prompt"),
        ("id,prompt_tokens\na,inf\n", (), "row 1: 'inf' is no prompt"),
        ("id,cost,time\na,1,soon\n", (), "row 1: 'soon' is no time"),
        ("id,cost,time\na,1,9e99\n", (), "row 1: '9e99' is no time"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_row(
    tmp_path: Path, text: str, columns: tuple[str, ...], told: str
) -> None:
    with pytest.raises(CommandError) as caught:
        list(file_of(tmp_path, text, *columns).rows())
    assert told in str(caught.value)


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"id,cost\na,1\n\xff\xfe,2\n")
    with pytest.raises(CommandError, match="this is no CSV"):
        list(InvoiceFile(path, ()).rows())


def test_a_large_file_is_not_read_before_it_is_asked_for(tmp_path: Path) -> None:
    rows = file_of(tmp_path, "id,cost\n" + "a,1\n" * 100_000 + "a,bad\n").rows()
    for _ in range(100_000):
        assert next(rows).id == "a"
    with pytest.raises(CommandError, match="row 100001"):
        next(rows)


@pytest.mark.parametrize("text", ["", "tomorrow", "2030-13-01"])
def test_an_option_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--since"):
        moment_of("--since", text)
