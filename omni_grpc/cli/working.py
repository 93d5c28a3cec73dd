"""How an operator's command works: its settings, its rooms, and what it prints for programs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console, RenderableType
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
console = Console(highlight=False)


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
    """A table whose texts are all plain."""

    def add_row(
        self,
        *renderables: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Adds a row, as `Table` does."""
        cells = (plain(one) if isinstance(one, str) else one for one in renderables)
        super().add_row(*cells, style=style, end_section=end_section)


def table_of(first: str, *rest: str) -> Table:
    """A table in which nothing is cut off, and the first column, an id, can be copied whole."""
    return PlainTable(
        Column(first, no_wrap=True), *(Column(header, overflow="fold") for header in rest)
    )


def print_json(value: object) -> None:
    """Prints a value for programs."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())  # noqa: T201 - for programs
