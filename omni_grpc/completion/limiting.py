"""The rate limits of one call, around its attempts.

A call counts once in each limit that meets it, when its first attempt at a model of that limit is
about to be held for. An attempt without room is left out; a call that has no other is refused. Its
places are free when it ends for its caller, its tokens when it is known what every attempt used.
"""

from types import TracebackType
from typing import Self

from omni_grpc.billing import AttemptCharge
from omni_grpc.completion.attempts import FailedAttempts, meter_of
from omni_grpc.completion.call import Call
from omni_grpc.completion.endings import Endings
from omni_grpc.core.errors import RateLimited
from omni_grpc.core.tenancy import RateRule, model_matches
from omni_grpc.limits import Admission, RateLimits, Spent


class CallLimits:
    """A call's limits, to be entered. Without `limits`, or rules of the caller's, all has room."""

    __slots__ = ("_admission", "_call", "_charges", "_endings", "_full", "_has_begun", "_refusal")

    def __init__(self, limits: RateLimits | None, call: Call, endings: Endings) -> None:
        self._call = call
        self._endings = endings
        self._charges: list[AttemptCharge] = []
        self._refusal: RateLimited | None = None
        self._has_begun = False
        self._full: list[RateRule] = []
        self._admission: Admission | None = None
        principal = call.principal
        if limits is not None and call.is_limited and principal and principal.rate_rules:
            self._admission = limits.open(principal.org_id, principal.rate_rules, call.name)

    async def begin(self) -> None:
        """Counts the call in the limits for all models, before anything is asked on its way.

        Raises:
            RateLimited: one of them has no room.
        """
        if self._admission is not None:
            try:
                await self._admission.begin()
            finally:
                self._call.limits = self._admission.standings

    async def has_room(self, model: str, tokens: int) -> bool:
        """Counts the call for an attempt; False where that must be left out.

        A limit that had no room is not asked again.

        Args:
            model: the offer's id.
            tokens: the most that the attempt may use, prompt and answer together.
        """
        admission = self._admission
        if admission is None:
            return True
        if any(model_matches(rule.models, model) for rule in self._full):
            return False
        try:
            await admission.take(model, tokens, self._spent())
        except RateLimited as refusal:
            self._refusal = self._refusal or refusal
            full = refusal.metadata["rate_limit"]
            self._full += [rule for rule in admission.rules if rule.name == full]
            return False
        finally:
            self._call.limits = admission.standings
        self._has_begun = True
        return True

    def began(self, charge: AttemptCharge) -> None:
        """An attempt has its hold."""
        if self._admission is not None:
            self._charges.append(charge)

    def error(self, failed: FailedAttempts) -> Exception:
        """Why the call has no answer: how its attempts failed, or that none had room."""
        return failed.error(self._call) if failed or not self._refusal else self._refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._admission is not None:
            self._admission.leave()
            if not self._has_begun:
                self._admission.cancel()
            self._settle()

    def _settle(self, _ended: object = None) -> None:
        """Gives unused tokens back, once no ending of the call runs any more."""
        running = self._endings.running(self._charges)
        if running:
            running[0].add_done_callback(self._settle)
            return
        # Of an attempt that nobody can tell about all that was reserved stays counted; one that
        # was never sent used nothing.
        unsent = sum(not one.final and not one.was_dispatched for one in self._charges)
        told = len(meter_of(self._call).attempts) if self._charges else 0
        if self._admission is not None and told + unsent >= len(self._charges):
            self._admission.settle(self._spent())

    def _spent(self) -> list[Spent]:
        return [
            Spent(one.model, (one.usage.prompt or 0) + (one.usage.completion or 0))
            for one in (meter_of(self._call).attempts if self._charges else ())
        ]
