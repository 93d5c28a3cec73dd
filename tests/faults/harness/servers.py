"""A replica of the service: a slot with its own proxy, and the processes that filled it in turn."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.proxy import DatabaseProxy

KEY_HASH_SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
LINE_BYTES_MAX = 1 << 20


class NurseryError(Exception):
    """A command could not be carried out; the message says why."""


class Nursery:
    """This side of a nursery process; see e2e/nursery.py."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder of that file is no place to import from
                str(Path(__file__).parents[2] / "e2e" / "nursery.py"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LINE_BYTES_MAX,
                start_new_session=True,
            )
        await self._answer()

    async def ask(self, do: str, **command: object) -> dict[str, Any]:
        """Has one command carried out.

        Raises:
            NurseryError: it could not be.
        """
        async with self._turn:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
            answer = await self._answer()
        if "error" in answer:
            raise NurseryError(answer["error"])
        return answer

    async def stop(self) -> None:
        """Ends it, and with it all that it started."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS_MAX)

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise NurseryError(f"the nursery ended: {self._log.read_text(errors='replace')}")
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass(eq=False)
class Life:
    """One process of a slot. Times are monotonic."""

    pid: int
    grpc: str
    rest: str
    started_s: float
    workers: tuple[int, ...] = ()
    """The processes of its workers, where it has several."""
    killed_s: float | None = None

    @property
    def alive(self) -> bool:
        return self.killed_s is None

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal to the process and its workers; whether it was there."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def thaw(self) -> bool:
        return self.signal(signal.SIGCONT)


async def stopped(life: Life) -> None:
    """Stops a process as an operator does, and waits for its drain.

    Raises:
        NurseryError: it does not stop.
    """
    if not life.alive:
        return
    os.kill(life.pid, signal.SIGTERM)
    if not await ended(life.pid, STOP_SECONDS_MAX):
        raise NurseryError(f"process {life.pid} does not stop")
    life.killed_s = time.monotonic()


@dataclass(eq=False)
class Server:
    """A slot for one service; `life` is its process."""

    number: int
    nursery: Nursery
    proxy: DatabaseProxy
    folder: Path
    environment: Mapping[str, str]
    workers: int = 1
    code: Path | None = None
    """The folder of another version of the service; None for the one under test."""
    lives: list[Life] = field(default_factory=list)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def alive(self) -> bool:
        return bool(self.lives) and self.life.alive

    @property
    def log_path(self) -> Path:
        return self.folder / f"server-{self.number}.log"

    async def start(self, **environment: str) -> Life:
        """Starts a process in the slot and waits until it listens.

        Raises:
            NurseryError: it did not come up.
        """
        ready = self.folder / f"ready-{self.number}-{len(self.lives)}.json"
        arguments = ["serve", "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"]
        arguments += ["--workers", str(self.workers), "--ready-file", str(ready)]
        url = f"postgresql://omni@127.0.0.1:{self.proxy.port}/omni?sslmode=disable"
        told = {**self.environment, "DATABASE_URL": url + "&gssencmode=disable", **environment}
        if self.code is not None:
            told["PYTHONPATH"] = str(self.code)
        answer = await self.nursery.ask(
            "run",
            # What must be there before the first import needs a new interpreter.
            exec=self.workers > 1 or "PYTHONPATH" in told,
            arguments=arguments,
            environment=dict(os.environ) | told,
            folder=str(self.folder),
            out=str(self.log_path),
            err=str(self.log_path),
        )
        pid = int(answer["pid"])
        until = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            if time.monotonic() > until or not is_running(pid):
                raise NurseryError(f"serve did not come up: {self.log_tail()}")
            await asyncio.sleep(0.005)
        facts = json.loads(ready.read_text())
        ready.unlink()
        workers = _children(pid) if self.workers > 1 else ()
        self.lives.append(Life(pid, facts["grpc"], facts["rest"], time.monotonic(), workers))
        return self.life

    async def kill(self) -> bool:
        """kill -9 of the process and its workers; whether there was one."""
        if not self.alive:
            return False
        self.life.killed_s = time.monotonic()
        self.life.signal(signal.SIGKILL)
        for pid in (self.life.pid, *self.life.workers):
            await ended(pid)
        return True

    def runs(self) -> bool:
        """Whether its process is there."""
        return is_running(self.life.pid)

    def freeze(self) -> bool:
        """SIGSTOP of the process and its workers."""
        return self.alive and self.life.signal(signal.SIGSTOP)

    def thaw(self) -> bool:
        return self.alive and self.life.thaw()

    def log_tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-3_000:]


def _children(pid: int) -> tuple[int, ...]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return tuple(int(child) for child in listed.split())


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def ended(pid: int, seconds: float = 10.0) -> bool:
    """Waits until a process is gone; whether it went."""
    until = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.001)
    return True
