"""`omni-grpc simulate`: the simulator by itself, until it is told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from omni_grpc.simulator.server import Simulator

if TYPE_CHECKING:  # the SDKs of x402 and Solana: only where payments are played
    from omni_grpc.simulator.facilitator import Facilitator

__all__ = ("SimulatorOptions", "run")

FIRST_UNITS: Final = 1_000_000_000
"""What a fresh wallet has, in units of USDC: a thousand dollars that are worth nothing."""


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line decides. `port` 0 takes a free one; `key` None lets everyone in.

    `payments` is where a facilitator listens; None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8089
    key: str | None = None
    quiet: bool = False
    payments: tuple[str, int] | None = None


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
    stopping_too = contextlib.AsyncExitStack()
    loop = asyncio.get_running_loop()
    base_url = await simulator.start(options.host, options.port)
    for sent in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sent, stopping.set)
    try:
        if not options.quiet:
            say(_welcome(base_url, simulator.origin, options.key is not None))
        if options.payments is not None:
            facilitator = await _facilitator(*options.payments)
            stopping_too.push_async_callback(facilitator.stop)
            if not options.quiet:
                say(_paid(facilitator))
        if on_ready is not None:
            on_ready(base_url)
        await stopping.wait()
    finally:
        await stopping_too.aclose()
        await simulator.stop()
        for sent in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sent)


async def _facilitator(host: str, port: int) -> "Facilitator":
    from omni_grpc.simulator.facilitator import Facilitator

    made = Facilitator(first_units=FIRST_UNITS)
    await made.start(host, port)
    return made


def _paid(facilitator: "Facilitator") -> str:
    return (
        f"A facilitator for {facilitator.network} answers at {facilitator.url}, its chain's node "
        f"at {facilitator.rpc_url}; every fresh wallet has {FIRST_UNITS // 10**6:,} USDC there."
    )


def _welcome(base_url: str, origin: str, needs_key: bool) -> str:
    key = ' -H "authorization: Bearer $KEY"' if needs_key else ""
    body = '{"model":"sim/demo","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    return (
        f"The simulator answers at {base_url}; models: {base_url}/models, log: {origin}/sim/log\n"
        f"Try: curl -N {base_url}/chat/completions{key} -H 'content-type: application/json' "
        f"-d '{body}'"
    )
