"""What a call's context says of limits and budgets: values that identity reads and others obey.

They are part of the caller's cached context (`identity.Principal`), so a change of one holds
everywhere within `KEY_CACHE_SECONDS_MAX`.
"""

from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec


class BudgetUnit(StrEnum):
    """What a budget counts."""

    NANOUSD = "nanousd"
    TOKENS = "tokens"


class BudgetRef(msgspec.Struct, frozen=True):
    """A budget that a call must fit into. The window is chosen by the database, at the hold."""

    id: int
    """Its own, which no account has: they count with one sequence."""
    unit: BudgetUnit


class RateRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit that may meet a call. What is None is not limited."""

    id: int
    name: str
    """`{parent}/rateLimits/{rate_limit}`."""
    models: tuple[str, ...] = ()
    """Ids or `provider/*`; all if empty."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


def model_matches(patterns: tuple[str, ...], model: str) -> bool:
    """Whether an offer's id, `provider/model`, is one of a list of ids and of `provider/*`.

    An id without a provider is that model at any provider. The empty list has every model.
    """
    return not patterns or any(
        model == pattern
        or (pattern.endswith("/*") and fnmatchcase(model, pattern))
        or ("/" not in pattern and model.partition("/")[2] == pattern)
        for pattern in patterns
    )
