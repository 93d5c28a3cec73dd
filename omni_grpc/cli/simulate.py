"""`omni-grpc simulate`."""

import asyncio

from omni_grpc.cli.failures import CommandError
from omni_grpc.simulator import SimulatorOptions, run


def run_simulate(addr: str, key: str | None, payments: str | None, *, quiet: bool) -> None:
    """Runs the simulator, and a facilitator beside it where one is wanted, until told to stop."""
    host, port = _address("--addr", addr)
    options = SimulatorOptions(
        host=host,
        port=port,
        key=key,
        quiet=quiet,
        payments=None if payments is None else _address("--payments", payments),
    )
    asyncio.run(run(options))


def _address(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise CommandError(f"{option} must be host:port, not {text!r}.")
    return host.strip("[]"), int(port)
