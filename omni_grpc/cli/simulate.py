"""`omni-grpc simulate`."""

import asyncio

from omni_grpc.cli.failures import CommandError
from omni_grpc.simulator import SimulatorOptions, run


def run_simulate(addr: str, key: str | None, *, quiet: bool) -> None:
    """Runs the simulator until it is told to stop."""
    host, colon, port = addr.rpartition(":")
    if not colon or not port.isdecimal():
        raise CommandError(f"--addr must be host:port, not {addr!r}.")
    asyncio.run(run(SimulatorOptions(host=host.strip("[]"), port=int(port), key=key, quiet=quiet)))
