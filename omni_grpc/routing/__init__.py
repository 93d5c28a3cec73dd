"""Routing: which models can serve a request, and in which order to try them."""

from omni_grpc.routing.breakers import BreakerState
from omni_grpc.routing.health import Health
from omni_grpc.routing.plan import Attempt, Baseline, Plan, RouteContext
from omni_grpc.routing.prompts import prompt_tokens, prompt_upper_bound
from omni_grpc.routing.router import AUTO, Router
from omni_grpc.routing.warmth import Warmth

__all__ = [
    "AUTO",
    "Attempt",
    "Baseline",
    "BreakerState",
    "Health",
    "Plan",
    "RouteContext",
    "Router",
    "Warmth",
    "prompt_tokens",
    "prompt_upper_bound",
]
