"""`omni-grpc reconcile dead-letters` and `replay`: ends of attempts that the database refused."""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import typer

from omni_grpc.billing import DeadLetter
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.core.errors import Internal
from omni_grpc.settings import Settings

PAGE_ROWS: Final = 500


def run_dead_letters(place: Place, *, as_json: bool) -> None:
    """Lists dead letters."""

    async def work(_: Settings, rooms: Rooms) -> list[DeadLetter]:
        return [letter async for letter in _letters(rooms)]

    letters = work_in(place, work)
    if as_json:
        print_json([_facts(letter) for letter in letters])
        return
    if not letters:
        console.print("There is no dead letter.")
        return
    table = table_of("number", "attempt", "since", "SQLSTATE", "cause")
    for letter in letters:
        table.add_row(
            str(letter.id),
            str(letter.target),
            f"{letter.create_time:%Y-%m-%d %H:%M:%S}",
            letter.sqlstate,
            letter.cause,
        )
    console.print(table)
    console.print(
        f"{len(letters):,} ends of attempts wait. Mend the cause, then: "
        "omni-grpc reconcile replay --all"
    )


def run_replay(place: Place, number: int | None, *, everything: bool, as_json: bool) -> None:
    """Sends dead letters again, and exits 1 where one is refused still."""
    if (number is None) != everything:
        raise CommandError("Name a dead letter by its number, or give --all.")

    async def work(_: Settings, rooms: Rooms) -> list[tuple[DeadLetter, str, bool]]:
        letters = [one async for one in _letters(rooms) if number in (None, one.id)]
        if number is not None and not letters:
            raise CommandError(
                f"There is no dead letter {number}: it was never there, or was replayed; "
                "`omni-grpc reconcile dead-letters` lists them."
            )
        return [(letter, *await _replay(rooms, letter)) for letter in letters]

    replayed = work_in(place, work)
    if as_json:
        print_json(
            [
                _facts(letter) | {"applied": is_applied, "outcome": words}
                for letter, words, is_applied in replayed
            ]
        )
    elif not replayed:
        console.print("There is no dead letter.")
    for letter, words, is_applied in () if as_json else replayed:
        mark = "[green]✓[/]" if is_applied else "[bold red]✗[/]"
        console.print(f"{mark} {letter.id} {letter.target}: ", end="")
        console.print(words, markup=False)
    if not all(is_applied for _, _, is_applied in replayed):
        raise typer.Exit(1)


async def _replay(rooms: Rooms, letter: DeadLetter) -> tuple[str, bool]:
    try:
        outcome = await rooms.ledger.replay(letter)
    except msgspec.MsgspecError as error:
        words = f"it cannot be read ({error}); end its attempt with `reconcile settle`, `void` "
        return f"{words}or `write-off` instead", False
    except Internal:
        return f"the database refuses it still, as before: {letter.cause}", False
    return outcome.code.name.lower(), True


async def _letters(rooms: Rooms) -> AsyncIterator[DeadLetter]:
    after = 0
    while page := await rooms.ledger.dead_letters(after, PAGE_ROWS):
        for letter in page:
            yield letter
        after = page[-1].id


def _facts(letter: DeadLetter) -> dict[str, Any]:  # as it goes into JSON
    return {
        "number": letter.id,
        "attempt": str(letter.target),
        "sqlstate": letter.sqlstate,
        "cause": letter.cause,
        "create_time": letter.create_time,
        "operation": letter.operation,
    }
