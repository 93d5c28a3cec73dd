"""USDC on Solana over x402, in both of its versions: offered, checked, settled, looked for.

Importing this room loads the SDKs of x402 and of Solana, which takes a quarter of a second: only
a service that takes such payments does.
"""

from omni_grpc.topups.x402.facilitator import FacilitatorClient
from omni_grpc.topups.x402.method import X402Method
from omni_grpc.topups.x402.node import SolanaNode
from omni_grpc.topups.x402.quotes import Quotes
from omni_grpc.topups.x402.terms import Terms
from omni_grpc.topups.x402.wire import JsonService

__all__ = ["FacilitatorClient", "JsonService", "Quotes", "SolanaNode", "Terms", "X402Method"]
