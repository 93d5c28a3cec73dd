"""`omni-grpc usage`: what an organisation used, cost and saved, straight on the database."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.bar import Bar
from rich.console import Console
from rich.table import Column, Table

from omni_grpc.billing.usage import (
    Bucket,
    Dimension,
    UsagePage,
    UsageQuery,
    UsageReports,
    UsageRoller,
    UsageStore,
    UsageSummary,
    UsageSums,
)
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.moments import moment_of
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, PlainTable, console, print_json, work_in
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.limits import PAGE_SIZE_MAX
from omni_grpc.core.money import NANO_PER_USD
from omni_grpc.rest_api.usage import summary_object, sums_object
from omni_grpc.settings import Settings

BAR_CHARS: Final = 40
K = TypeVar("K", Bucket, Dimension)
_FORMATS: Final = {
    Bucket.HOUR: "%Y-%m-%d %H:%M",
    Bucket.DAY: "%Y-%m-%d",
    Bucket.MONTH: "%Y-%m",
    Bucket.WHOLE: "%Y-%m-%d %H:%M",
}


def run_usage(
    place: Place,
    org: str,
    start: str | None,
    end: str | None,
    bucket: str,
    by: Sequence[str],
    time_zone: str,
    *,
    as_json: bool,
) -> None:
    """Shows a report: a picture of what each bucket cost, the rows, and the sums of all."""
    divided = _known(Bucket, "--bucket", bucket)
    dimensions = frozenset(_known(Dimension, "--by", one) for one in by)
    since = None if start is None else moment_of("--from", start)
    until = None if end is None else moment_of("--to", end)

    async def work(_: Settings, rooms: Rooms) -> tuple[list[UsageSummary], UsageSums]:
        found = await rooms.identity.get_org(org)
        reports = UsageReports(UsageStore(rooms.database), SystemClock())
        query = await reports.query(
            found.account_id,
            start=since,
            end=until,
            bucket=divided,
            dimensions=dimensions,
            time_zone=time_zone,
            start_field="--from",
            end_field="--to",
        )
        return await _all_pages(reports, query)

    rows, total = work_in(place, work)
    if as_json:
        data = [summary_object(row, dimensions) for row in rows]
        print_json({"data": data, "total": sums_object(total)})
        return
    if not rows:
        console.print(f"{org} used nothing in that time.")
        return
    zone = _zone(time_zone)
    console.print(picture_of(rows, divided, zone))
    console.print(table_of_rows(rows, total, divided, dimensions, zone))


def run_usage_rebuild(place: Place, *, as_json: bool) -> None:
    """Counts everything anew beside the sums that are read, which stay until it is done."""
    with Console(stderr=True).status("Counting …") as status:

        def progress(count: int) -> None:
            status.update(f"Counting … {count:,} attempts and corrections")

        async def work(_: Settings, rooms: Rooms) -> int:
            return await _rebuild(rooms, progress)

        count = work_in(place, work)
    if as_json:
        print_json({"attempt_count": count})
    else:
        console.print(f"Counted anew: reports read the new sums, of {count:,} attempts.")


async def _rebuild(rooms: Rooms, progress: Callable[[int], None]) -> int:
    return await UsageRoller(UsageStore(rooms.database)).rebuild(progress)


async def _all_pages(
    reports: UsageReports, query: UsageQuery
) -> tuple[list[UsageSummary], UsageSums]:
    rows: list[UsageSummary] = []
    position: str | None = None
    while True:
        page: UsagePage
        page, following = await reports.summarize(query, position, PAGE_SIZE_MAX)
        rows += page.rows
        if not following:
            return rows, page.total
        position = following


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):  # the database knew it
        raise CommandError(
            f"This machine does not know the time zone {name}: install its tzdata, or use --json."
        ) from None


def picture_of(rows: Sequence[UsageSummary], bucket: Bucket, zone: ZoneInfo) -> Table:
    """A bar a bucket, as long as what it cost; starts are told in `zone`."""
    costs: dict[datetime, int] = {}
    for row in rows:
        costs[row.start] = costs.get(row.start, 0) + row.sums.cost
    most = max(costs.values()) or 1
    table = PlainTable.grid("from", "cost", "USD", padding=(0, 1))
    for column in table.columns:
        column.no_wrap = True
    for start, cost in costs.items():
        bar = Bar(size=most, begin=0, end=cost, width=BAR_CHARS, color="cyan")
        table.add_row(_start(start, bucket, zone), bar, f"{_usd(cost)} USD")
    return table


def table_of_rows(
    rows: Sequence[UsageSummary],
    total: UsageSums,
    bucket: Bucket,
    dimensions: frozenset[Dimension],
    zone: ZoneInfo,
) -> Table:
    """The rows and the sums of all; starts are told in `zone`."""
    shown = [one for one in Dimension if one in dimensions]
    right = ("calls", "failed", "tokens in", "tokens out", "USD", "refunded", "saved USD")
    table = PlainTable(
        Column("from", no_wrap=True),
        *(one.value for one in shown),
        *(Column(name, justify="right") for name in right),
        show_footer=True,
    )
    for row in rows:
        names = [str(getattr(row, one.value)) or "-" for one in shown]
        table.add_row(_start(row.start, bucket, zone), *names, *_cells(row.sums))
    table.columns[0].footer = "total"
    for column, text in zip(table.columns[1 + len(shown) :], _cells(total), strict=True):
        column.footer = text
    return table


def _start(moment: datetime, bucket: Bucket, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime(_FORMATS[bucket])


def _cells(sums: UsageSums) -> list[str]:
    saved = _usd(sums.saved) if sums.compared else "-"
    return [
        f"{sums.calls:,}",
        f"{sums.failed:,}",
        f"{sums.prompt:,}",
        f"{sums.completion:,}",
        _usd(sums.cost),
        _usd(sums.refunded),
        saved,
    ]


def _usd(amount: int) -> str:
    """Dollars to a millionth, for eyes; JSON has every digit."""
    return f"{Decimal(amount) / NANO_PER_USD:,.6f}"


def _known(kinds: type[K], option: str, text: str) -> K:
    try:
        return kinds(text)
    except ValueError:
        raise CommandError(f"{option} must be one of {', '.join(kinds)}.") from None
