"""`omni-grpc` as processes of this test run's nursery: real ones, without each one's imports.

A server or a command that is started here is a process of its own, with its own environment,
folder and streams, and ends with its true exit code. What is about starting itself or about another
interpreter is started by exec, without this.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

POLL_SECONDS = 0.005
STOP_SECONDS_MAX = 30.0


class Nursery:
    """This side of a nursery process, for threads; see nursery.py."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - kept until stop()
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            # The folder of that file is no place to import from.
            [sys.executable, "-P", str(Path(__file__).with_name("nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self._answer()

    def ask(self, do: str, **command: object) -> dict[str, Any]:
        """Has one command carried out.

        Raises:
            AssertionError: it could not be.
        """
        with self._turn:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._answer()
        assert "error" not in answer, answer["error"]
        return answer

    def stop(self) -> None:
        """Ends it, and with it all that it started."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=STOP_SECONDS_MAX)
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise AssertionError(f"the nursery ended: {self._log.read().decode(errors='replace')}")
        found: dict[str, Any] = json.loads(line)
        return found


_BEGINNING: Final = threading.Lock()


def nursery() -> Nursery:
    """The one of this process, which ends with it."""
    with _BEGINNING:  # the first threads to ask would make one each, and know but the last
        return _made()


@cache
def _made() -> Nursery:
    made = Nursery()
    atexit.register(made.stop)
    return made


@dataclass
class Process:
    """A process that the nursery started; it is asked as subprocess.Popen is."""

    args: tuple[str, ...]
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = nursery().ask("poll", pid=self.pid)["code"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end.

        Raises:
            subprocess.TimeoutExpired: it runs still, that many seconds later.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *words: str,
    environment: Mapping[str, str],
    folder: Path,
    out: Path,
    err: Path,
) -> Process:
    """Starts `omni-grpc` with these words; what it prints is added to the files."""
    answer = nursery().ask(
        "run",
        exec=False,
        arguments=words,
        environment=dict(environment),
        folder=str(folder),
        out=str(out),
        err=str(err),
    )
    return Process(words, answer["pid"])


def run(
    *words: str, environment: Mapping[str, str], folder: Path, timeout: float = 60.0
) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, with its output as text.

    Raises:
        subprocess.TimeoutExpired: it runs still, that many seconds later; it is killed.
    """
    with tempfile.TemporaryDirectory() as made:
        out, err = Path(made, "out"), Path(made, "err")
        process = start(*words, environment=environment, folder=folder, out=out, err=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())
