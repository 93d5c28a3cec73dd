"""The charge of one attempt: its hold, until it is settled, voided or left as unresolved.

What the database cannot know yet when the worker dies stands in the journal before it matters: a
hold before its provider is called, an end before the caller hears of it.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING
from typing import Final as Constant

import structlog

from omni_grpc.billing.legs import leg_costs
from omni_grpc.billing.operations import (
    AttemptOutcome,
    Final,
    FinalOp,
    HoldOp,
    Origin,
    Outcome,
    RequestEnd,
)
from omni_grpc.billing.waits import within
from omni_grpc.core.chat import AttemptUsage
from omni_grpc.core.errors import Internal, LedgerUnavailable
from omni_grpc.core.limits import SETTLE_WAIT_SECONDS_MAX
from omni_grpc.core.money import NanoUsd, Price, charge
from omni_grpc.core.usage import Usage

if TYPE_CHECKING:
    from omni_grpc.billing.meter import Meter

log = structlog.get_logger(__name__)

PROVIDER_REF_CHARS_MAX: Constant = 128
"""Longest name of an answer that is kept; providers' own have about 40 characters."""

Sealer = Callable[[NanoUsd], RequestEnd | None]
"""Makes the end of a call's request from what its last attempt was charged."""


class _State(Enum):
    HELD = auto()
    DISPATCHED = auto()
    HANDED_OVER = auto()
    FINAL = auto()


class AttemptCharge:
    """The hold of one attempt, until it is final. Exactly one of its ends is called."""

    def __init__(
        self,
        meter: "Meter",
        hold: HoldOp,
        granted: NanoUsd,
        price: Price,
        markup_ppm: int,
        output_tokens_max: int,
    ) -> None:
        self.output_tokens_max = output_tokens_max
        """What the grant covers, for each choice: the limit to send to the provider."""
        self.model = hold.model or ""
        self.granted = granted
        """What is held."""
        self._meter = meter
        self._hold = hold
        self._hold_id = hold.id
        self._price = price
        self._markup_ppm = markup_ppm
        self._state = _State.HELD
        self.was_dispatched = False
        """Whether a byte of the request may have reached the provider."""
        self._provider_ref: str | None = None
        self._settled: asyncio.Future[Outcome] | None = None

    @property
    def final(self) -> bool:
        """Whether its end is stated."""
        return self._state is _State.FINAL

    def dispatched(self) -> None:
        """Called right before the first byte may reach the provider.

        Raises:
            LedgerUnavailable: the journal cannot be written; nothing may be sent.
        """
        if self.was_dispatched:
            return
        self._meter.journal.dispatched(self._hold, self.granted, self._price)
        self._state = _State.DISPATCHED
        self.was_dispatched = True

    def provider_id(self, text: str) -> None:
        """Called once, when the provider first named its answer: the name its own records have."""
        if text.isascii() and text.isprintable():
            self._provider_ref = text[:PROVIDER_REF_CHARS_MAX]
            # A provider that thinks for long names its answer long before anything of it comes.
            self._meter.journal.progress(self._hold_id, None, self._provider_ref)

    def progress(self, usage: Usage) -> None:
        """Called with the first of an answer and then at most once a second: usage so far."""
        self._meter.journal.progress(self._hold_id, usage, self._provider_ref)

    def cost(self, usage: Usage) -> NanoUsd:
        """What `usage` costs at this attempt's price, also above the hold."""
        return charge(usage, self._price, self._markup_ppm)

    def hand_over(self) -> None:
        """Says that a task which outlives the call will state its end."""
        self._state = _State.HANDED_OVER

    def settle(
        self, usage: Usage, outcome: AttemptOutcome, sealer: Sealer = lambda _charged: None
    ) -> NanoUsd:
        """Charges what `usage` costs; returns the charge, which is never above the hold.

        The operation is queued before this returns, so a cancelled caller cannot lose it.
        `sealer` makes what a repeat of the call's request is answered with.
        """
        cost = self.cost(usage)
        charged = NanoUsd(min(cost, self.granted))
        self._meter.note(self._usage(outcome, usage, charged))
        self._end(Final.SETTLE, outcome, usage, cost, sealer(charged))
        if cost > self.granted:
            log.warning(
                "cost_above_hold",
                hold_id=str(self._hold_id),
                model=self.model,
                held_nanousd=self.granted,
                cost_nanousd=cost,
            )
        return charged

    def void(self, outcome: AttemptOutcome) -> None:
        """Frees the hold: the attempt was never sent, or its provider charges nothing for it."""
        self._end(Final.VOID, outcome, None, 0)
        self._meter.note(self._usage(outcome, Usage(), NanoUsd(0)))

    def leave_unresolved(self) -> None:
        """Keeps the money reserved: nobody knows what the provider did."""
        self._end(Final.UNRESOLVED, None, None, 0)

    async def balance(self) -> int | None:
        """What the account can spend after the settle; None if the ledger is slow to say.

        The settle itself stays queued whatever becomes of the caller.
        """
        if self._settled is None or not self._meter.ledger_answers:
            return None
        try:
            outcome = await within(SETTLE_WAIT_SECONDS_MAX, self._settled)
        except (LedgerUnavailable, Internal):
            return None
        return outcome.available

    def close(self) -> None:
        """The gate's guarantee for an attempt whose end nobody stated."""
        if self._state is _State.HELD:
            self.void(AttemptOutcome.FAILED)
        elif self._state is _State.DISPATCHED:
            log.error("attempt_left_open", hold_id=str(self._hold_id), model=self.model)
            self.leave_unresolved()

    def _end(
        self,
        kind: Final,
        outcome: AttemptOutcome | None,
        usage: Usage | None,
        cost: int,
        ends: RequestEnd | None = None,
    ) -> None:
        if self._state is _State.FINAL:
            raise RuntimeError(f"hold {self._hold_id} is final already")
        self._state = _State.FINAL
        final = FinalOp(
            id=self._hold_id,
            kind=kind,
            origin=Origin.ROUTER,
            wallet=self._hold.wallet,
            cost=cost,
            leg_costs=leg_costs(self._hold, usage),
            outcome=outcome,
            usage=usage,
            provider_ref=self._provider_ref,
            hold=self._hold,
            ends=ends,
        )
        if self.was_dispatched:
            self._meter.journal.final(final)
        self._settled = self._meter.finish(final)

    def _usage(self, outcome: AttemptOutcome, usage: Usage, cost: NanoUsd) -> AttemptUsage:
        return AttemptUsage(
            model=self.model,
            outcome=outcome.name.lower(),
            usage=usage,
            cost_nanousd=cost,
            price_version=self._price.version,
        )
