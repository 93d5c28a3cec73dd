"""A provider on a real socket that answers without a model: deterministic, and faulty on request.

It speaks the wire format of OpenAI's chat completions, keeps an exact log of what it sent to
whom, and plays the accidents that providers have. It knows nothing of the gateway. Importing
this room, or its `models`, loads neither the HTTP server nor the tokenizer; those come with the
first use of `Simulator` or `run`.
"""

from typing import TYPE_CHECKING

from omni_grpc.simulator.models import (
    SIMULATED_MEDIA,
    SIMULATED_MODELS,
    SimulatedMedia,
    SimulatedModel,
)

if TYPE_CHECKING:
    from omni_grpc.simulator.command import SimulatorOptions, run
    from omni_grpc.simulator.log import CallRecord
    from omni_grpc.simulator.server import Simulator

__all__ = (
    "SIMULATED_MEDIA",
    "SIMULATED_MODELS",
    "CallRecord",
    "SimulatedMedia",
    "SimulatedModel",
    "Simulator",
    "SimulatorOptions",
    "run",
)

_HOMES = {
    "CallRecord": "log",
    "Simulator": "server",
    "SimulatorOptions": "command",
    "run": "command",
}


def __getattr__(name: str) -> object:
    """Load what needs the server only when it is asked for (PEP 562)."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
