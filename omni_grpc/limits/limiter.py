"""Whether a call may begin: all limits that meet it have room, or none of them counts it.

This worker's own counts are always kept and asked first, so without Redis a limit holds in each
worker; with Redis it holds in all of them together. What a call did not use goes back where it was
taken from.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from omni_grpc.core.errors import RateLimited
from omni_grpc.core.ids import OrgId
from omni_grpc.core.tenancy import RateRule, model_matches
from omni_grpc.limits.local import LocalLimits
from omni_grpc.limits.model import (
    Answer,
    Claim,
    Kind,
    Standings,
    Verdict,
    claims_of,
    standings_of,
)
from omni_grpc.limits.shared import Return, SharedLimits


class Spent(NamedTuple):
    """The tokens that a finished attempt used."""

    model: str
    tokens: int


class LimitsObserver(Protocol):
    """Is told of each decision; the metrics are."""

    def limits_admitted(self) -> None:
        """A call that limits meet had room."""

    def limits_refused(self, kind: str) -> None:
        """A limit of this kind had none."""


class _Held(msgspec.Struct):
    """A claim that was counted, and in which buckets. `shared` is None where nobody knows."""

    claim: Claim
    local: int
    shared: int | None


class RateLimits:
    """Decides for all calls of a worker; `shared` counts for all workers, where Redis is set."""

    def __init__(
        self, local: LocalLimits, shared: SharedLimits | None, observer: LimitsObserver
    ) -> None:
        self.local = local
        self.shared = shared
        self.observer = observer

    def open(self, org_id: OrgId, rules: tuple[RateRule, ...], lease: str) -> "Admission":
        """The admission of one call, which nothing has counted yet.

        Args:
            org_id: whose call it is; all of its rules are of this organisation.
            rules: those that may meet it.
            lease: the call's own name, unlike that of any other call anywhere.
        """
        return Admission(self, org_id, rules, lease)


class Admission:
    """What one call is counted with. Its places end with `leave`, its tokens with `settle`."""

    __slots__ = ("_held", "_lease", "_limits", "_org_id", "rules", "standings")

    def __init__(
        self, limits: RateLimits, org_id: OrgId, rules: tuple[RateRule, ...], lease: str
    ) -> None:
        self.standings: Standings | None = None
        """How the limits stand since they were last asked; None if none met the call."""
        self._limits = limits
        self._org_id = org_id
        self.rules = rules
        self._lease = lease
        self._held: list[_Held] = []

    async def begin(self) -> None:
        """Counts the call and its place in the limits for all models, before its model is known.

        Raises:
            RateLimited: a limit has no room; nothing was counted.
        """
        await self._count(
            [
                claim
                for rule in self.rules
                if not rule.models
                for claim in claims_of(rule, 0)
                if claim.kind is not Kind.TOKENS
            ]
        )

    async def take(self, model: str, tokens: int, spent: Sequence[Spent] = ()) -> None:
        """Counts the call for an attempt at a model, with the most tokens that it may use.

        A limit that has counted the call for an earlier attempt counts no second request; of
        tokens it counts what this attempt may use beyond what is left of its reservation.

        Args:
            model: the offer's id.
            tokens: an upper bound of prompt and answer together.
            spent: what earlier attempts of the call used.

        Raises:
            RateLimited: a limit has no room; nothing was counted.
        """
        await self._count(self._claims(model, tokens, spent))

    async def _count(self, claims: list[Claim]) -> None:
        if not claims:
            return
        limits = self._limits
        verdict = limits.local.take(claims)
        if not verdict.admitted:
            raise self._refused(claims, verdict)
        bucket = None
        if limits.shared is not None:
            try:
                together = await limits.shared.take(self._org_id, claims, self._lease)
            except BaseException:
                self._undo(claims, verdict.bucket)
                raise
            if together is not None:
                if not together.admitted:
                    self._undo(claims, verdict.bucket)
                    raise self._refused(claims, together)
                bucket = together.bucket
                self.standings = standings_of(claims, together, self.standings)
        if bucket is None:
            self.standings = standings_of(claims, verdict, self.standings)
        self._held += [_Held(claim, verdict.bucket, bucket) for claim in claims]
        limits.observer.limits_admitted()

    def leave(self) -> None:
        """The call has ended: it runs no more. Its tokens stay counted until `settle`."""
        self._give_back((one, 1) for one in self._taken(Kind.CONCURRENT))

    def cancel(self) -> None:
        """Nothing came of the call: no limit had counted it."""
        self._give_back((one, 1) for one in self._taken(Kind.REQUESTS))

    def settle(self, spent: Sequence[Spent]) -> None:
        """All attempts have ended: what they did not use is given back where it was taken from.

        What they used beyond what was reserved, as some providers do, is counted too.
        """
        unused = {rule.id: self._reserved(rule.id) - _used(rule, spent) for rule in self.rules}
        returns: list[tuple[_Held, int]] = []
        for one in reversed(self._taken(Kind.TOKENS)):
            amount = min(unused[one.claim.rule_id], one.claim.amount)
            unused[one.claim.rule_id] -= amount
            if amount:
                returns.append((one, amount))
        self._give_back(returns)

    def _taken(self, kind: Kind) -> list[_Held]:
        """What is held of a kind, and is held no more."""
        taken = [one for one in self._held if one.claim.kind is kind]
        if taken:
            self._held = [one for one in self._held if one.claim.kind is not kind]
        return taken

    def _give_back(self, parts: Iterable[tuple[_Held, int]]) -> None:
        limits = self._limits
        returns: list[Return] = []
        for one, amount in parts:
            limits.local.give_back(one.claim, one.local, amount)
            if one.shared is not None:
                returns.append(Return(one.claim, one.shared, amount))
            elif one.claim.kind is Kind.CONCURRENT:  # its lease may be there all the same
                returns.append(Return(one.claim, 0, amount))
        if returns and limits.shared is not None:
            limits.shared.give_back(self._org_id, self._lease, returns)

    # --- claims -------------------------------------------------------------------------------
    def _claims(self, model: str, tokens: int, spent: Sequence[Spent]) -> list[Claim]:
        claims: list[Claim] = []
        for rule in self.rules:
            if not model_matches(rule.models, model):
                continue
            reserved = 0
            if any(one.claim.rule_id == rule.id for one in self._held):
                reserved = self._reserved(rule.id)
                more = _used(rule, spent) + tokens - reserved
                if rule.tokens_per_minute is None or more <= 0:
                    continue
                found: tuple[Claim, ...] = (
                    Claim(rule.id, rule.name, Kind.TOKENS, rule.tokens_per_minute, more),
                )
            else:
                found = claims_of(rule, tokens)
            if rule.tokens_per_minute is not None:
                self._check_size(rule.tokens_per_minute, reserved, found)
            claims += found
        return claims

    def _check_size(self, limit: int, reserved: int, claims: tuple[Claim, ...]) -> None:
        for claim in claims:
            if claim.kind is Kind.TOKENS and reserved + claim.amount > limit:
                self._limits.observer.limits_refused(claim.kind)
                raise _too_large(claim, reserved)

    def _reserved(self, rule_id: int) -> int:
        return sum(
            one.claim.amount
            for one in self._held
            if one.claim.rule_id == rule_id and one.claim.kind is Kind.TOKENS
        )

    def _undo(self, claims: list[Claim], bucket: int) -> None:
        for claim in claims:
            self._limits.local.give_back(claim, bucket, claim.amount)

    def _refused(self, claims: list[Claim], verdict: Verdict) -> RateLimited:
        self.standings = standings_of(claims, verdict, self.standings)
        claim, answer = max(
            zip(claims, verdict.answers, strict=True),
            key=lambda pair: -1.0 if pair[1].wait_s is None else pair[1].wait_s,
        )
        self._limits.observer.limits_refused(claim.kind)
        return _no_room(claim, answer)


def _used(rule: RateRule, spent: Sequence[Spent]) -> int:
    return sum(one.tokens for one in spent if model_matches(rule.models, one.model))


# --- in words ---------------------------------------------------------------------------------
def _no_room(claim: Claim, answer: Answer) -> RateLimited:
    wait_s = max(1, math.ceil(1000 * (answer.wait_s or 0.0))) / 1000  # never too early
    match claim.kind:
        case Kind.REQUESTS:
            unit = "request" if claim.limit == 1 else "requests"
            why = f"allows {claim.limit} {unit} in any 60 seconds, and that many began"
        case Kind.TOKENS:
            why = (
                f"allows {claim.limit} tokens in any 60 seconds; {answer.used} are used or "
                f"reserved, and this call may use {claim.amount} more"
            )
        case Kind.CONCURRENT:
            unit = "call" if claim.limit == 1 else "calls"
            why = f"allows {claim.limit} {unit} at once, and that many are running"
    when = (
        "Try again when one of them has ended"
        if claim.kind is Kind.CONCURRENT
        else f"It has room in {wait_s:.1f} s"
    )
    return RateLimited(
        f"The rate limit `{claim.name}` {why}. {when}.",
        retry_after_s=wait_s,
        metadata=_facts(claim, answer.used),
    )


def _too_large(claim: Claim, reserved: int) -> RateLimited:
    error = RateLimited(
        f"The rate limit `{claim.name}` allows {claim.limit} tokens in any 60 seconds, and this "
        f"call alone may use {reserved + claim.amount}: an upper bound of its prompt, and its "
        "output limit for each choice. Shorten the prompt, or set a lower "
        "`max_output_token_count`.",
        metadata=_facts(claim, reserved),
    )
    error.retryable = False
    return error


def _facts(claim: Claim, used: int) -> dict[str, str]:
    return {
        "rate_limit": claim.name,
        "kind": claim.kind.value,
        "limit": str(claim.limit),
        "used": str(used),
        "requested": str(claim.amount),
    }
