"""BillingService: what an account has and used, grants, refunds, holds, and unresolved attempts."""

from typing import Any
from uuid import UUID

import grpc
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.administration import MoneyAudit
from omni_grpc.audit import Actor
from omni_grpc.billing import Ledger, Resolver, charge_of_call
from omni_grpc.billing.usage import UsageReports
from omni_grpc.completion import Account, Accounts, PageTokens, checked_request_id, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId, CallId
from omni_grpc.grpc_api import billing_request as read
from omni_grpc.grpc_api import billing_response as show
from omni_grpc.grpc_api import usage_response
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.grpc_api.usage_servicer import UsageRpcs
from omni_grpc.identity import Permission, Principal

_Context = grpc.aio.ServicerContext[Any, Any]


class BillingServicer(UsageRpcs):
    """Serves the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        accounts: Accounts,
        tokens: PageTokens,
        resolver: Resolver,
        usage: UsageReports,
        audit: MoneyAudit,
    ) -> None:
        super().__init__(usage, accounts, tokens)
        self._ledger = ledger
        self._accounts = accounts
        self._tokens = tokens
        self._resolver = resolver
        self._audit = audit

    # --- reads --------------------------------------------------------------------------------
    async def GetBalance(
        self,
        request: pb.GetBalanceRequest,
        context: _Context,
    ) -> pb.GetBalanceResponse:
        """Reads a balance from the primary database."""
        account = await self._accounts.named(_caller(), request.account, field="account")
        balance = await self._ledger.balance(account.id)
        return pb.GetBalanceResponse(balance=show.balance(account.name, balance))

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
            ledger_entries=[show.entry(account.name, entry) for entry in entries[:size]],
            next_page_token=self._tokens.seal(query, entries[size - 1].position) if more else "",
        )

    async def GetUsageRecord(
        self,
        request: pb.GetUsageRecordRequest,
        context: _Context,
    ) -> pb.GetUsageRecordResponse:
        """Reads what a call used and cost, and what is noted of it."""
        call_id = CallId(read.uuid(request.call_id, "call_id"))
        record, account = await self._accounts.usage(_caller(), call_id)
        found = await self._usage.call(record)
        return pb.GetUsageRecordResponse(usage_record=usage_response.record(account, found))

    # --- what an operator gives ---------------------------------------------------------------
    async def GrantCredits(
        self,
        request: pb.GrantCreditsRequest,
        context: _Context,
    ) -> pb.GrantCreditsResponse:
        """Adds credits, once for a request id and once for ever for a payment."""
        caller = _administrator()
        name = read.named_account(request.account)
        reason = read.reason(request.reason)
        amount = read.amount(request, 1)
        expire_time = read.expire_time(request)
        payment = read.payment(request)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, name, field="account")
        entry = await self._ledger.grant(
            account_id=account.id,
            org_id=caller.org_id,
            amount=amount,
            reason=reason,
            request_id=request_id,
            expire_time=expire_time,
            payment=payment,
        )
        await self._audit.entry(_actor(), "GrantCredits", account.id, account.name, entry)
        return pb.GrantCreditsResponse(ledger_entry=show.entry(account.name, entry))

    async def RefundCharge(
        self,
        request: pb.RefundChargeRequest,
        context: _Context,
    ) -> pb.RefundChargeResponse:
        """Gives back a charge or a part of it, once for a request id."""
        caller = _administrator()
        name = read.named_account(request.account)
        reason = read.reason(request.reason)
        amount = read.amount(request, 1)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, name, field="account")
        entry = await self._ledger.refund(
            account_id=account.id,
            org_id=caller.org_id,
            charge_id=await self._charge(request, account),
            amount=amount,
            reason=reason,
            request_id=request_id,
        )
        await self._audit.entry(_actor(), "RefundCharge", account.id, account.name, entry)
        return pb.RefundChargeResponse(ledger_entry=show.entry(account.name, entry))

    async def _charge(self, request: pb.RefundChargeRequest, account: Account) -> UUID:
        number = request.attempt_number if request.HasField("attempt_number") else None
        match request.WhichOneof("charge"):
            case "call_id":
                call_id = CallId(read.uuid(request.call_id, "call_id"))
                return await charge_of_call(self._ledger, account.id, call_id, number)
            case "hold":
                owner, hold_id = read.hold_name(request.hold, field="hold")
                if owner != account.name:
                    raise FieldInvalid(
                        f"hold must be one of {account.name}, which account names.", field="hold"
                    )
                if number is not None:
                    raise FieldInvalid(
                        "attempt_number goes with call_id only.", field="attempt_number"
                    )
                return hold_id
            case _:
                raise FieldInvalid("call_id or hold is required.", field="charge")

    # --- holds --------------------------------------------------------------------------------
    async def CreateHold(
        self,
        request: pb.CreateHoldRequest,
        context: _Context,
    ) -> pb.CreateHoldResponse:
        """Sets credits aside."""
        caller = _caller()
        amount = read.amount(request, 1)
        seconds = read.ttl_s(request)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, request.parent, field="parent")
        hold = await self._ledger.create_hold(
            account_id=account.id,
            org_id=caller.org_id,
            key_id=caller.key_id,
            amount=amount,
            seconds=seconds,
            request_id=request_id,
            budgets=caller.budgets,
        )
        return pb.CreateHoldResponse(hold=show.hold(account.name, hold))

    async def SettleHold(
        self,
        request: pb.SettleHoldRequest,
        context: _Context,
    ) -> pb.SettleHoldResponse:
        """Charges a hold."""
        caller = _caller()
        account_name, hold_id = read.hold_name(request.name, field="name")
        amount = read.amount(request, 0)
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, account_name, field="name")
        hold = await self._ledger.settle_hold(
            account_id=account.id,
            org_id=caller.org_id,
            hold_id=hold_id,
            amount=amount,
            request_id=request_id,
        )
        return pb.SettleHoldResponse(hold=show.hold(account.name, hold))

    async def ReleaseHold(
        self,
        request: pb.ReleaseHoldRequest,
        context: _Context,
    ) -> pb.ReleaseHoldResponse:
        """Frees a hold."""
        caller = _caller()
        account_name, hold_id = read.hold_name(request.name, field="name")
        request_id = _request_id(request.request_id)
        account = await self._accounts.named(caller, account_name, field="name")
        hold = await self._ledger.release_hold(
            account_id=account.id,
            org_id=caller.org_id,
            hold_id=hold_id,
            request_id=request_id,
        )
        return pb.ReleaseHoldResponse(hold=show.hold(account.name, hold))

    # --- what nobody knows --------------------------------------------------------------------
    async def ListUnresolvedAttempts(
        self,
        request: pb.ListUnresolvedAttemptsRequest,
        context: _Context,
    ) -> pb.ListUnresolvedAttemptsResponse:
        """Lists unresolved attempts of one account, or of all."""
        caller = _administrator()
        names: dict[AccountId, str] = {}
        account_id = None
        if request.parent:
            account = await self._accounts.named(caller, request.parent, field="parent")
            account_id = account.id
            names[account.id] = account.name
        query = ("unresolved_attempts", request.parent)
        after = self._tokens.open_text(query, request.page_token)
        size = page_size(request.page_size)
        found = await self._ledger.unresolved(UUID(after) if after else None, size + 1, account_id)
        page = found[:size]
        for attempt in page:
            if attempt.account_id not in names:
                names[attempt.account_id] = await self._accounts.name_of(attempt.account_id)
        more = len(found) > size
        return pb.ListUnresolvedAttemptsResponse(
            unresolved_attempts=[show.unresolved(names[one.account_id], one) for one in page],
            next_page_token=self._tokens.seal(query, str(page[-1].hold_id)) if more else "",
        )

    async def ResolveAttempt(
        self,
        request: pb.ResolveAttemptRequest,
        context: _Context,
    ) -> pb.ResolveAttemptResponse:
        """Ends an unresolved attempt by what its provider says, or by a decision."""
        caller = _administrator()
        account_name, hold_id = read.attempt_name(request.name)
        account = await self._accounts.named(caller, account_name, field="name")
        match request.WhichOneof("resolution"):
            case "settlement":
                usage = read.settled_usage(request.settlement)
                record = await self._resolver.settle(hold_id, usage, account.id)
            case "voiding":
                record = await self._resolver.void(hold_id, account.id)
            case "write_off":
                loss = read.loss(request.write_off)
                record = await self._resolver.write_off(hold_id, loss, account.id)
            case _:
                raise FieldInvalid(
                    "settlement, voiding or write_off is required.", field="resolution"
                )
        await self._audit.resolved(_actor(), account.id, account.name, hold_id, record)
        return pb.ResolveAttemptResponse(attempt_record=show.attempt(record))


def _caller() -> Principal:
    principal = current_call().principal
    if principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return principal


def _actor() -> Actor:
    call = current_call()
    return Actor(name=_caller().actor, peer=call.peer, call_id=call.name)


def _administrator() -> Principal:
    caller = _caller()
    caller.require(Permission.OPERATE)
    return caller


def _request_id(text: str) -> str:
    return checked_request_id(text, field="request_id")
