"""Automatic top-ups over the API."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from omni_grpc.administration.operation import Caller, Operation, writable
from omni_grpc.completion import Account, Accounts
from omni_grpc.core.errors import EtagMismatch, FieldInvalid, NotFound
from omni_grpc.core.ids import OrgId
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX
from omni_grpc.core.missing import no_account
from omni_grpc.identity import Identity, Permission
from omni_grpc.topups import AutoStore, AutoTopUp, Method, TopUps

AUTO_TOP_UP: Final = "accounts/*/autoTopUp"
_FIELDS: Final = {
    "active": "active",
    "threshold_nanousd": "threshold",
    "amount_nanousd": "amount",
    "month_max_nanousd": "month_max",
}


class GetAutoTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose."""

    name: str


class AutoTopUpChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed. Amounts are nano-USD."""

    name: str
    active: bool | None = None
    threshold_nanousd: int | None = None
    amount_nanousd: int | None = None
    month_max_nanousd: int | None = None
    etag: str = ""


class UpdateAutoTopUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The change, and which fields it is of."""

    auto_top_up: AutoTopUpChange
    update_mask: tuple[str, ...] = ()


class AutoTopUpShown(msgspec.Struct, frozen=True, kw_only=True):
    """The setting as callers see it."""

    name: str
    active: bool
    threshold_nanousd: int | None
    amount_nanousd: int | None
    month_max_nanousd: int | None
    card: str
    fault: str
    etag: str


class AutoTopUpOperations:
    """The operations of automatic top-ups."""

    def __init__(
        self, store: AutoStore, top_ups: TopUps, accounts: Accounts, identity: Identity
    ) -> None:
        self._store = store
        self._top_ups = top_ups
        self._accounts = accounts
        self._identity = identity

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="GetAutoTopUp",
            http=f"GET /v1/{{name={AUTO_TOP_UP}}}",
            permission=Permission.SEE_MONEY,
            asked=GetAutoTopUp,
            run=self.get,
            result="auto_top_up",
        )
        yield Operation(
            rpc="UpdateAutoTopUp",
            http=f"PATCH /v1/{{auto_top_up.name={AUTO_TOP_UP}}}",
            permission=Permission.MANAGE,
            asked=UpdateAutoTopUp,
            run=self.update,
            result="auto_top_up",
            body="auto_top_up",
        )

    async def get(self, caller: Caller, asked: GetAutoTopUp) -> AutoTopUpShown:
        """An account's setting."""
        account, org_id = await self._named(caller, asked.name)
        return _shown(account, await self._store.get(org_id))

    async def update(self, caller: Caller, asked: UpdateAutoTopUp) -> AutoTopUpShown:
        """Changes it.

        Raises:
            FieldInvalid: it cannot work so: no card, no amounts, an amount out of bounds.
            EtagMismatch: it was changed meanwhile.
        """
        wanted = asked.auto_top_up
        account, org_id = await self._named(caller, wanted.name, "auto_top_up.name")
        changes = writable(wanted, asked.update_mask, "auto_top_up")

        def make(old: AutoTopUp) -> AutoTopUp:
            if wanted.etag and wanted.etag != str(old.revision):
                raise EtagMismatch(
                    "The setting was changed meanwhile: read it again, then change it.",
                    field="auto_top_up.etag",
                )
            values = {_FIELDS[name]: value for name, value in changes.items()}
            if values.get("active", False) is None:
                values["active"] = False
            new = msgspec.structs.replace(old, **values)
            self._check(new)
            return new

        written = await self._store.change(
            org_id, make, caller.actor, wanted.name, lambda found: _shown(account, found)
        )
        return _shown(account, written)

    def _check(self, new: AutoTopUp) -> None:
        for field in ("threshold", "amount", "month_max"):
            value = getattr(new, field)
            if value is not None and not 0 < value <= AMOUNT_NANOUSD_MAX:
                raise FieldInvalid(
                    f"`{field}_nanousd` must be 1 to {AMOUNT_NANOUSD_MAX}.",
                    field=f"{field}_nanousd",
                )
        if new.amount is not None:
            self._top_ups.check_amount(new.amount, Method.CARD)
        if not new.active:
            return
        if not self._top_ups.offers(Method.CARD):
            raise FieldInvalid("This service takes no cards.", field="active")
        if not new.payment_method:
            raise FieldInvalid(
                "No card is saved: first make a top-up by card with `save_card`.", field="active"
            )
        if new.threshold is None or new.amount is None:
            raise FieldInvalid(
                "`threshold_nanousd` and `amount_nanousd` must be set.", field="active"
            )

    async def _named(self, caller: Caller, name: str, field: str = "name") -> tuple[Account, OrgId]:
        parent, _, last = name.rpartition("/")
        if last != "autoTopUp" or not parent:
            raise FieldInvalid(
                f"`{field}` must have the form `accounts/{{account}}/autoTopUp`.", field=field
            )
        try:
            account = await self._accounts.named(caller.principal, parent, field=field)
        except NotFound:
            raise no_account(parent, field) from None
        if account.id == caller.principal.account_id:
            return account, caller.principal.org_id
        return account, (await self._identity.org_of_account(account.id)).org_id


def _shown(account: Account, found: AutoTopUp) -> AutoTopUpShown:
    return AutoTopUpShown(
        name=f"{account.name}/autoTopUp",
        active=found.active,
        threshold_nanousd=found.threshold,
        amount_nanousd=found.amount,
        month_max_nanousd=found.month_max,
        card=found.card,
        fault=found.fault,
        etag=str(found.revision),
    )
