"""Top-ups of whose payments nobody tells, over the API: operators list, settle and void them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from omni_grpc.administration.operation import Caller, Operation, Page
from omni_grpc.administration.top_ups import TOP_UP, TopUpShown, named, shown
from omni_grpc.completion import Accounts, PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId
from omni_grpc.core.limits import REASON_CHARS_MAX
from omni_grpc.identity import Permission
from omni_grpc.topups import Decisions


class ListPendingTopUps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose; everybody's if empty."""

    parent: str = ""
    page_size: int = 0
    page_token: str = ""


class SettleTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which one, what paid it, and why that is said."""

    name: str
    payment_id: str
    reason: str
    amount_nanousd: int | None = None


class VoidTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which one, and why."""

    name: str
    reason: str


class TopUpDecisionOperations:
    """The operations of operators on top-ups."""

    def __init__(self, decisions: Decisions, accounts: Accounts, tokens: PageTokens) -> None:
        self._decisions = decisions
        self._accounts = accounts
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="ListPendingTopUps",
            http="GET /v1/admin/pending_top_ups",
            permission=Permission.OPERATE,
            asked=ListPendingTopUps,
            run=self.list_pending,
            result="top_ups",
        )
        yield Operation(
            rpc="SettleTopUp",
            http=f"POST /v1/{{name={TOP_UP}}}:settle",
            permission=Permission.OPERATE,
            asked=SettleTopUp,
            run=self.settle,
            result="top_up",
        )
        yield Operation(
            rpc="VoidTopUp",
            http=f"POST /v1/{{name={TOP_UP}}}:void",
            permission=Permission.OPERATE,
            asked=VoidTopUp,
            run=self.void,
            result="top_up",
        )

    async def list_pending(self, caller: Caller, asked: ListPendingTopUps) -> Page[TopUpShown]:
        """Those whose payment's fate is not known, oldest first."""
        names: dict[AccountId, str] = {}
        account_id = None
        if asked.parent:
            account = await self._accounts.named(caller.principal, asked.parent, field="parent")
            account_id = account.id
            names[account.id] = account.name
        size = page_size(asked.page_size)
        query = ("pending_top_ups", asked.parent)
        after = self._tokens.open_text(query, asked.page_token)
        found = await self._decisions.pending(account_id, UUID(after) if after else None, size + 1)
        page = found[:size]
        for one in page:
            if one.account_id not in names:
                names[one.account_id] = await self._accounts.name_of(one.account_id)
        token = self._tokens.seal(query, str(page[-1].id)) if len(found) > size else ""
        return Page(tuple(shown(names[one.account_id], one) for one in page), token)

    async def settle(self, caller: Caller, asked: SettleTopUp) -> TopUpShown:
        """Credits one with what a transaction brought."""
        account, top_up_id = await named(self._accounts, caller, asked.name)
        top_up = await self._decisions.settle(
            caller.actor,
            account.id,
            top_up_id,
            payment_id=asked.payment_id,
            amount=asked.amount_nanousd,
            reason=_checked(asked.reason),
        )
        return shown(account.name, top_up)

    async def void(self, caller: Caller, asked: VoidTopUp) -> TopUpShown:
        """Gives one up."""
        account, top_up_id = await named(self._accounts, caller, asked.name)
        reason = _checked(asked.reason)
        return shown(
            account.name,
            await self._decisions.void(caller.actor, account.id, top_up_id, reason=reason),
        )


def _checked(reason: str) -> str:
    if not 0 < len(reason) <= REASON_CHARS_MAX or not reason.isprintable() or reason.isspace():
        raise FieldInvalid(
            f"`reason` is required: 1 to {REASON_CHARS_MAX} printable characters.", field="reason"
        )
    return reason
