"""Runs thousands of seeds on a few processes, says how far it is, goes on where it stopped."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.totals import Totals, provenance, say, write

PROGRESS_SECONDS = 5.0
LINE_BYTES_MAX = 1 << 24


@dataclass(eq=False)
class Run:
    """Seeds from `first` on, `count` of them, of all kinds or of one."""

    count: int
    first: int
    only: int | None
    jobs: int
    folder: Path
    goes_on: bool = False
    """Whether a violation does not end the run."""
    totals: Totals = field(default_factory=Totals)
    done: set[int] = field(default_factory=set)
    failures: list[dict[str, Any]] = field(default_factory=list)
    _stopped: bool = False
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def state_path(self) -> Path:
        kinds = "all" if self.only is None else f"kind{self.only}"
        return self.folder / f"seeds-{self.first}-{self.count}-{kinds}.json"

    def resume(self) -> None:
        """Takes up what an earlier run of the same seeds left."""
        try:
            state = json.loads(self.state_path.read_text())
        except FileNotFoundError:
            return
        done = set(state["done"])
        if len(done) < self.count:
            self.done, self.totals = done, Totals.from_json(state)
            say(f"going on after {len(done)} of {self.count} seeds ({self.state_path})")

    def save(self) -> None:
        content = {**provenance(), "first": self.first, "count": self.count, "only": self.only}
        content |= self.totals.to_json() | {"done": sorted(self.done)}
        write(self.state_path, content)

    async def perform(self) -> bool:
        """Performs all that is left; whether nothing was found wrong."""
        self.resume()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        seeds = iter([s for s in range(self.first, self.first + self.count) if s not in self.done])
        progress = asyncio.create_task(self._progress())
        workers = [self._work(seeds) for _ in range(self.jobs)]
        try:
            await asyncio.gather(*workers)
        finally:
            progress.cancel()
            self.save()
        return self._judge()

    def _stop(self) -> None:
        say("stopping after the histories that run; the same command goes on from here")
        self._stopped = True

    async def _work(self, seeds: Iterator[int]) -> None:
        command = [sys.executable, sys.argv[0], "worker"]
        command += ["--kind", str(self.only)] if self.only is not None else []
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,  # Ctrl-C is for this process, which lets them finish
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for seed in seeds:
                if self._stopped or (self.failures and not self.goes_on):
                    break
                process.stdin.write(f"{seed}\n".encode())
                line = await process.stdout.readline()
                if not line:
                    raise RuntimeError(f"a worker ended in seed {seed}")
                self._take(json.loads(line))
            process.stdin.close()
            if line := await process.stdout.readline():
                self._fail(json.loads(line)["failures"])
            await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                await process.wait()

    def _take(self, answer: dict[str, Any]) -> None:
        self.totals.add(Totals.from_json(answer["totals"]))
        self.done.add(answer["seed"])
        self._fail(answer["failures"])

    def _fail(self, failures: list[dict[str, Any]]) -> None:
        for failure in failures:
            _tell(failure)
        self.failures += failures
        self.totals.violations += len(failures)
        self.done -= {failure["seed"] for failure in failures}

    async def _progress(self) -> None:
        before, last = len(self.done), 0
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if len(self.done) == last:
                continue  # a violation is being shrunk, or the last leases are waited for
            last = len(self.done)
            spent_s = time.monotonic() - self._began_s
            each_s = spent_s / max(1, len(self.done) - before)
            left_s = each_s * (self.count - len(self.done))
            totals = self.totals
            say(
                f"{len(self.done)}/{self.count} seeds, {len(totals.seeds_by_kind)} kinds, "
                f"{totals.calls} calls, {totals.server_kills} kills of a server, "
                f"{totals.postgres_kills} of PostgreSQL, {sum(totals.overlaps.values())} overlaps, "
                f"{totals.violations} violations; {each_s:.2f} s a seed, {left_s / 60:.0f} min left"
            )
            self.save()

    def _judge(self) -> bool:
        whole = len(self.done) == self.count
        missing = self.totals.missing() if whole else []
        for text in missing:
            say(f"NOT SEEN: {text}")
        write(self.folder / "faults.json", {**provenance(), **self.totals.to_json()})
        _table(self.totals)
        return not self.failures and not missing


def _tell(failure: dict[str, Any]) -> None:
    lines = [f"\nVIOLATION in seed {failure['seed']}:"]
    lines += [f"  - {text}" for text in failure["findings"]]
    if failure["shortest"]:
        lines += ["The shortest history that shows it:", failure["shortest"]]
        lines += [f"  - {text}" for text in failure["shown"]]
    else:
        lines += ["It did not repeat in a world of its own. The history:", failure["history"]]
        for number, log in enumerate(failure["logs"]):
            lines += [f"--- the end of server {number}'s log", log]
    say("\n".join(lines))


def _table(totals: Totals) -> None:
    told = totals.to_json()
    head = f"\n{told['seeds']} histories, {told['calls']} calls, {told['server_kills']} kills of a "
    head += f"server, {told['postgres_kills']} of PostgreSQL, {told['violations']} violations"
    lines = [head]
    for number, kind in told["kinds"].items():
        lines.append(f"{number:>3} {kind['name']}: {kind['histories']} histories")
        lines += [f"      {count:>7} {name}" for name, count in kind["overlaps"].items()]
    say("\n".join(lines))
