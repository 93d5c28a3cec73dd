"""One process of callers: each holds, settles, and begins again (see `ledger_work`).

Through the lane an operation counts when its outcome is there, which is after its commit. In one
transaction a step it counts when its COMMIT was answered.
"""

import asyncio
import contextlib
import logging
import resource
import sys
import tempfile
import time
from array import array
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

import msgspec
import psycopg
import structlog
import uvloop
from ledger_lane import Calls, Watch, running_lane
from ledger_steps import StepBooks
from ledger_work import Found, Work
from load import quantile

from omni_grpc.billing import CallJournal, Lane, NoJournal
from omni_grpc.billing.journal import Journal
from omni_grpc.billing.operations import Code
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import OmniError

REFUSED_PAUSE_S: Final = 0.002
"""A refused caller waits so long: it decides how finely the end of an outage is seen."""

ORPHAN_PAUSE_S: Final = 0.17
"""Between two orphans: their leases end in all parts of a reaper's round."""


class Counts:
    """What the callers of a process count."""

    def __init__(self) -> None:
        self.stopped = False
        self.measuring = False
        self.operations = 0
        self.charged = 0
        self.refused = 0
        self.hold_s = array("d")
        self.granted_after_cut: list[float] = []


async def call_lane(
    lane: Lane, journal: Journal, calls: Calls, counts: Counts, watch: Watch
) -> None:
    """One caller of the lane, whose provider answers at once. Each call stands in the journal."""
    while not counts.stopped:
        hold = calls.hold()
        began = time.perf_counter()
        try:
            granted = await lane.hold(hold)
        except OmniError:
            counts.refused += 1
            await asyncio.sleep(REFUSED_PAUSE_S)
            continue
        if granted.code is not Code.DONE:
            counts.refused += 1
            continue
        if counts.measuring:
            counts.hold_s.append(time.perf_counter() - began)
        if len(counts.granted_after_cut) < watch.cuts:
            counts.granted_after_cut.append(time.monotonic())
        counts.operations += 1
        journal.dispatched(hold, hold.amount_max, calls.price)
        settle = calls.settle(hold)
        journal.final(settle)
        settled = await lane.apply(settle)
        counts.operations += 1
        counts.charged += settled.amount or 0


async def call_steps(books: StepBooks, counts: Counts) -> None:
    """One connection that does one transaction a step."""
    while not counts.stopped:
        began = time.perf_counter()
        hold_id, wallet = await books.hold()
        if counts.measuring:
            counts.hold_s.append(time.perf_counter() - began)
        counts.operations += 1
        charged = await books.settle(hold_id, wallet)
        counts.charged += charged  # not in one line: += reads before it waits
        counts.operations += 1


async def orphans(work: Work) -> None:
    """Makes holds that nobody will end, and waits to be killed."""
    calls = Calls(work)
    async with running_lane(work.url, Watch(), NoJournal()) as lane:
        for _ in range(work.callers):
            await lane.hold(calls.hold())
            await asyncio.sleep(ORPHAN_PAUSE_S)
        print("held", flush=True)
        await asyncio.Event().wait()


async def measured(work: Work, counts: Counts, watch: Watch) -> Found:
    """Has the callers, which run already, warm up, measures them, and stops them."""
    await asyncio.sleep(work.warm_s)
    print("measuring", flush=True)
    before = (counts.operations, watch.batches, watch.batch_s, _cpu_s(), time.perf_counter())
    counts.measuring = True
    if work.seconds is None:
        await _line()
    else:
        await asyncio.sleep(work.seconds)
    counts.measuring = False
    after = (counts.operations, watch.batches, watch.batch_s, _cpu_s(), time.perf_counter())
    print("measured", flush=True)
    counts.stopped = True
    operations, batches, batch_s, cpu_s, seconds = (
        end - begin for begin, end in zip(before, after, strict=True)
    )
    times = sorted(counts.hold_s)
    return Found(
        operations=int(operations),
        seconds=seconds,
        charged_nanousd=0,
        refused=counts.refused,
        cpu_s=cpu_s,
        hold_p50_ms=1e3 * quantile(times, 0.5),
        hold_p99_ms=1e3 * quantile(times, 0.99),
        batches=int(batches),
        batch_s=batch_s,
    )


async def run(work: Work) -> None:
    """Connects, waits for the word, measures, and prints what was found."""
    counts, watch = Counts(), Watch()
    async with contextlib.AsyncExitStack() as stack:
        callers: list[Coroutine[None, None, None]] = []
        if work.way != "steps":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            journal, calls = CallJournal(Path(folder), SystemClock()), Calls(work)
            lane = await stack.enter_async_context(running_lane(work.url, watch, journal))
            callers += [call_lane(lane, journal, calls, counts, watch) for _ in range(work.callers)]
        for number in range(work.callers if work.way == "steps" else 0):
            connection = await psycopg.AsyncConnection.connect(work.url, prepare_threshold=0)
            await stack.enter_async_context(connection)
            callers.append(call_steps(StepBooks(connection, work, number), counts))
        print("ready", flush=True)
        await _line()
        running = asyncio.gather(*callers)
        measuring = asyncio.ensure_future(measured(work, counts, watch))
        # A caller that fails ends the run at once.
        await asyncio.wait((running, measuring), return_when=asyncio.FIRST_COMPLETED)
        if running.done() and not measuring.done():
            running.result()
        found = await measuring
        await running
    found = msgspec.structs.replace(
        found, charged_nanousd=counts.charged, granted_after_cut=counts.granted_after_cut
    )
    print(msgspec.json.encode(found).decode(), flush=True)


async def _line() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """The process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    work = msgspec.json.decode(sys.argv[1], type=Work)
    uvloop.run(orphans(work) if work.way == "orphans" else run(work))


if __name__ == "__main__":
    main()
