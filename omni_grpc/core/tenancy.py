"""What a call's context says of limits and budgets: values that identity reads and others obey.

They are part of the caller's cached context (`identity.Principal`), so a change of one holds
everywhere within `KEY_CACHE_SECONDS_MAX`.
"""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from omni_grpc.core.errors import ModelNotAllowed


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


MODELS_SHOWN_MAX: Final = 8
"""Models of a key's list that a message names."""


def models_text(patterns: tuple[str, ...]) -> str:
    """The models that a key may call, in words."""
    more = len(patterns) - MODELS_SHOWN_MAX
    return ", ".join(patterns[:MODELS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def not_allowed(asked: str, patterns: tuple[str, ...]) -> ModelNotAllowed:
    """What is said of a model that a key's list does not have."""
    return ModelNotAllowed(
        f"This API key may not call {asked!r}: it may call {models_text(patterns)} alone. Name one "
        "of these, or use another key.",
        field="model",
        metadata={"models": ",".join(patterns[:MODELS_SHOWN_MAX])},
    )


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
