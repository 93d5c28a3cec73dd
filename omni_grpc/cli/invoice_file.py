"""Reads a provider's usage export: CSV with a header, row by row, never the whole file at once."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import Final, Protocol

from omni_grpc.billing.invoices import Billed, InvoiceRow
from omni_grpc.cli.failures import CommandError

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("generation_id", "id", "request_id", "completion_id", "response_id"),
    "model": ("model_permaslug", "model", "model_id"),
    "time": ("created_at", "time", "timestamp", "date", "start_time"),
    "prompt": ("tokens_prompt", "prompt_tokens", "native_tokens_prompt", "input_tokens"),
    "completion": (
        "tokens_completion", "completion_tokens", "native_tokens_completion", "output_tokens",
    ),
    "cost": ("cost_total", "total_cost", "cost_usd", "cost", "usage", "amount_usd"),
}  # fmt: skip
"""What is read, and under which headers it is found by itself; the first that is there."""

OPENROUTER: Final = frozenset({"generation_id", "cost_total", "model_permaslug"})
"""Headers that only OpenRouter's activity export has together."""

_NANO: Final = Decimal(10**9)
_COUNT_MAX: Final = 2**63 - 1
_COST_NANO_MAX: Final = Decimal(10**15)


class _Lines(Protocol):
    """A CSV reader, as far as it tells where it is."""

    @property
    def line_num(self) -> int: ...


class InvoiceFile:
    """One export. Its header is read at once, its rows as they are asked for.

    Args:
        path: the file.
        columns: `NAME=HEADER`, where a header does not tell by itself.

    Raises:
        CommandError: it is no such file, or a column is missing.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        with self._open() as file:
            lines = csv.reader(file)
            with self._as_csv(lines):
                header = next(lines, None)
        if not header:
            raise CommandError(f"{path} is empty: a CSV file with a header is wanted.")
        self.headers = tuple(name.strip() for name in header)
        self._places = self._find(columns)

    @property
    def is_openrouters(self) -> bool:
        """Whether it looks like OpenRouter's activity export."""
        return set(self.headers) >= OPENROUTER

    @property
    def has_times(self) -> bool:
        """Whether its rows tell when they were."""
        return "time" in self._places

    def rows(self) -> Iterator[InvoiceRow]:
        """The rows, from the first on.

        Raises:
            CommandError: one cannot be read; it says which, and what is wrong.
        """
        with self._open() as file:
            lines = csv.reader(file)
            with self._as_csv(lines):
                next(lines)
                for number, line in enumerate((line for line in lines if line), 1):
                    yield self._row(number, line)

    @contextmanager
    def _as_csv(self, lines: _Lines) -> Iterator[None]:
        try:
            yield
        except (csv.Error, UnicodeDecodeError) as error:
            raise CommandError(
                f"{self._path}, after line {lines.line_num}: this is no CSV ({error})."
            ) from None

    def _open(self) -> TextIOWrapper:
        return self._path.open(newline="", encoding="utf-8-sig")

    def _find(self, columns: Sequence[str]) -> dict[str, int]:
        asked = dict(_named(column) for column in columns)
        places: dict[str, int] = {}
        for name, headers in HEADERS.items():
            for header in (asked[name],) if name in asked else headers:
                if header in self.headers:
                    places[name] = self.headers.index(header)
                    break
            else:
                if name in asked:
                    raise CommandError(self._without(f"column {asked[name]!r}"))
        if "id" not in places:
            raise CommandError(self._without("column of the answers' ids"))
        if not places.keys() & {"prompt", "completion", "cost"}:
            raise CommandError(self._without("column of tokens or of costs"))
        return places

    def _without(self, what: str) -> str:
        return (
            f"{self._path} has no {what}; it has {', '.join(self.headers)}. Name columns with "
            "--column id=HEADER, and so on."
        )

    def _row(self, number: int, line: list[str]) -> InvoiceRow:
        def text(name: str) -> str:
            place = self._places.get(name)
            if place is None:
                return ""
            if place >= len(line):
                raise CommandError(f"{self._path}, row {number}: it ends before its {name}.")
            return line[place].strip()

        def read(name: str) -> CommandError:
            return CommandError(f"{self._path}, row {number}: {text(name)[:40]!r} is no {name}.")

        row_id = text("id")
        if not row_id:
            raise CommandError(f"{self._path}, row {number}: it has no id.")
        try:
            time = _moment(text("time"))
        except (ValueError, OverflowError):
            raise read("time") from None
        counts: dict[str, int | None] = {}
        for name in ("prompt", "completion"):
            try:
                counts[name] = _count(text(name))
            except (ArithmeticError, ValueError):
                raise read(name) from None
        try:
            cost = _cost(text("cost"))
        except (ArithmeticError, ValueError):
            raise read("cost") from None
        billed = Billed(counts["prompt"], counts["completion"], cost)
        return InvoiceRow(number, row_id, text("model"), time, billed)


def moment_of(option: str, text: str) -> datetime:
    """A moment in UTC; a day is its beginning, and what names no time zone is UTC.

    Raises:
        CommandError: it is none.
    """
    try:
        found = _moment(text)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise CommandError(f"{option}: {text[:40]!r} is no time, such as 2030-01-01.")
    return found


def _named(column: str) -> tuple[str, str]:
    name, is_named, header = column.partition("=")
    if not is_named or name not in HEADERS:
        raise CommandError(
            f"--column must be NAME=HEADER, not {column!r}; NAME is one of {', '.join(HEADERS)}."
        )
    return name, header


def _moment(text: str) -> datetime | None:
    """An ISO time, or seconds since 1970; None where there is none."""
    if not text:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _count(text: str) -> int | None:
    if not text:
        return None
    count = Decimal(text.replace(",", ""))
    if count != int(count) or not 0 <= count <= _COUNT_MAX:
        raise ValueError(text)
    return int(count)


def _cost(text: str) -> Decimal | None:
    """Dollars, with or without their sign, as nano-USD."""
    if not text:
        return None
    cost = Decimal(text.replace(",", "").replace("$", "")) * _NANO
    if not cost.is_finite() or abs(cost) > _COST_NANO_MAX:
        raise ValueError(text)
    return cost
