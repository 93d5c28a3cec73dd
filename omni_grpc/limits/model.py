"""The values of rate limits: what a call asks of a rule, and what it was told.

A rule that meets a call becomes up to three claims, one a kind. All claims of a call are granted
together, or none is counted.
"""

from enum import StrEnum
from typing import Final

import msgspec

from omni_grpc.core.tenancy import RateRule

WINDOW_SECONDS: Final = 60.0
"""What "a minute" is: any 60 seconds, wherever they begin."""

BUCKET_COUNT: Final = 60
"""Into so many parts a window is divided. A part counts until all of it is over, so a limit is
never exceeded, and room comes back at most a 60th of the window late."""


class Kind(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a call asks of one limit of a rule: so many more, or one more at once."""

    rule_id: int
    name: str
    """The rule's."""
    kind: Kind
    limit: int
    amount: int


class Standing(msgspec.Struct, frozen=True):
    """How a limit of requests or tokens stands. `reset_s` is when all of it is free again."""

    limit: int
    remaining: int
    reset_s: float


class Standings(msgspec.Struct, frozen=True):
    """Of the limits that met a call, those with the least room; None where none met it."""

    requests: Standing | None = None
    tokens: Standing | None = None


class Answer(msgspec.Struct, frozen=True):
    """What became of one claim.

    Attributes:
        used: what was counted before this claim.
        reset_s: when all of it is free again; 0 for calls at once.
        wait_s: when there is room for the claim; None if there is now.
    """

    used: int
    reset_s: float
    wait_s: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What became of all claims of a call: each one's answer, in order. `bucket` took them."""

    admitted: bool
    bucket: int
    answers: tuple[Answer, ...]


def claims_of(rule: RateRule, tokens: int) -> tuple[Claim, ...]:
    """What a call that may use so many tokens asks of a rule."""
    claims: tuple[Claim, ...] = ()
    if rule.requests_per_minute is not None:
        claims += (Claim(rule.id, rule.name, Kind.REQUESTS, rule.requests_per_minute, 1),)
    if rule.tokens_per_minute is not None:
        claims += (Claim(rule.id, rule.name, Kind.TOKENS, rule.tokens_per_minute, tokens),)
    if rule.concurrent is not None:
        claims += (Claim(rule.id, rule.name, Kind.CONCURRENT, rule.concurrent, 1),)
    return claims


def standings_of(claims: list[Claim], verdict: Verdict, before: Standings | None) -> Standings:
    """How the limits stand after a verdict; `before` is how those of earlier attempts stood."""
    least: dict[Kind, Standing] = {}
    if before is not None:
        if before.requests is not None:
            least[Kind.REQUESTS] = before.requests
        if before.tokens is not None:
            least[Kind.TOKENS] = before.tokens
    for claim, answer in zip(claims, verdict.answers, strict=True):
        if claim.kind is Kind.CONCURRENT:
            continue
        left = claim.limit - answer.used - (claim.amount if verdict.admitted else 0)
        known = least.get(claim.kind)
        if known is None or left < known.remaining:
            least[claim.kind] = Standing(claim.limit, max(0, left), answer.reset_s)
    return Standings(least.get(Kind.REQUESTS), least.get(Kind.TOKENS))
