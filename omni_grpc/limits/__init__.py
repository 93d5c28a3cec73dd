"""Rate limits: requests and tokens a minute, and calls at once, in memory or in Redis."""

from omni_grpc.limits.headers import (
    ANTHROPIC_NAMES,
    OPENAI_NAMES,
    anthropic_headers,
    openai_headers,
)
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
from omni_grpc.limits.shared import RedisObserver, SharedLimits, redis_fault
from omni_grpc.limits.store import RateLimitStore

__all__ = [
    "ANTHROPIC_NAMES",
    "BUCKET_COUNT",
    "OPENAI_NAMES",
    "WINDOW_SECONDS",
    "Admission",
    "Claim",
    "Kind",
    "LimitsObserver",
    "LocalLimits",
    "RateLimitStore",
    "RateLimits",
    "RedisObserver",
    "SharedLimits",
    "Spent",
    "Standing",
    "Standings",
    "Verdict",
    "anthropic_headers",
    "openai_headers",
    "redis_fault",
]
