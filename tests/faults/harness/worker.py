"""A process that performs histories in worlds of its own: told seeds, it answers with JSON."""

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from typing import Any

import structlog

from harness.director import Director, Performance
from harness.history import History
from harness.kinds import KINDS
from harness.old_world import OldWorld, repository
from harness.registry import history_of
from harness.shrink import shrink
from harness.totals import Totals, say
from harness.world import World

SEEDS_PER_WORLD = 250
"""Books are read whole after each history, so they must not grow for ever."""

SHRINK_SECONDS_MAX = 120.0


def be_quiet() -> None:
    """The harness's own rooms are the service's code, and need not tell of every kill."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)


def is_old(history: History) -> bool:
    """Whether it begins with the version of the service before."""
    return any(KINDS[number].world == "old" for number in history.kinds)


def world_of(history: History) -> World:
    """A world, not begun yet, in which a history can be performed."""
    return OldWorld() if is_old(history) else World()


def totals_of(found: Performance, server_kills: int, postgres_kills: int) -> Totals:
    return Totals(
        seeds=1,
        calls=found.calls,
        server_kills=server_kills,
        postgres_kills=postgres_kills,
        seconds=found.seconds,
        seeds_by_kind=Counter(found.history.kinds),
        overlaps=found.overlaps,
    )


class Worker:
    """Performs what it is told, world after world."""

    def __init__(self, only: int | None) -> None:
        self._only = only
        self._world: World | None = None
        self._director: Director | None = None
        self._performed = 0

    async def perform(self, seed: int) -> dict[str, Any]:
        """Performs a seed's history, and the shortest that shows what it showed."""
        history = history_of(seed, self._only)
        if is_old(history) and repository() is None:
            history = History(seed, ())  # there is no old version here: nothing is performed
        if is_old(history):
            async with world_of(history) as world:
                return await self._perform(Director(world), history)
        answer = await self._perform(await self._ready(), history)
        self._performed += 1
        return answer

    async def _perform(self, director: Director, history: History) -> dict[str, Any]:
        world, seed = director.world, history.seed
        kills = world.deaths, world.postgres.kills
        found = await director.perform(history)
        server_kills, postgres_kills = world.deaths - kills[0], world.postgres.kills - kills[1]
        answer: dict[str, Any] = {
            "seed": seed,
            "kinds": history.kinds,
            "totals": totals_of(found, server_kills, postgres_kills).to_json(),
            "failures": [],
        }
        late = found.late
        if is_old(history):
            late = late | await director.collect(all_of_them=not found.findings)
        elif self._performed >= SEEDS_PER_WORLD:
            late = late | await self.end()
        wrong = ({seed: found.findings} if found.findings else {}) | late
        if wrong:
            logs = [server.log_tail() for server in world.servers]
            await self.end(collect=False)
            for number, findings in wrong.items():
                answer["failures"].append(await self._explained(number, findings, logs))
        return answer

    async def end(self, *, collect: bool = True) -> dict[int, list[str]]:
        """Closes the world; what is wrong with its last histories, by seed."""
        if self._director is None or self._world is None:
            return {}
        try:
            return await self._director.collect(all_of_them=True) if collect else {}
        finally:
            await self._world.__aexit__()
            self._director = self._world = None
            self._performed = 0

    async def finish(self) -> dict[str, Any]:
        """Ends, and explains what was still wrong."""
        wrong = await self.end()
        return {"failures": [await self._explained(*one, logs=[]) for one in wrong.items()]}

    async def _ready(self) -> Director:
        if self._director is None:
            self._world = World()
            await self._world.__aenter__()
            self._director = Director(self._world)
        return self._director

    async def _explained(self, seed: int, findings: list[str], logs: list[str]) -> dict[str, Any]:
        """A failure, with the shortest history that shows it in a world of its own."""
        history = history_of(seed, self._only)

        async def fails(candidate: History) -> list[str]:
            async with world_of(history) as world:
                director = Director(world)
                found = await director.perform(candidate)
                late = await director.collect(all_of_them=not found.findings)
                return found.findings or [text for texts in late.values() for text in texts]

        def report(text: str) -> None:
            say(f"  seed {seed}: {text}", sys.stderr)

        report(f"shrinking, since {findings[0]}")
        shortest, shown = await shrink(history, fails, SHRINK_SECONDS_MAX, report)
        return {
            "seed": seed,
            "findings": findings,
            "history": str(history),
            "shortest": str(shortest) if shown else "",
            "shown": shown,
            "logs": logs,
        }


async def run(only: int | None) -> None:
    """Answers a line for each line of standard input, which holds a seed."""
    be_quiet()
    worker = Worker(only)
    loop = asyncio.get_running_loop()
    try:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            began = time.monotonic()
            answer = await worker.perform(int(line))
            answer["seconds"] = time.monotonic() - began
            say(json.dumps(answer))
        say(json.dumps(await worker.finish()))
    finally:
        await worker.end(collect=False)
