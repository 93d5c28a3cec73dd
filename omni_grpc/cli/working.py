"""How an operator's command works: its settings, its rooms, and what it prints for programs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import StyleType
from rich.table import Column, Table
from rich.text import Text

from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import (
    Rooms,
    at_home,
    data_folder,
    database_of,
    rooms_of,
    settings_of,
    url_of,
)
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX
from omni_grpc.core.money import nanousd_from_usd, usd_text
from omni_grpc.settings import Settings
from omni_grpc.storage import pending

T = TypeVar("T")
WHOLE_CHARS_MAX: Final = 80
"""A word up to this length is never broken: every id, amount and time is shorter."""

_WIDTH_MAX: Final = 1_000_000
"""A table's width where nothing limits it."""


class WholeConsole(Console):
    """A console that cuts nothing off: what is wider than the terminal is wrapped there."""

    def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:  # as rich has it
        """Prints, as `Console` does."""
        super().print(*objects, crop=crop, **options)


console = WholeConsole(highlight=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works: its settings file and dev's folder, as its options name them."""

    config: Path | None
    data_dir: Path | None


def work_in(place: Place, work: Callable[[Settings, Rooms], Awaitable[T]]) -> T:
    """Runs `work` with the complete settings and the rooms on their database."""
    settings = settings_of(place.config)
    folder = None if settings.database_url is not None else data_folder(place.data_dir)
    if folder is not None:
        settings = at_home(settings, folder)
    return asyncio.run(_work_in(settings, folder, work))


async def _work_in(
    settings: Settings, folder: Path | None, work: Callable[[Settings, Rooms], Awaitable[T]]
) -> T:
    async with database_of(settings, folder) as complete:
        if waiting := await asyncio.to_thread(pending, url_of(complete)):
            first = f"{waiting[0].number:04d}_{waiting[0].name}"
            raise CommandError(
                f"The database lacks {len(waiting)} migrations, from {first} on: run "
                "`omni-grpc migrate` first."
            )
        async with rooms_of(complete) as rooms:
            return await work(complete, rooms)


def amount_of(option: str, usd: str, *, low: int = 1) -> int:
    """Dollars as nano-dollars.

    Raises:
        CommandError: no amount, or none that can be.
    """
    try:
        amount = nanousd_from_usd(usd)
    except ValueError as error:
        raise CommandError(f"{option}: {error}.") from None
    if not low <= amount <= AMOUNT_NANOUSD_MAX:
        least = "above 0" if low else "at least 0"
        raise CommandError(f"{option} must be {least} and at most {usd_text(AMOUNT_NANOUSD_MAX)}.")
    return amount


def plain(text: str) -> Text:
    """A text as it is: tenants wrote many of them, and none is markup or moves the cursor."""
    return Text("".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text))


class PlainTable(Table):
    """A table whose texts are all plain, and in which nothing is cut off.

    Numbers, ids and times stay whole: a text breaks between words alone, unless one is longer than
    WHOLE_CHARS_MAX. What then does not fit is wider than the terminal.
    """

    def add_row(
        self,
        *renderables: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Adds a row, as `Table` does."""
        cells = (plain(one) if isinstance(one, str) else one for one in renderables)
        super().add_row(*cells, style=style, end_section=end_section)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Renders the table, as wide as its words need."""
        anywhere = options.update_width(_WIDTH_MAX)
        ranges = [_width_range(console, anywhere, column) for column in self.columns]
        widths = [widest for _, widest in ranges]
        rest = self._extra_width + sum(self._get_padding_width(at) for at in range(len(widths)))
        excess = rest + sum(widths) - options.max_width
        while excess > 0:
            slack, at = max((widths[at] - least, at) for at, (least, _) in enumerate(ranges))
            if not slack:
                break
            widths[at] -= 1
            excess -= 1
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
            column.overflow = "fold"
        yield from super().__rich_console__(console, anywhere)


def _width_range(console: Console, options: ConsoleOptions, column: Column) -> tuple[int, int]:
    """The width that a column's words need, and the one at which no line breaks."""
    texts = (column.header, *column.cells, column.footer)
    found = [Measurement.get(console, options, text) for text in texts]
    widest = max(one.maximum for one in found)
    if column.no_wrap:
        return widest, widest
    return min(max(one.minimum for one in found), WHOLE_CHARS_MAX), widest


def table_of(first: str, *rest: str) -> Table:
    """A table in which nothing is cut off, and the first column, an id, can be copied whole."""
    return PlainTable(Column(first, no_wrap=True), *rest)


def print_json(value: object) -> None:
    """Prints a value for programs."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())  # noqa: T201 - for programs
