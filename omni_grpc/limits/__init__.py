"""Rate limits: requests and tokens a minute, and calls at once, in memory or in Redis."""

from omni_grpc.limits.limiter import Admission, LimitsObserver, RateLimits, Spent
from omni_grpc.limits.local import LocalLimits
from omni_grpc.limits.model import (
    BUCKET_COUNT,
    WINDOW_SECONDS,
    Claim,
    Kind,
    Standing,
    Standings,
    Verdict,
)
from omni_grpc.limits.shared import RedisObserver, SharedLimits

__all__ = [
    "BUCKET_COUNT",
    "WINDOW_SECONDS",
    "Admission",
    "Claim",
    "Kind",
    "LimitsObserver",
    "LocalLimits",
    "RateLimits",
    "RedisObserver",
    "SharedLimits",
    "Spent",
    "Standing",
    "Standings",
    "Verdict",
]
