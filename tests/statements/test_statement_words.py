"""Months, the text of statements, and receipts: without a database."""

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.billing.statements import Statement, parse_month, receipt_of
from omni_grpc.billing.statements.model import Row, limited
from omni_grpc.core.errors import FieldInvalid

NOVEMBER = parse_month("2026-11", field="month")


def statement(*rows: Row) -> Statement:
    return Statement(
        month=NOVEMBER, opening=0, granted=0, charged=0, refunded=0, expired=0, closing=0,
        final=True, rows=rows,
    )  # fmt: skip


def test_a_month_is_from_its_first_moment_to_before_the_next_one_s() -> None:
    assert NOVEMBER.start == datetime(2026, 11, 1, tzinfo=UTC)
    assert NOVEMBER.end == datetime(2026, 12, 1, tzinfo=UTC)
    assert parse_month("2026-12", field="month").end == datetime(2027, 1, 1, tzinfo=UTC)
    assert parse_month("2024-02", field="month").name == "2024-02"


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-1", "2026-13", "2026-00", "26-11", "2026-11-01", "2026-11\n", "1999-12",
     "9999-12", "\uff12026-11", "-026-11"],
)  # fmt: skip
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        parse_month(text, field="month")
    assert refused.value.field == "month"


def test_rows_are_csv_as_rfc_4180_has_it() -> None:
    found = statement(
        Row(day="2026-11-01", kind="grant", amount=5, reference='a "b", c\r\nd', entry="1")
    ).csv
    assert found.startswith(
        "date,kind,model,key,count,amount_nanousd,amount_usd,reference,entry\r\n"
    )
    assert found.endswith('"a ""b"", c\r\nd",1\r\n')


@pytest.mark.parametrize(
    "reference", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "=cmd|' /C x'!A0"]
)
def test_what_a_spreadsheet_would_compute_is_shown_instead(reference: str) -> None:
    text = statement(Row(day="2026-11-01", kind="grant", amount=5, reference=reference)).csv
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert row["reference"] == f"'{reference}"


@given(st.text(max_size=40))
def test_any_reference_comes_back_as_it_was(reference: str) -> None:
    text = statement(Row(day="", kind="grant", amount=-5, reference=reference)).csv
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert row["reference"].removeprefix("'") == reference.replace("\x00", "").removeprefix("'")
    assert row["amount_nanousd"] == "-5"


def test_more_rows_than_can_be_are_one_row_and_still_add_up() -> None:
    rows = [Row(day="d", kind="grant", amount=n) for n in range(10)]
    assert limited(rows, 10) == tuple(rows)
    found = limited(rows, 4)
    assert len(found) == 4
    assert (found[3].kind, found[3].count, found[3].amount) == ("rest", 7, sum(range(3, 10)))


def test_a_receipt_says_who_paid_what_and_cannot_be_given_other_lines() -> None:
    found = receipt_of(
        top_up="accounts/acme/topUps/1",
        number="R-1",
        customer="Acme\nAmount:   1 USD",
        amount=12_500_000_000,
        paid_by="card visa 4242",
        payment_id="pi_1",
        pay_time=datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC),
        seller="https://api.example.com",
    )
    assert found.text.splitlines() == [
        "Receipt:  R-1",
        "From:     https://api.example.com",
        "To:       Acme Amount:   1 USD",
        "Paid:     2026-11-02 03:04:05 UTC",
        "By:       card visa 4242",
        "Payment:  pi_1",
        "For:      prepaid credits",
        "Amount:   12.5 USD",
    ]
