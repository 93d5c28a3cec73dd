"""Top-ups over the API: begun, looked at, paid with a signed payment."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from omni_grpc.administration.operation import Caller, Operation, Page
from omni_grpc.completion import Account, Accounts, PageTokens, checked_request_id, page_size
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.ids import OrgId
from omni_grpc.core.missing import no_top_up
from omni_grpc.identity import Identity, Permission
from omni_grpc.topups import Method, State, TopUp, TopUps, pending_error

TOP_UP: Final = "accounts/*/topUps/*"
RETURN_URL_CHARS_MAX: Final = 2_048


class MethodAsked(StrEnum):
    """How to pay, in the contract's words."""

    X402 = "x402"
    CARD = "card"


class StateShown(StrEnum):
    """How a top-up stands, in the contract's words."""

    OPEN = "open"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    REVERSED = "reversed"


_METHODS: Final = {MethodAsked.X402: Method.X402, MethodAsked.CARD: Method.CARD}
_SHOWN_METHODS: Final = {ours: word for word, ours in _METHODS.items()}


class CreateTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is bought, and how."""

    amount_nanousd: int
    request_id: str
    parent: str = ""
    method: MethodAsked = MethodAsked.X402
    return_url: str = ""
    save_card: bool = False


class GetTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which one."""

    name: str


class ListTopUps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose."""

    parent: str = ""
    page_size: int = 0
    page_token: str = ""


class ConfirmTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which one, and what was signed."""

    name: str
    x402_payment: str


class TopUpShown(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up as callers see it."""

    name: str
    amount_nanousd: int
    method: MethodAsked
    state: StateShown
    credited_nanousd: int
    reversed_nanousd: int
    network: str
    payment_id: str
    payer: str
    checkout_url: str
    x402_offer_json: str
    x402_required_json: str
    message: str
    create_time: datetime
    expire_time: datetime


class Offers(msgspec.Struct, frozen=True):
    """What x402 tells a payer, in its two versions: a top-up's `offer` as JSON."""

    v1: msgspec.Raw
    v2: msgspec.Raw


class TopUpOperations:
    """The operations of top-ups."""

    def __init__(
        self, top_ups: TopUps, accounts: Accounts, identity: Identity, tokens: PageTokens
    ) -> None:
        self._top_ups = top_ups
        self._accounts = accounts
        self._identity = identity
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateTopUp",
            http="POST /v1/top_ups",
            permission=Permission.SPEND,
            asked=CreateTopUp,
            run=self.create,
            result="top_up",
        )
        yield Operation(
            rpc="GetTopUp",
            http=f"GET /v1/{{name={TOP_UP}}}",
            permission=Permission.SEE_MONEY,
            asked=GetTopUp,
            run=self.get,
            result="top_up",
        )
        yield Operation(
            rpc="ListTopUps",
            http="GET /v1/top_ups",
            permission=Permission.SEE_MONEY,
            asked=ListTopUps,
            run=self.list_top_ups,
            result="top_ups",
        )
        yield Operation(
            rpc="ConfirmTopUp",
            http=f"POST /v1/{{name={TOP_UP}}}:confirm",
            permission=Permission.SPEND,
            asked=ConfirmTopUp,
            run=self.confirm,
            result="top_up",
        )

    async def create(self, caller: Caller, asked: CreateTopUp) -> TopUpShown:
        """Begins a top-up of the caller's account, or of any for the operator."""
        account = await self._accounts.named(caller.principal, asked.parent, field="parent")
        _check_return_url(asked.return_url)
        top_up = await self._top_ups.create(
            caller.actor,
            org_id=await self._org_of(caller, account),
            account_id=account.id,
            amount=asked.amount_nanousd,
            method=_METHODS[asked.method],
            request_id=checked_request_id(asked.request_id, field="request_id"),
            return_url=asked.return_url,
            save_card=asked.save_card,
        )
        return shown(account.name, top_up)

    async def get(self, caller: Caller, asked: GetTopUp) -> TopUpShown:
        """One, after a look at its fate."""
        account, top_up_id = await named(self._accounts, caller, asked.name)
        return shown(account.name, await self._top_ups.get(account.id, top_up_id))

    async def list_top_ups(self, caller: Caller, asked: ListTopUps) -> Page[TopUpShown]:
        """An account's, newest first."""
        account = await self._accounts.named(caller.principal, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("top_ups", account.name)
        before = self._tokens.open_text(query, asked.page_token)
        found = await self._top_ups.of_account(
            account.id, None if before is None else UUID(before), size + 1
        )
        token = self._tokens.seal(query, str(found[size - 1].id)) if len(found) > size else ""
        return Page(tuple(shown(account.name, one) for one in found[:size]), token)

    async def confirm(self, caller: Caller, asked: ConfirmTopUp) -> TopUpShown:
        """Pays with a signed payment.

        Raises:
            PaymentPending: its fate is not known yet.
        """
        account, top_up_id = await named(self._accounts, caller, asked.name)
        org_id = await self._org_of(caller, account)
        top_up = await self._top_ups.confirm(
            caller.actor, org_id, account.id, top_up_id, asked.x402_payment
        )
        if top_up.state is State.PENDING:
            raise pending_error(top_up)
        return shown(account.name, top_up)

    async def _org_of(self, caller: Caller, account: Account) -> OrgId:
        if account.id == caller.principal.account_id:
            return caller.principal.org_id
        return (await self._identity.org_of_account(account.id)).org_id


async def named(accounts: Accounts, caller: Caller, name: str) -> tuple[Account, UUID]:
    """The account and the id of a top-up's name.

    Raises:
        FieldInvalid: it is no such name.
        NotFound: there is no such account, or it is not the caller's.
    """
    parent, _, last = name.rpartition("/topUps/")
    try:
        top_up_id = UUID(last)
    except ValueError:
        top_up_id = None
    if not parent or top_up_id is None or str(top_up_id) != last:
        raise FieldInvalid(
            "`name` must have the form `accounts/{account}/topUps/{top_up}`.", field="name"
        )
    try:
        return await accounts.named(caller.principal, parent, field="name"), top_up_id
    except NotFound:
        raise no_top_up(top_up_id, "name") from None


def shown(account_name: str, top_up: TopUp) -> TopUpShown:
    """A top-up as callers see it; what to sign stands there while it can be paid."""
    offers = None
    if top_up.offer and top_up.state is State.OPEN:
        offers = msgspec.json.decode(top_up.offer, type=Offers)
    return TopUpShown(
        name=f"{account_name}/topUps/{top_up.id}",
        amount_nanousd=top_up.amount,
        method=_SHOWN_METHODS[top_up.method],
        state=StateShown[top_up.state.name],
        credited_nanousd=top_up.credited,
        reversed_nanousd=top_up.reversed,
        network=top_up.network,
        payment_id=top_up.payment_id,
        payer=top_up.payer,
        checkout_url=top_up.checkout_url if top_up.state is State.OPEN else "",
        x402_offer_json="" if offers is None else bytes(offers.v1).decode(),
        x402_required_json="" if offers is None else bytes(offers.v2).decode(),
        message=top_up.message,
        create_time=top_up.create_time,
        expire_time=top_up.expire_time,
    )


def _check_return_url(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_safe = is_url = False
    if not (
        is_safe
        and is_url
        and len(url) <= RETURN_URL_CHARS_MAX
        and url.isascii()
        and url.isprintable()
    ):
        raise FieldInvalid(
            f"`return_url` must be an https URL of at most {RETURN_URL_CHARS_MAX} characters.",
            field="return_url",
        )
