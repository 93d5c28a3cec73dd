"""Routing: which models can serve a request, and in which order to try them."""

from omni_grpc.routing.plan import Attempt, Baseline, Plan, RouteContext
from omni_grpc.routing.prompts import prompt_tokens, prompt_upper_bound
from omni_grpc.routing.router import AUTO, Router

__all__ = [
    "AUTO",
    "Attempt",
    "Baseline",
    "Plan",
    "RouteContext",
    "Router",
    "prompt_tokens",
    "prompt_upper_bound",
]
