"""BillingService: balances, entries, usage records, grants, and holds of a team's own work."""

import re
from typing import Any, Final
from uuid import UUID

import grpc
from google.protobuf import timestamp_pb2
from omni.billing.v1 import billing_service_pb2 as pb
from omni.billing.v1 import billing_service_pb2_grpc as pb_grpc

from omni_grpc.billing import (
    AttemptRecord,
    EntryKind,
    Hold,
    HoldState,
    Ledger,
    LedgerEntry,
)
from omni_grpc.completion import Accounts, PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import CallId
from omni_grpc.core.limits import (
    AMOUNT_NANOUSD_MAX,
    API_HOLD_SECONDS_DEFAULT,
    API_HOLD_SECONDS_MAX,
    REASON_CHARS_MAX,
    REQUEST_ID_CHARS_MAX,
)
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.identity import Principal, Scope

_Context = grpc.aio.ServicerContext[Any, Any]
_HOLD: Final = re.compile(r"(accounts/[^/]+)/holds/([0-9a-f-]{36})", re.ASCII)
_REQUEST_ID: Final = re.compile(rf"[\x20-\x7e]{{1,{REQUEST_ID_CHARS_MAX}}}", re.ASCII)
_ENTRY_KINDS: Final = {
    EntryKind.CHARGE: pb.LEDGER_ENTRY_KIND_CHARGE,
    EntryKind.GRANT: pb.LEDGER_ENTRY_KIND_GRANT,
}
_HOLD_STATES: Final = {
    HoldState.OPEN: pb.HOLD_STATE_OPEN,
    HoldState.SETTLED: pb.HOLD_STATE_SETTLED,
    HoldState.VOIDED: pb.HOLD_STATE_VOIDED,
}
_NO_USAGE: Final = Usage()


class BillingServicer(pb_grpc.BillingServiceServicer):
    """Serves the ledger."""

    def __init__(self, ledger: Ledger, accounts: Accounts, tokens: PageTokens) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._tokens = tokens

    async def GetBalance(
        self,
        request: pb.GetBalanceRequest,
        context: _Context,
    ) -> pb.GetBalanceResponse:
        """Reads a balance from the primary database."""
        account = await self._accounts.named(_caller(), request.account, field="account")
        balance = await self._ledger.balance(account.id)
        read_time = timestamp_pb2.Timestamp()
        read_time.FromDatetime(balance.read_time)
        return pb.GetBalanceResponse(
            balance=pb.Balance(
                account=account.name,
                posted_nanousd=balance.posted,
                held_nanousd=balance.held,
                unresolved_nanousd=balance.unresolved,
                available_nanousd=balance.available,
                read_time=read_time,
            )
        )

    async def ListLedgerEntries(
        self,
        request: pb.ListLedgerEntriesRequest,
        context: _Context,
    ) -> pb.ListLedgerEntriesResponse:
        """Lists entries, newest first."""
        account = await self._accounts.named(_caller(), request.parent, field="parent")
        query = ("ledger_entries", account.name)
        before = self._tokens.open_number(query, request.page_token)
        size = page_size(request.page_size)
        entries = await self._ledger.entries(account.id, before, size + 1)
        more = len(entries) > size
        return pb.ListLedgerEntriesResponse(
            ledger_entries=[_entry(account.name, entry) for entry in entries[:size]],
            next_page_token=self._tokens.seal(query, entries[size - 1].position) if more else "",
        )

    async def GetUsageRecord(
        self,
        request: pb.GetUsageRecordRequest,
        context: _Context,
    ) -> pb.GetUsageRecordResponse:
        """Reads what a call used and cost."""
        call_id = CallId(_uuid(request.call_id, "call_id"))
        record, account = await self._accounts.usage(_caller(), call_id)
        return pb.GetUsageRecordResponse(
            usage_record=pb.UsageRecord(
                call_id=str(record.call_id),
                account=account,
                cost_nanousd=record.cost,
                attempts=[_attempt(attempt) for attempt in record.attempts],
            )
        )

    async def GrantCredits(
        self,
        request: pb.GrantCreditsRequest,
        context: _Context,
    ) -> pb.GrantCreditsResponse:
        """Adds credits, once for a request id."""
        caller = _caller()
        caller.require(Scope.ADMIN)
        if not request.account:
            raise FieldInvalid("account is required: accounts/{account}.", field="account")
        if len(request.reason) > REASON_CHARS_MAX or "\x00" in request.reason:
            raise FieldInvalid(
                f"reason must be at most {REASON_CHARS_MAX} characters without NUL.",
                field="reason",
            )
        amount = _amount(request, 1)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, request.account, field="account")
        entry = await self._ledger.grant(
            account_id=account.id,
            org_id=caller.org_id,
            amount=amount,
            reason=request.reason,
            request_id=request_id,
        )
        return pb.GrantCreditsResponse(ledger_entry=_entry(account.name, entry))

    async def CreateHold(
        self,
        request: pb.CreateHoldRequest,
        context: _Context,
    ) -> pb.CreateHoldResponse:
        """Sets credits aside."""
        caller = _caller()
        amount = _amount(request, 1)
        seconds = API_HOLD_SECONDS_DEFAULT
        if request.HasField("ttl"):
            seconds = request.ttl.seconds
            if request.ttl.nanos or not 1 <= seconds <= API_HOLD_SECONDS_MAX:
                raise FieldInvalid(
                    f"ttl must be whole seconds from 1 to {API_HOLD_SECONDS_MAX}.", field="ttl"
                )
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, request.parent, field="parent")
        hold = await self._ledger.create_hold(
            account_id=account.id,
            org_id=caller.org_id,
            key_id=caller.key_id,
            amount=amount,
            seconds=seconds,
            request_id=request_id,
        )
        return pb.CreateHoldResponse(hold=_hold(account.name, hold))

    async def SettleHold(
        self,
        request: pb.SettleHoldRequest,
        context: _Context,
    ) -> pb.SettleHoldResponse:
        """Charges a hold."""
        caller = _caller()
        account_name, hold_id = _hold_name(request.name)
        amount = _amount(request, 0)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, account_name, field="name")
        hold = await self._ledger.settle_hold(
            account_id=account.id,
            org_id=caller.org_id,
            hold_id=hold_id,
            amount=amount,
            request_id=request_id,
        )
        return pb.SettleHoldResponse(hold=_hold(account.name, hold))

    async def ReleaseHold(
        self,
        request: pb.ReleaseHoldRequest,
        context: _Context,
    ) -> pb.ReleaseHoldResponse:
        """Frees a hold."""
        caller = _caller()
        account_name, hold_id = _hold_name(request.name)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, account_name, field="name")
        hold = await self._ledger.release_hold(
            account_id=account.id,
            org_id=caller.org_id,
            hold_id=hold_id,
            request_id=request_id,
        )
        return pb.ReleaseHoldResponse(hold=_hold(account.name, hold))


