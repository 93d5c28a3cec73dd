"""The CPU that the provider client takes for a plain call of OpenAI's dialect, beside another tree.

    git worktree add /tmp/before <commit>
    python bench/provider_call.py --against /tmp/before

The raw server of `mock_provider.py` answers at once; 16 callers ask, each call with what a request
asks of its provider looked at, as completion does. The trees take turns in processes of their own,
so that they share what else the machine does; the least and the median of all turns are told.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

TURNS: Final = 7
CALLERS: Final = 16
CALLS: Final = 100
ROUNDS: Final = 3
"""Of `CALLERS` times `CALLS` each, in one turn."""

GC_ALLOCATIONS: Final = 20_000
"""Between two collections, as in the service."""

HERE: Final = Path(__file__).resolve().parent


class Key:
    """A key that is no secret."""

    def get_secret_value(self) -> str:
        """The key."""
        return "k"


async def turn(port: int) -> list[float]:
    """The microseconds of CPU that a call took, one of each round."""
    from omni_grpc.core.chat import ChatRequest, Message
    from omni_grpc.providers import Providers, ProviderSettings, UpstreamCall, load_specs

    specs = tuple(spec for spec in load_specs() if spec.id == "sim")
    settings = {
        "sim": ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1", api_key=Key()),
    }
    providers = Providers(settings, specs=specs)
    await providers.open()
    gc.collect()
    gc.freeze()  # as the service does once it is up
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    provider = providers.get("sim")
    request = ChatRequest(model="sim/x", messages=(Message(role="user", content="w " * 375),))
    # A tree from before there were other dialects asks nothing of the kind.
    looks: tuple[Callable[..., object], ...] = tuple(
        getattr(provider, name) for name in ("refused", "fitted") if hasattr(provider, name)
    )

    async def one() -> None:
        asked = msgspec.structs.replace(request)  # no two requests are the same
        call = UpstreamCall(
            request=asked, model="x", output_tokens_max=100, call_id="c", seconds_left=60.0
        )
        if looks:
            looks[0](asked)
            looks[1](asked, reasons=True)
        await provider.complete(call, lambda: None)

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await one()

    await asyncio.gather(*(caller(CALLS // 2) for _ in range(CALLERS)))
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        await asyncio.gather(*(caller(CALLS) for _ in range(CALLERS)))
        found.append((time.process_time() - started) / (CALLERS * CALLS) * 1e6)
    await providers.close()
    return found


def measured(tree: Path, port: int) -> list[float]:
    """One turn of a tree."""
    ended = subprocess.run(
        [sys.executable, __file__, "--port", str(port)],
        env=os.environ | {"PYTHONPATH": str(tree)},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [float(text) for text in ended.stdout.split()]


def main() -> None:
    """Measures this tree, and the one that it is compared with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="another tree of this repository")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port is not None:
        import uvloop

        print(*uvloop.run(turn(options.port)))
        return
    trees = [HERE.parent, *([options.against.resolve()] if options.against else ())]
    found: dict[Path, list[float]] = {tree: [] for tree in trees}
    with subprocess.Popen(
        [sys.executable, str(HERE / "mock_provider.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            port = int(server.stdout.readline() if server.stdout else 0)
            for _ in range(TURNS):
                for tree in trees:
                    found[tree] += measured(tree, port)
        finally:
            server.terminate()
    for tree in trees:
        least, middle = min(found[tree]), statistics.median(found[tree])
        print(f"{tree}: {least:.1f} us least, {middle:.1f} us median of CPU a plain call")


if __name__ == "__main__":
    main()
