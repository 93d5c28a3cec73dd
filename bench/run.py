"""`make bench`: measures the service on this machine, against a provider that costs nothing.

Everything runs here: PostgreSQL with fsync on, the provider, the service with one worker, and the
callers, so the figures are those of a machine that does all of it. `--quick` takes about a minute
and is for seeing whether something broke; `bench/peers.py` compares with other gateways.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import report
import structlog
from machine import describe
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from scenarios import FULL, QUICK, TRIES, Plan, Runner
from service import Bench, Target

PARTS: Final = ("direct", "calls", "ledger", "mix", "live", "memory")


def main() -> None:
    """The script."""
    options = _options()
    plan = QUICK if options.quick else FULL
    parts = options.only or [part for part in PARTS if part != "memory" or plan.memory_calls]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = report.console()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with progress:
        shown = progress.add_task("starting PostgreSQL and the provider", total=_steps(parts, plan))

        def tell(what: str) -> None:
            progress.update(shown, description=what, advance=1)

        with Bench() as bench:
            machine = describe(bench.folder, bench.postgres_version)
            runner = Runner(bench, plan, tell)
            progress.update(shown, description="starting the service")
            service = bench.serve()
            for part in parts:
                _work(runner, service)[part]()
            runner.books()
    results = runner.results
    report.show(console, machine, results)
    if options.json is not None:
        options.json.write_bytes(report.as_json(machine, results))
        console.print(f"All figures: {options.json}")
    sys.exit(1 if results.books else 0)


def _work(runner: Runner, service: Target) -> dict[str, Callable[[], None]]:
    def live() -> None:
        runner.live(service, "rest")
        runner.live(service, "grpc")

    return {
        "direct": runner.direct,
        "calls": lambda: runner.calls(service),
        "ledger": lambda: runner.ledger(service),
        "mix": lambda: runner.mix(service),
        "live": live,
        "memory": runner.memory,
    }


def _steps(parts: list[str], plan: Plan) -> int:
    """How many measurements there will be, at most."""
    steps = {
        "direct": 2 * len(plan.callers),
        "calls": 4 * len(plan.callers),
        "ledger": 6 * plan.ledger_rounds,
        "mix": 9,
        "live": 2 * TRIES * plan.live_steps,
        "memory": 6,
    }
    return 1 + sum(steps[part] for part in parts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="measure this part; may be repeated"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
