"""A card processor on a real socket, which speaks Stripe's wire format and moves no money."""

from omni_grpc.simulator.stripe.server import StripeSimulator

__all__ = ["StripeSimulator"]
