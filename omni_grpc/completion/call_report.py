"""The report of one call: what the ledger does not know of it, noted as the call goes.

It is a block around a call's attempts. However that ends, one row goes to the log of calls, which
writes it later: nothing here waits. A call that never had a hold leaves no row, so neither does the
repeat of one that is done.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from omni_grpc.billing.usage import CallLog, RoutedCall
from omni_grpc.completion.call import Call
from omni_grpc.completion.savings import savings_of
from omni_grpc.core.chat import Savings
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.usage import Usage
from omni_grpc.routing import Plan

_NO_TAGS: Final[Mapping[str, str]] = {}


class CallReport:
    """A call's report, until its block ends."""

    __slots__ = (
        "_asked", "_attempts", "_began_s", "_call", "_clock", "_end_user", "_first_s", "_log",
        "_model", "_savings", "_tags", "plan",
    )  # fmt: skip

    def __init__(
        self,
        log: CallLog | None,
        clock: Clock,
        call: Call,
        asked: str,
        tags: Mapping[str, str],
        end_user: str,
    ) -> None:
        self.plan: Plan | None = None
        """What routing decided, once it has."""
        self._log = log
        self._clock = clock
        self._call = call
        self._asked = asked
        self._tags = tags
        self._end_user = end_user
        self._began_s = clock.monotonic()
        self._first_s: float | None = None
        self._model = ""
        self._attempts = 0
        self._savings: Savings | None = None

    def tried(self, model: str) -> None:
        """An offer's attempt has its hold."""
        self._model = model
        self._attempts += 1

    def first_token(self) -> None:
        """The first of a streamed answer came."""
        self._first_s = self._clock.monotonic()

    def saved(self, usage: Usage, cost_nanousd: int, markup_ppm: int) -> Savings | None:
        """What the answer saved, as `savings_of`; asked again, the same."""
        if self._savings is None and self.plan is not None:
            self._savings = savings_of(self.plan, usage, cost_nanousd, markup_ppm)
        return self._savings

    def __enter__(self) -> Self:
        self._call.report = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._model and self._log is not None:
            self._log.add(self._row(error))

    def _row(self, error: BaseException | None) -> RoutedCall:
        call, plan = self._call, self.plan
        principal, meter = call.principal, call.meter
        if principal is None or meter is None:
            raise RuntimeError("an attempt had a hold without a principal and a meter")
        analysis = None if plan is None else plan.analysis
        premium = None if plan is None else plan.premium
        saved = self._savings if error is None else None
        began_s, first_s = self._began_s, self._first_s
        return RoutedCall(
            call.id,
            principal.account_id,
            principal.key_id,
            self._asked,
            self._model,
            "" if analysis is None else analysis.task.value,
            "" if analysis is None else analysis.complexity.value,
            "" if plan is None else plan.policy,
            "" if plan is None else plan.experiment,
            "" if plan is None else plan.arm,
            None if saved is None else saved.premium_model,
            None if saved is None or premium is None else premium.price.version,
            None if saved is None else saved.premium_nanousd,
            None if saved is None else saved.single_model or None,
            None if saved is None else saved.single_nanousd,
            None if saved is None else saved.saved_nanousd,
            meter.charged_nanousd,
            None if first_s is None else int((first_s - began_s) * 1e3),
            int((self._clock.monotonic() - began_s) * 1e3),
            _reason(call, error),
            self._attempts,
            self._tags,
            self._end_user,
        )


class CallReports:
    """Opens the reports of a worker's calls. Without a `log` none is kept."""

    def __init__(self, log: CallLog | None, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def open(
        self,
        call: Call,
        asked: str,
        *,
        tags: Mapping[str, str] = _NO_TAGS,
        end_user: str = "",
    ) -> CallReport:
        """The report of a call, to be entered.

        Args:
            call: which call.
            asked: the model that the request named.
            tags: what its caller attributes it to.
            end_user: for whom its caller made it.
        """
        return CallReport(self._log, self._clock, call, asked, tags, end_user)


def _reason(call: Call, error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, OmniError):
        return error.reason
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED" if call.cancelled_by is None else call.cancelled_by.reason
    return "INTERNAL"
