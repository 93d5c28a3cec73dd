"""The record of every change of the catalog, read in pages, the newest first."""

import datetime as dt
from collections.abc import Mapping
from typing import Final, LiteralString

import msgspec
from psycopg.rows import args_row

from omni_grpc.storage import Database

_TESTS: Final[Mapping[str, LiteralString]] = {
    "subject": " AND subject = %s",
    "field": " AND field = %s",
    "source": " AND source = %s",
    "actor": " AND actor = %s",
}
HISTORY_FIELDS: Final = tuple(_TESTS)
"""What changes can be filtered by."""

_CHANGES: Final = """
SELECT id, subject, field, old_value, new_value, source, actor, create_time
FROM model_change WHERE true"""


class RecordedChange(msgspec.Struct, frozen=True):
    """One changed fact as it was written down. None on one side: added, or taken away."""

    id: int
    subject: str
    field: str
    old: str | None
    new: str | None
    source: str
    actor: str
    create_time: dt.datetime


class ChangePage(msgspec.Struct, frozen=True):
    """Some changes; `next_before` is None on the last page only."""

    changes: tuple[RecordedChange, ...]
    next_before: int | None


async def list_changes(
    database: Database, wanted: Mapping[str, str], *, before: int | None, limit: int
) -> ChangePage:
    """A page of the record.

    Args:
        database: where the catalog is.
        wanted: values of some of HISTORY_FIELDS, all of which must be met.
        before: the last id of the page before; None for the first page.
        limit: most changes of the page; at least 1.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    query: LiteralString = _CHANGES
    values: list[object] = []
    for field, value in wanted.items():
        query += _TESTS[field]
        values.append(value)
    if before is not None:
        query += " AND id < %s"
        values.append(before)
    query += " ORDER BY id DESC LIMIT %s"
    rows = await database.fetch_all(query, (*values, limit + 1), row=args_row(RecordedChange))
    page = tuple(rows[:limit])
    return ChangePage(page, page[-1].id if len(rows) > limit else None)