def _caller() -> Principal:
    principal = current_call().principal
    if principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return principal


def _amount(
    request: pb.GrantCreditsRequest | pb.CreateHoldRequest | pb.SettleHoldRequest, low: int
) -> int:
    if not request.HasField("amount_nanousd"):
        raise FieldInvalid("amount_nanousd is required.", field="amount_nanousd")
    if not low <= request.amount_nanousd <= AMOUNT_NANOUSD_MAX:
        raise FieldInvalid(
            f"amount_nanousd must be from {low} to {AMOUNT_NANOUSD_MAX}.", field="amount_nanousd"
        )
    return request.amount_nanousd


def _request_id(request_id: str) -> str:
    if not _REQUEST_ID.fullmatch(request_id):
        raise FieldInvalid(
            f"request_id is required: 1 to {REQUEST_ID_CHARS_MAX} printable ASCII characters, "
            "the same again when the call is repeated.",
            field="request_id",
        )
    return request_id


def _hold_name(name: str) -> tuple[str, UUID]:
    match = _HOLD.fullmatch(name)
    if match is None:
        raise FieldInvalid("name must be accounts/{account}/holds/{hold}.", field="name")
    return match.group(1), _uuid(match.group(2), "name")


def _uuid(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise FieldInvalid(
            f"{field} must carry a UUID, as the service gave it.", field=field
        ) from None


def _entry(account: str, entry: LedgerEntry) -> pb.LedgerEntry:
    create_time = timestamp_pb2.Timestamp()
    create_time.FromDatetime(entry.create_time)
    return pb.LedgerEntry(
        name=f"{account}/ledgerEntries/{entry.position}",
        kind=_ENTRY_KINDS[entry.kind],
        amount_nanousd=entry.amount,
        balance_after_nanousd=entry.balance_after,
        reference=entry.reference_in(account),
        create_time=create_time,
    )


def _hold(account: str, hold: Hold) -> pb.Hold:
    expire_time = None
    if hold.expire_time is not None:
        expire_time = timestamp_pb2.Timestamp()
        expire_time.FromDatetime(hold.expire_time)
    return pb.Hold(
        name=f"{account}/holds/{hold.id}",
        state=_HOLD_STATES[hold.state],
        amount_nanousd=hold.amount,
        settled_nanousd=hold.settled,
        expire_time=expire_time,
    )


def _attempt(attempt: AttemptRecord) -> pb.AttemptRecord:
    usage = attempt.usage or _NO_USAGE
    end_time = None
    if attempt.end_time is not None:
        end_time = timestamp_pb2.Timestamp()
        end_time.FromDatetime(attempt.end_time)
    return pb.AttemptRecord(
        attempt_number=attempt.number,
        model=attempt.model,
        outcome=attempt.outcome,
        held_nanousd=attempt.held,
        cost_nanousd=attempt.cost,
        price_version=attempt.price_version,
        markup_ppm=attempt.markup_ppm,
        prompt_token_count=usage.prompt,
        cached_read_token_count=usage.cached_read,
        cached_write_token_count=usage.cached_write,
        prompt_audio_token_count=usage.prompt_audio,
        completion_token_count=usage.completion,
        reasoning_token_count=usage.reasoning,
        completion_audio_token_count=usage.completion_audio,
        estimated=usage.source is UsageSource.ESTIMATE,
        end_time=end_time,
    )
