"""Writes what the ledger shows as messages of the billing contract."""

from datetime import datetime
from typing import Final

from google.protobuf import timestamp_pb2
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.billing import (
    AttemptRecord,
    Balance,
    EntryKind,
    Hold,
    HoldState,
    LedgerEntry,
    UnresolvedAttempt,
)
from omni_grpc.core.ids import attempt_of
from omni_grpc.core.usage import Usage, UsageSource

_ENTRY_KINDS: Final = {
    EntryKind.CHARGE: pb.LEDGER_ENTRY_KIND_CHARGE,
    EntryKind.GRANT: pb.LEDGER_ENTRY_KIND_GRANT,
    EntryKind.REFUND: pb.LEDGER_ENTRY_KIND_REFUND,
    EntryKind.EXPIRY: pb.LEDGER_ENTRY_KIND_EXPIRY,
    EntryKind.REVERSAL: pb.LEDGER_ENTRY_KIND_REVERSAL,
}
_HOLD_STATES: Final = {
    HoldState.OPEN: pb.HOLD_STATE_OPEN,
    HoldState.SETTLED: pb.HOLD_STATE_SETTLED,
    HoldState.VOIDED: pb.HOLD_STATE_VOIDED,
}
_NO_USAGE: Final = Usage()


def balance(account: str, found: Balance) -> pb.Balance:
    """A balance."""
    return pb.Balance(
        account=account,
        posted_nanousd=found.posted,
        held_nanousd=found.held,
        unresolved_nanousd=found.unresolved,
        available_nanousd=found.available,
        read_time=_timestamp(found.read_time),
    )


def entry(account: str, found: LedgerEntry) -> pb.LedgerEntry:
    """One change of a posted balance."""
    return pb.LedgerEntry(
        name=f"{account}/ledgerEntries/{found.position}",
        kind=_ENTRY_KINDS[found.kind],
        amount_nanousd=found.amount,
        balance_after_nanousd=found.balance_after,
        reference=found.reference_in(account),
        create_time=_timestamp(found.create_time),
    )


def hold(account: str, found: Hold) -> pb.Hold:
    """A hold of a team's own work."""
    return pb.Hold(
        name=f"{account}/holds/{found.id}",
        state=_HOLD_STATES[found.state],
        amount_nanousd=found.amount,
        settled_nanousd=found.settled,
        expire_time=_timestamp(found.expire_time),
    )


def attempt(found: AttemptRecord) -> pb.AttemptRecord:
    """What an attempt used and cost."""
    usage = found.usage or _NO_USAGE
    return pb.AttemptRecord(
        attempt_number=found.number,
        model=found.model,
        outcome=found.outcome,
        held_nanousd=found.held,
        cost_nanousd=found.cost,
        price_version=found.price_version,
        markup_ppm=found.markup_ppm,
        prompt_token_count=usage.prompt,
        cached_read_token_count=usage.cached_read,
        cached_write_token_count=usage.cached_write,
        prompt_audio_token_count=usage.prompt_audio,
        completion_token_count=usage.completion,
        reasoning_token_count=usage.reasoning,
        completion_audio_token_count=usage.completion_audio,
        estimated=usage.source is UsageSource.ESTIMATE,
        end_time=_timestamp(found.end_time),
        provider_ref=found.provider_ref or "",
        credential=found.credential or "",
        cached_write_1h_token_count=usage.cached_write_1h,
        prompt_image_token_count=usage.prompt_image,
        completion_image_token_count=usage.completion_image,
        image_count=usage.image,
        second_count=usage.second,
        character_count=usage.character,
    )


def unresolved(account: str, found: UnresolvedAttempt) -> pb.UnresolvedAttempt:
    """An attempt that waits to be resolved."""
    return pb.UnresolvedAttempt(
        name=f"{account}/unresolvedAttempts/{found.hold_id}",
        call_id=str(found.call_id),
        attempt_number=attempt_of(found.hold_id),
        model=found.model,
        held_nanousd=found.amount,
        price_version=found.price_version,
        markup_ppm=found.markup_ppm,
        provider_ref=found.provider_ref or "",
        worker=found.owner,
        credential=found.credential or "",
        lease_time=_timestamp(found.lease_until),
    )


def _timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    if moment is None:
        return None
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment)
    return found
