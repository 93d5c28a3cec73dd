"""How a command fails: `Error: …`, a plain message, and exit code 1.

Of a fault that the API has too, its reason follows the message: `Error: … (NOT_FOUND)`. A known
fault never shows a traceback.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from omni_grpc.core.errors import OmniError
from omni_grpc.settings import SettingsError

_PIPE_CLOSED = 128 + signal.SIGPIPE

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandError(Exception):
    """A command cannot do its work; the message says why and what to do."""


@contextmanager
def told() -> Iterator[None]:
    """Tells known faults, and ends the command with 1; 130 after Ctrl-C, 141 where nobody reads."""
    from omni_grpc.catalog import OperatorFileError
    from omni_grpc.providers import ProvidersFileError
    from omni_grpc.storage import StorageError

    try:
        yield
    except SettingsError as error:
        raise _failed(f"The settings cannot be used:\n{error}") from None
    except OmniError as error:
        raise _failed(f"{error.message} ({error.reason})") from None
    except BrokenPipeError as error:
        if not _is_unread():  # it was a connection's
            raise _failed(str(error)) from None
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be written
        raise typer.Exit(_PIPE_CLOSED) from None
    except (CommandError, OperatorFileError, ProvidersFileError, StorageError, OSError) as error:
        raise _failed(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _is_unread() -> bool:
    """Whether who read standard output, such as `head`, had enough and is gone."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    return any(found & select.POLLERR for _, found in watch.poll(0))


def _failed(message: str) -> typer.Exit:
    errors.print("[bold red]Error:[/]", end=" ")
    errors.print(message, markup=False)
    return typer.Exit(1)
