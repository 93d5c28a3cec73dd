"""The process that starts servers and PostgreSQL for the harness, and ends them when it ends.

It has imported the whole service and made nothing of it: no thread, no loop, no gRPC object. A
server is a fork of it that runs `omni-grpc serve` from its first line on, so that a start costs a
tenth of a second and not half of one, and thousands of kills are cheap. A service of several
workers is started by exec, as everywhere: workers are spawned, and would find this file as theirs.
(PostgreSQL is started here too, since a process with gRPC objects does not survive a fork.)

It reads one JSON command a line, and answers each with a line.
"""

import contextlib
import ctypes
import gc
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


def die_with_parent() -> None:
    """Whatever becomes of the nursery, no server outlives it. Linux alone knows this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Nursery:
    """Carries out commands, one at a time."""

    def __init__(self) -> None:
        self._postgres: dict[str, EmbeddedPostgres] = {}
        self._children: set[int] = set()

    def obey(self, command: Json) -> Json:
        """Carries out one command.

        Raises:
            EmbeddedPostgresError, OSError: it cannot be done.
        """
        self._reap()
        match command["do"]:
            case "serve":
                pid = self._spawn(command) if command["exec"] else self._fork(command)
                self._children.add(pid)
                return {"pid": pid}
            case "start_postgres":
                folder = command["folder"]
                server = self._postgres.setdefault(
                    folder, EmbeddedPostgres(Path(folder), settings=command["settings"])
                )
                server.start()
                return {}
            case "create_database":
                server = self._postgres[command["folder"]]
                return {"url": server.create_database(command["name"])}
        raise ValueError(f"unknown command {command}")

    def end(self) -> None:
        """Ends everything that was started here."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for server in self._postgres.values():
            with contextlib.suppress(EmbeddedPostgresError):
                server.stop()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self._children.discard(found)

    def _fork(self, command: Json) -> int:
        threads = len(list(Path("/proc/self/task").iterdir())) if Path("/proc").exists() else 1
        assert threads == 1, "a process with threads must not fork"
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            log = os.open(command["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.closerange(3, 64)
            os.environ.update(command["environment"])
            os.chdir(command["folder"])
            signal.set_wakeup_fd(-1)
            sys.argv = ["omni-grpc", *command["arguments"]]
            from omni_grpc.cli import main

            main()
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        except BaseException:  # noqa: BLE001 - the last words of a child
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)

    def _spawn(self, command: Json) -> int:
        with Path(command["log"]).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "omni_grpc", *command["arguments"]],
                env=os.environ | command["environment"],
                cwd=command["folder"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has no threads
            )
        process.returncode = 0  # reaped here, by its pid
        return process.pid


def import_service() -> None:
    """Imports what a server imports when it starts."""
    import omni_grpc.cli
    import omni_grpc.cli.serve
    import omni_grpc.providers
    import omni_grpc.wiring.worker

    del omni_grpc
    gc.collect()
    gc.freeze()


def run() -> None:
    """Obeys until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    words = os.dup(1)
    os.dup2(2, 1)  # what the service prints must not be taken for an answer
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # else numpy starts threads
    import_service()
    nursery = Nursery()
    try:
        with os.fdopen(words, "w", buffering=1) as answers:
            answers.write("{}\n")
            for line in sys.stdin:
                try:
                    answer = nursery.obey(json.loads(line))
                except (EmbeddedPostgresError, OSError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                answers.write(json.dumps(answer) + "\n")
    finally:
        nursery.end()


if __name__ == "__main__":
    run()
