"""`make faults` and `make soak`: the fault harness from the command line."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

# Nothing that holds a gRPC object forks here; its handlers for forks only make noise.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

FOLDER = Path(__file__).parents[2] / ".faults"


async def soaked(minutes: float, clients: int, seed: int) -> bool:
    from harness.soak import Soak
    from harness.totals import write
    from harness.worker import be_quiet
    from harness.world import World

    be_quiet()
    async with World() as world:
        soak = Soak(world, clients, 60 * minutes, seed)
        is_right = await soak.run()
        write(FOLDER / "soak.json", soak.to_json())
        return is_right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    seeds = commands.add_parser("seeds", help="perform the histories of many seeds")
    seeds.add_argument("--count", type=int, default=1000)
    seeds.add_argument("--first", type=int, default=1)
    seeds.add_argument("--jobs", type=int, default=max(1, len(os.sched_getaffinity(0))))
    seeds.add_argument("--go-on", action="store_true", help="do not stop at a violation")
    soak = commands.add_parser("soak", help="minutes of traffic under kills")
    soak.add_argument("--minutes", type=float, default=10)
    soak.add_argument("--clients", type=int, default=64)
    soak.add_argument("--seed", type=int, default=1)
    worker = commands.add_parser("worker", help="performs seeds from standard input")
    for command in (seeds, worker):
        command.add_argument("--kind", type=int, default=None)
    given = parser.parse_args()
    if given.command == "worker":
        from harness import worker as work

        asyncio.run(work.run(given.kind))
        return 0
    if given.command == "soak":
        return 0 if asyncio.run(soaked(given.minutes, given.clients, given.seed)) else 1
    from harness.runner import Run

    run = Run(given.count, given.first, given.kind, given.jobs, FOLDER, given.go_on)
    return 0 if asyncio.run(run.perform()) else 1


if __name__ == "__main__":
    sys.exit(main())
