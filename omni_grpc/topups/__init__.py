"""Credits that are bought: by wallet over x402, by card over Stripe.

A method of payment says what a payer needs and what became of a payment; the rest is the same for
all of them and stands in `top_ups`.
"""

from omni_grpc.topups.auto_store import AutoStore
from omni_grpc.topups.card_desk import CardDesk
from omni_grpc.topups.decisions import Decisions
from omni_grpc.topups.model import (
    AutoTopUp,
    Fate,
    Method,
    Opened,
    Paid,
    Presented,
    Refused,
    State,
    TopUp,
    Unknown,
    Unpaid,
)
from omni_grpc.topups.payment_method import PaymentMethod, SignedMethod
from omni_grpc.topups.store import TopUpStore
from omni_grpc.topups.top_ups import TopUps, pending_error
from omni_grpc.topups.wallet_desk import WalletDesk

__all__ = [
    "AutoStore",
    "AutoTopUp",
    "CardDesk",
    "Decisions",
    "Fate",
    "Method",
    "Opened",
    "Paid",
    "PaymentMethod",
    "Presented",
    "Refused",
    "SignedMethod",
    "State",
    "TopUp",
    "TopUpStore",
    "TopUps",
    "Unknown",
    "Unpaid",
    "WalletDesk",
    "pending_error",
]
