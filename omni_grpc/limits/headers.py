"""How rate limits stand, in the headers that OpenAI's and Anthropic's clients know.

Of several limits that met a call those with the least room are told. "Reset" is when all of a limit
is free again if nothing more is asked.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from omni_grpc.limits.model import Standing, Standings

OPENAI_NAMES: Final = tuple(
    f"x-ratelimit-{what}-{kind}"
    for kind in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)
ANTHROPIC_NAMES: Final = tuple(
    f"anthropic-ratelimit-{kind}-{what}"
    for kind in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)

_SECONDS_OF_MINUTE: Final = 60


def openai_headers(standings: Standings) -> tuple[tuple[str, str], ...]:
    """`x-ratelimit-…`, with resets as `17ms`, `1.5s` or `1m0s` from now."""
    return _headers(OPENAI_NAMES, standings, lambda one: duration_text(one.reset_s))


def anthropic_headers(standings: Standings, now_s: float) -> tuple[tuple[str, str], ...]:
    """`anthropic-ratelimit-…`, with resets as times (RFC 3339). `now_s` is in Unix seconds."""

    def reset(one: Standing) -> str:
        return f"{datetime.fromtimestamp(math.ceil(now_s + one.reset_s), UTC):%Y-%m-%dT%H:%M:%SZ}"

    return _headers(ANTHROPIC_NAMES, standings, reset)


def duration_text(seconds: float) -> str:
    """A duration as OpenAI writes them, rounded up to milliseconds: `17ms`, `1.5s`, `6m0s`."""
    ms = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if 0 < ms < 1000:  # noqa: PLR2004 - a second
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, _SECONDS_OF_MINUTE * 1000)
    rest = f"{rest_ms / 1000:g}s"
    return f"{minutes}m{rest}" if minutes else rest


def _headers(
    names: tuple[str, ...], standings: Standings, reset: Callable[[Standing], str]
) -> tuple[tuple[str, str], ...]:
    found: tuple[tuple[str, str], ...] = ()
    for at, one in enumerate((standings.requests, standings.tokens)):
        if one is not None:
            values = (str(one.limit), str(one.remaining), reset(one))
            found += tuple(zip(names[3 * at :], values, strict=False))
    return found
