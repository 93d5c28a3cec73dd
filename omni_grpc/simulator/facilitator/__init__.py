"""An x402 facilitator on a real socket, for payments in USDC on a Solana chain in memory.

It checks and settles with the SDK's own facilitator, versions 1 and 2, and plays the accidents
that facilitators have. It knows nothing of the gateway, keeps nothing on disk, and has no key that
is worth anything.
"""

from omni_grpc.simulator.facilitator.accidents import Accident
from omni_grpc.simulator.facilitator.server import NETWORKS, Facilitator

__all__ = ("NETWORKS", "Accident", "Facilitator")
