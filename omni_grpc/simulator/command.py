"""`omni-grpc simulate`: the simulator by itself, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable

import msgspec

from omni_grpc.simulator.server import Simulator

__all__ = ("SimulatorOptions", "run")


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line decides. `port` 0 takes a free one; `key` None lets everyone in."""

    host: str = "127.0.0.1"
    port: int = 8089
    key: str | None = None
    quiet: bool = False


async def run(
    options: SimulatorOptions,
    say: Callable[[str], None] = print,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    `say` gets every line for people; `on_ready` gets the base URL once the socket listens.

    Raises:
        OSError: the address cannot be bound.
    """
    simulator = Simulator(key=options.key, on_line=None if options.quiet else say)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    base_url = await simulator.start(options.host, options.port)
    for sent in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sent, stopping.set)
    try:
        if not options.quiet:
            say(_welcome(base_url, simulator.origin, options.key is not None))
        if on_ready is not None:
            on_ready(base_url)
        await stopping.wait()
    finally:
        await simulator.stop()
        for sent in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sent)


def _welcome(base_url: str, origin: str, needs_key: bool) -> str:
    key = ' -H "authorization: Bearer $KEY"' if needs_key else ""
    body = '{"model":"sim/demo","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    return (
        f"The simulator answers at {base_url}; models: {base_url}/models, log: {origin}/sim/log\n"
        f"Try: curl -N {base_url}/chat/completions{key} -H 'content-type: application/json' "
        f"-d '{body}'"
    )
