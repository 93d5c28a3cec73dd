"""The account: its balance, its ledger, and holds for work of one's own.

All amounts are integers of nano-dollars. Calls that move money carry a request id.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc_client.calls import (
    Call,
    Kind,
    Page,
    amount_of,
    count_of,
    new_request_id,
    resource,
    stamp_of,
    time_of,
    word_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account's credits at `read_time`.

    Attributes:
        account: `accounts/{account}`.
        posted_nanousd: credits received less credits charged.
        held_nanousd: set aside for work in progress.
        unresolved_nanousd: set aside for calls whose outcome is not known.
        available_nanousd: what can be spent: posted less held less unresolved.
        read_time: when the balance was read.
    """

    account: str
    posted_nanousd: int
    held_nanousd: int
    unresolved_nanousd: int
    available_nanousd: int
    read_time: datetime | None
    raw: pb.Balance = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One immutable change of an account's posted balance.

    Attributes:
        name: `accounts/{account}/ledgerEntries/{ledger_entry}`.
        kind: `grant`, `charge`, `refund`, `expiry` or `reversal`; more may come.
        amount_nanousd: the change; negative when spent or expired.
        balance_after_nanousd: the posted balance after it.
        reference: the call's id, the hold's name, or the reason of a grant or refund.
        create_time: when it was written.
    """

    name: str
    kind: str | None
    amount_nanousd: int
    balance_after_nanousd: int
    reference: str
    create_time: datetime | None
    raw: pb.LedgerEntry = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Credits set aside for work in progress.

    Attributes:
        name: `accounts/{account}/holds/{hold}`.
        state: `open`, `settled` or `voided`; more may come.
        amount_nanousd: set aside.
        settled_nanousd: charged; None until it is settled.
        expire_time: when it frees itself; None once it is not open.
    """

    name: str
    state: str | None
    amount_nanousd: int
    settled_nanousd: int | None
    expire_time: datetime | None
    raw: pb.Hold = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a refund gives back of: a call's attempt, or a hold."""

    call_id: str | None
    attempt_number: int | None
    hold: Hold | str | None


def get_balance(account: str) -> Call[pb.GetBalanceRequest, pb.GetBalanceResponse, Balance]:
    """GetBalance."""
    return Call(
        request=pb.GetBalanceRequest(account=resource("accounts", account)),
        parse=lambda response: _balance(response.balance),
        kind=Kind.READ,
    )


def list_ledger_entries(
    account: str, page_size: int | None, page_token: str
) -> Call[pb.ListLedgerEntriesRequest, pb.ListLedgerEntriesResponse, Page[LedgerEntry]]:
    """ListLedgerEntries, one page."""
    return Call(
        request=pb.ListLedgerEntriesRequest(
            parent=resource("accounts", account), page_size=page_size, page_token=page_token
        ),
        parse=lambda response: Page(
            [_entry(raw) for raw in response.ledger_entries], response.next_page_token
        ),
        kind=Kind.READ,
    )


def grant_credits(
    account: str,
    amount_nanousd: int,
    reason: str,
    expire_time: datetime | None,
    payment: tuple[str, str] | None,
    request_id: str | None,
) -> Call[pb.GrantCreditsRequest, pb.GrantCreditsResponse, LedgerEntry]:
    """GrantCredits."""
    request = pb.GrantCreditsRequest(
        account=resource("accounts", account),
        amount_nanousd=amount_nanousd,
        reason=reason,
        expire_time=stamp_of(expire_time, "expire_time"),
        request_id=new_request_id(request_id),
    )
    if payment is not None:
        network, payment_id = payment
        request.payment.CopyFrom(pb.Payment(network=network, payment_id=payment_id))
    return Call(
        request=request,
        parse=lambda response: _entry(response.ledger_entry),
        kind=Kind.WRITE,
        request_id=request.request_id,
    )


