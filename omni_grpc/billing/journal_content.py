"""What a journal tells, read from its folder: how far each of its holds came."""

import contextlib
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Final as Constant

import msgspec

from omni_grpc.billing.journal_records import (
    Acknowledged,
    Dispatched,
    Ended,
    Opened,
    Progress,
    Record,
    Replayed,
    decode,
)
from omni_grpc.billing.legs import leg_costs
from omni_grpc.billing.operations import (
    POSTED,
    AttemptOutcome,
    ChatEnd,
    Final,
    FinalOp,
    Origin,
    RequestEnd,
)
from omni_grpc.core.ids import CallId, HoldId, call_id_of
from omni_grpc.core.money import charge
from omni_grpc.core.usage import UsageSource
from omni_grpc.storage import Damage, JournalFolder, SegmentReader, boot_id

_BITS_BELOW_TIME: Constant = 80
"""A hold's id begins with the milliseconds of its call's beginning (UUID version 7)."""


@dataclass(slots=True)
class Attempt:
    """What the journal knows of one hold."""

    dispatched: Dispatched | None = None
    progress: Progress | None = None
    final: FinalOp | None = None

    def end(self, hold_id: HoldId) -> FinalOp:
        """How the hold ends."""
        hold = self.dispatched.hold if self.dispatched else None
        if self.final is not None:
            return self.final if self.final.hold else replace(self.final, hold=hold)
        usage = self.progress.usage if self.progress else None
        end = FinalOp(
            id=hold_id,
            kind=Final.UNRESOLVED,
            origin=Origin.ROUTER,
            wallet=hold.wallet if hold else None,
            provider_ref=self.progress.provider_ref if self.progress else None,
            hold=hold,
        )
        if self.dispatched is None or usage is None:
            return end
        try:
            cost = charge(usage, self.dispatched.price, self.dispatched.hold.markup_ppm or 0)
        except ValueError:  # the price lacks a rate for what was counted
            return end
        return replace(
            end,
            kind=Final.SETTLE,
            cost=cost,
            leg_costs=leg_costs(hold, usage),
            outcome=AttemptOutcome.CANCELLED,
            usage=msgspec.structs.replace(usage, source=UsageSource.ESTIMATE),
        )


@dataclass(slots=True)
class JournalContent:
    """A journal as it was read."""

    damage: Damage
    attempts: dict[HoldId, Attempt] = field(default_factory=dict)
    """By the order in which they were dispatched; without those whose end was acknowledged, where
    that is believed."""
    opened: Opened | None = None
    since_ms: int | None = None
    """From when on it tells of every dispatch; None where that is not known."""
    last_acknowledged: FinalOp | None = None
    last_posted: HoldId | None = None
    """The last hold whose posting the database had acknowledged."""
    requests: dict[CallId, RequestEnd] = field(default_factory=dict)
    """Calls with a request id of which no end is written that says what became of it; each with
    the end that frees the request id where nothing was charged."""
    was_replayed: bool = False
    unreadable: int = 0

    @property
    def is_damaged(self) -> bool:
        """Whether a record may be missing."""
        return bool(self.damage) or self.unreadable > 0

    def was_never_dispatched(self, hold_id: HoldId) -> bool:
        """Whether the silence of the journal about a hold proves that no provider was called.

        It does not after a loss of power, which may have taken the last records; nor where a
        record is damaged, or where those of its time are deleted.
        """
        return (
            self.opened is not None
            and self.opened.boot_id == boot_id()
            and not self.is_damaged
            and self.since_ms is not None
            and hold_id.int >> _BITS_BELOW_TIME >= self.since_ms
        )

    def take(self, record: Record, *, believe: bool, only: Container[HoldId] | None) -> None:
        """Adds one record."""
        if isinstance(record, Opened):
            self.opened = self.opened or record
        elif isinstance(record, Replayed):
            self.was_replayed = True
        elif isinstance(record, Acknowledged):
            for hold_id in record if believe else ():
                attempt = self.attempts.pop(hold_id, None)
                # What it recovered for others may have been in the database for long.
                if attempt is not None and attempt.final is not None and attempt.dispatched:
                    self.last_acknowledged = attempt.end(hold_id)
                    if attempt.final.kind in POSTED:
                        self.last_posted = hold_id
        else:
            hold_id = _hold_id(record)
            self._note_request(record)
            if only is None or hold_id in only:
                attempt = self.attempts.setdefault(hold_id, Attempt())
                if isinstance(record, Ended):
                    attempt.final = record.op
                elif isinstance(record, Dispatched):
                    attempt.dispatched = record
                else:
                    attempt.progress = record

    def _note_request(self, record: Record) -> None:
        if isinstance(record, Dispatched) and record.hold.request is not None:
            request, call_id = record.hold.request, call_id_of(record.hold.id)
            self.requests[call_id] = RequestEnd(
                request.principal, request.request_id, call_id, ChatEnd.FREE
            )
        elif isinstance(record, Ended) and record.op.ends is not None:
            self.requests.pop(record.op.ends.call_id, None)


def read_journal(
    folder: JournalFolder, *, believe: bool, only: Container[HoldId] | None = None
) -> JournalContent:
    """Reads a journal; `believe` leaves out what it notes as acknowledged by the database."""
    segments = SegmentReader(folder)
    read = JournalContent(segments.damage)
    for number, content in enumerate(segments.records()):
        try:
            record = decode(content)
        except msgspec.MsgspecError:
            read.unreadable += 1
            continue
        if number == 0 and isinstance(record, Opened):
            read.since_ms = record.since_ms
        read.take(record, believe=believe, only=only)
    if believe and read.was_replayed:
        return read_journal(folder, believe=False, only=only)
    return read


def ledger_of(folder: JournalFolder) -> str | None:
    """Which ledger a journal is of; None where no record says it."""
    for content in SegmentReader(folder).records():
        with contextlib.suppress(msgspec.MsgspecError):
            record = decode(content)
            if isinstance(record, Opened):
                return record.ledger
    return None


def _hold_id(record: Dispatched | Progress | Ended) -> HoldId:
    if isinstance(record, Dispatched):
        return record.hold.id
    return record.hold_id if isinstance(record, Progress) else record.op.id
