"""The process that starts services, commands and PostgreSQL for tests, and ends them with itself.

It has imported the whole service and made nothing of it: no thread, no loop, no gRPC object. A
server or a command is a fork of it that runs `omni-grpc` from its first line on and ends as an
interpreter does, so that a start costs a tenth of a second and not a whole one, and thousands of
kills are cheap. Workers of a service of several are spawned by it, as everywhere. (PostgreSQL is
started here too, since a process with gRPC objects does not survive a fork.)

It reads one JSON command a line, and answers each with a line; tests speak to it by nursed.py, the
fault harness by its servers.py.
"""

import contextlib
import ctypes
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from omni_grpc.storage import EmbeddedPostgres
from omni_grpc.storage.errors import EmbeddedPostgresError

Json = dict[str, Any]  # a command or an answer
PR_SET_PDEATHSIG = 1


class Born(BaseException):
    """Raised in a fork, where nothing of the nursery's own may run any more."""


def die_with_parent() -> None:
    """Whatever becomes of the nursery, no server outlives it. Linux alone knows this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Nursery:
    """Carries out commands, one at a time."""

    def __init__(self) -> None:
        self._postgres: dict[str, EmbeddedPostgres] = {}
        self._running: set[int] = set()
        self._codes: dict[int, int] = {}

    def obey(self, command: Json) -> Json:
        """Carries out one command.

        Raises:
            Born: this is the process that the command asked for.
            EmbeddedPostgresError, OSError: it cannot be done.
        """
        self._reap()
        match command["do"]:
            case "run":
                pid = _spawn(command) if command["exec"] else _fork()
                self._codes.pop(pid, None)
                self._running.add(pid)
                return {"pid": pid}
            case "poll":
                return {"code": self._codes.get(command["pid"])}
            case "start_postgres":
                folder = command["folder"]
                server = self._postgres.setdefault(
                    folder, EmbeddedPostgres(Path(folder), settings=command["settings"])
                )
                server.start()
                return {}
        raise ValueError(f"unknown command {command}")

    def end(self) -> None:
        """Ends everything that was started here."""
        self._reap()
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for server in self._postgres.values():
            with contextlib.suppress(EmbeddedPostgresError):
                server.stop()

    def _reap(self) -> None:
        """Learns how those ended that have; a code is negative for a signal, as Popen's is."""
        for pid in tuple(self._running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._running.discard(pid)
                self._codes[pid] = os.waitstatus_to_exitcode(status)


def _fork() -> int:
    threads = len(list(Path("/proc/self/task").iterdir())) if Path("/proc").exists() else 1
    assert threads == 1, "a process with threads must not fork"
    if pid := os.fork():
        return pid
    raise Born


def _spawn(command: Json) -> int:
    with Path(command["out"]).open("ab") as out, Path(command["err"]).open("ab") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "omni_grpc", *command["arguments"]],
            env=command["environment"],
            cwd=command["folder"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has no threads
        )
    process.returncode = 0  # reaped here, by its pid
    return process.pid


def become(command: Json) -> None:
    """Makes of a fork the process that was asked for, and runs its command to its end."""
    os.setsid()
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kinds = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(command[name], kinds, 0o600) for name in ("out", "err")]
    for place, descriptor in enumerate(opened):
        os.dup2(descriptor, place)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    sys.argv = ["omni-grpc", *command["arguments"]]
    # What it spawns begins as beside `python -m omni_grpc`, and not with this file.
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("omni_grpc.__main__")
    from omni_grpc.cli import main

    main()


def import_service() -> None:
    """Imports what a server imports when it starts."""
    import omni_grpc.cli
    import omni_grpc.cli.serve
    import omni_grpc.providers
    import omni_grpc.wiring.worker

    del omni_grpc
    gc.collect()
    gc.freeze()


def run() -> Json | None:
    """Obeys until its standard input ends; returns, in a fork, the command that it is to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    words = os.dup(1)
    os.dup2(2, 1)  # what the service prints must not be taken for an answer
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # else numpy starts threads
    import_service()
    nursery = Nursery()
    with os.fdopen(words, "w", buffering=1) as answers:
        try:
            answers.write("{}\n")
            for line in sys.stdin:
                command: Json = json.loads(line)
                try:
                    answer = nursery.obey(command)
                except Born:
                    nursery = Nursery()  # what the other started is not its own
                    return command
                except (EmbeddedPostgresError, OSError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                answers.write(json.dumps(answer) + "\n")
        finally:
            nursery.end()
    return None


if __name__ == "__main__":
    if (asked := run()) is not None:
        become(asked)