def refund_charge(
    account: str, amount_nanousd: int, charge: Charge, reason: str, request_id: str | None
) -> Call[pb.RefundChargeRequest, pb.RefundChargeResponse, LedgerEntry]:
    """RefundCharge."""
    if (charge.call_id is None) == (charge.hold is None):
        raise TypeError("name either call_id or hold: what was charged")
    hold = charge.hold
    request = pb.RefundChargeRequest(
        account=resource("accounts", account),
        call_id=charge.call_id,
        hold=hold.name if isinstance(hold, Hold) else hold,
        attempt_number=charge.attempt_number,
        amount_nanousd=amount_nanousd,
        reason=reason,
        request_id=new_request_id(request_id),
    )
    return Call(
        request=request,
        parse=lambda response: _entry(response.ledger_entry),
        kind=Kind.WRITE,
        request_id=request.request_id,
    )


def create_hold(
    account: str, amount_nanousd: int, ttl_s: float | None, request_id: str | None
) -> Call[pb.CreateHoldRequest, pb.CreateHoldResponse, Hold]:
    """CreateHold."""
    request = pb.CreateHoldRequest(
        parent=resource("accounts", account),
        amount_nanousd=amount_nanousd,
        request_id=new_request_id(request_id),
    )
    if ttl_s is not None:
        ttl = Duration()
        ttl.FromTimedelta(timedelta(seconds=ttl_s))
        request.ttl.CopyFrom(ttl)
    return Call(
        request=request,
        parse=lambda response: _hold(response.hold),
        kind=Kind.WRITE,
        request_id=request.request_id,
    )


def settle_hold(
    hold: Hold | str, amount_nanousd: int, request_id: str | None
) -> Call[pb.SettleHoldRequest, pb.SettleHoldResponse, Hold]:
    """SettleHold."""
    request = pb.SettleHoldRequest(
        name=hold.name if isinstance(hold, Hold) else hold,
        amount_nanousd=amount_nanousd,
        request_id=new_request_id(request_id),
    )
    return Call(
        request=request,
        parse=lambda response: _hold(response.hold),
        kind=Kind.WRITE,
        request_id=request.request_id,
    )


def release_hold(
    hold: Hold | str, request_id: str | None
) -> Call[pb.ReleaseHoldRequest, pb.ReleaseHoldResponse, Hold]:
    """ReleaseHold."""
    request = pb.ReleaseHoldRequest(
        name=hold.name if isinstance(hold, Hold) else hold, request_id=new_request_id(request_id)
    )
    return Call(
        request=request,
        parse=lambda response: _hold(response.hold),
        kind=Kind.WRITE,
        request_id=request.request_id,
    )


def _balance(raw: pb.Balance) -> Balance:
    return Balance(
        account=raw.account,
        posted_nanousd=amount_of(raw, "posted_nanousd"),
        held_nanousd=amount_of(raw, "held_nanousd"),
        unresolved_nanousd=amount_of(raw, "unresolved_nanousd"),
        available_nanousd=amount_of(raw, "available_nanousd"),
        read_time=time_of(raw, "read_time"),
        raw=raw,
    )


def _entry(raw: pb.LedgerEntry) -> LedgerEntry:
    return LedgerEntry(
        name=raw.name,
        kind=word_of(pb.LedgerEntryKind, "LEDGER_ENTRY_KIND_", raw.kind),
        amount_nanousd=amount_of(raw, "amount_nanousd"),
        balance_after_nanousd=amount_of(raw, "balance_after_nanousd"),
        reference=raw.reference,
        create_time=time_of(raw, "create_time"),
        raw=raw,
    )


def _hold(raw: pb.Hold) -> Hold:
    return Hold(
        name=raw.name,
        state=word_of(pb.HoldState, "HOLD_STATE_", raw.state),
        amount_nanousd=amount_of(raw, "amount_nanousd"),
        settled_nanousd=count_of(raw, "settled_nanousd"),
        expire_time=time_of(raw, "expire_time"),
        raw=raw,
    )
