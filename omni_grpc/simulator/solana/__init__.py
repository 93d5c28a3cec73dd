"""A Solana chain in memory, and the part of a node's JSON-RPC that payers and payees ask.

Transactions are real ones: decoded by the SDK, their signatures checked, each executed once.
"""

from omni_grpc.simulator.solana.chain import USDC_DECIMALS, Chain, Refused, Transfer
from omni_grpc.simulator.solana.rpc import RpcNode

__all__ = ("USDC_DECIMALS", "Chain", "Refused", "RpcNode", "Transfer")
