"""Statements and receipts over the API."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from omni_grpc.administration.operation import Caller, Operation
from omni_grpc.administration.top_ups import TOP_UP, named
from omni_grpc.billing.statements import (
    Receipt,
    Statement,
    Statements,
    parse_month,
    receipt_of,
)
from omni_grpc.completion import Accounts
from omni_grpc.core.errors import NotFound
from omni_grpc.identity import Identity, Permission
from omni_grpc.topups import Method, State, TopUp, TopUps

_PAID: Final = (State.SUCCEEDED, State.REVERSED)


class GetStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose month."""

    month: str
    account: str = ""


class GetReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which top-up."""

    name: str


class StatementShown(msgspec.Struct, frozen=True, kw_only=True):
    """A statement as callers see it."""

    name: str
    opening_nanousd: int
    granted_nanousd: int
    charged_nanousd: int
    refunded_nanousd: int
    expired_nanousd: int
    closing_nanousd: int
    final: bool
    csv: str


class StatementOperations:
    """The operations of statements and receipts.

    Args:
        statements: makes them.
        accounts: whose may be seen.
        top_ups: what receipts are of.
        identity: who bought.
        seller: whose service it is, as receipts say it; empty says nothing.
    """

    def __init__(
        self,
        statements: Statements,
        accounts: Accounts,
        top_ups: TopUps,
        identity: Identity,
        *,
        seller: str,
    ) -> None:
        self._statements = statements
        self._accounts = accounts
        self._top_ups = top_ups
        self._identity = identity
        self._seller = seller

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="GetStatement",
            http="GET /v1/statements/{month=*}",
            permission=Permission.SEE_MONEY,
            asked=GetStatement,
            run=self.statement,
            result="statement",
            csv="csv",
        )
        yield Operation(
            rpc="GetReceipt",
            http=f"GET /v1/{{name={TOP_UP}}}/receipt",
            permission=Permission.SEE_MONEY,
            asked=GetReceipt,
            run=self.receipt,
            result="receipt",
        )

    async def statement(self, caller: Caller, asked: GetStatement) -> StatementShown:
        """A month of an account."""
        month = parse_month(asked.month, field="month")
        account = await self._accounts.named(caller.principal, asked.account, field="account")
        return _shown(account.name, await self._statements.of(account.id, month))

    async def receipt(self, caller: Caller, asked: GetReceipt) -> Receipt:
        """The receipt of a top-up that was paid."""
        account, top_up_id = await named(self._accounts, caller, asked.name)
        top_up = await self._top_ups.get(account.id, top_up_id, look=False)
        if top_up.state not in _PAID or top_up.pay_time is None:
            raise NotFound(
                f"The top-up {top_up_id} was not paid, so there is no receipt of it.", field="name"
            )
        org = await self._identity.org_of_account(account.id)
        return receipt_of(
            top_up=asked.name,
            number=f"R-{top_up_id}",
            customer=org.display_name or org.slug,
            amount=top_up.credited,
            paid_by=_paid_by(top_up),
            payment_id=top_up.payment_id,
            pay_time=top_up.pay_time,
            seller=self._seller,
        )


def _shown(account_name: str, statement: Statement) -> StatementShown:
    return StatementShown(
        name=f"{account_name}/statements/{statement.month.name}",
        opening_nanousd=statement.opening,
        granted_nanousd=statement.granted,
        charged_nanousd=statement.charged,
        refunded_nanousd=statement.refunded,
        expired_nanousd=statement.expired,
        closing_nanousd=statement.closing,
        final=statement.final,
        csv=statement.csv,
    )


def _paid_by(top_up: TopUp) -> str:
    if top_up.method is Method.CARD:
        return f"card {top_up.payer}".strip()
    payer = f" from {top_up.payer}" if top_up.payer else ""
    return f"USDC{payer} on {top_up.network}"
