"""How a command fails: one plain message and exit code 1, never a traceback for a known fault."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from omni_grpc.core.errors import OmniError
from omni_grpc.settings import SettingsError

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandError(Exception):
    """A command cannot do its work; the message says why and what to do."""


@contextmanager
def told() -> Iterator[None]:
    """Tells known faults, and ends the command with 1 (130 after Ctrl-C)."""
    from omni_grpc.catalog import OperatorFileError
    from omni_grpc.providers import ProvidersFileError
    from omni_grpc.storage import StorageError

    try:
        yield
    except SettingsError as error:
        errors.print("[bold red]The settings cannot be used:[/]")
        errors.print(str(error), markup=False)
        raise typer.Exit(1) from None
    except OmniError as error:
        errors.print(f"[bold red]{error.reason}[/]", end=" ")
        errors.print(error.message, markup=False)
        raise typer.Exit(1) from None
    except (CommandError, OperatorFileError, ProvidersFileError, StorageError, OSError) as error:
        errors.print("[bold red]Error:[/]", end=" ")
        errors.print(str(error), markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
