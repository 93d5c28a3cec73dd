"""Budgets over the API: of organisations, teams, environments and keys."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from omni_grpc.administration.access import SUBJECTS, Access
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.audit import Change, append
from omni_grpc.billing.budgets import (
    AMOUNT_MAX,
    Budget,
    BudgetOwner,
    BudgetPeriod,
    BudgetStore,
    Record,
)
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.likeness import did_you_mean
from omni_grpc.core.missing import missing
from omni_grpc.core.tenancy import BudgetUnit
from omni_grpc.identity import Permission, check_display_name
from omni_grpc.storage import Connection

_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,62}", re.ASCII)
_NAME: Final = re.compile(r"(?P<parent>.+)/budgets/(?P<id>[^/]{1,64})")
_ONE: Final = "|".join(f"{form}/budgets/*" for form in SUBJECTS.split("|"))
_LIMITS: Final = {
    BudgetUnit.NANOUSD: "amount_nanousd",
    BudgetUnit.TOKENS: "token_count",
}
"""The contract's fields, one for each unit."""

ZONE_DEFAULT: Final = "UTC"

Title = Annotated[str, msgspec.Meta(max_length=128)]
Zone = Annotated[str, msgspec.Meta(max_length=64)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]


class BudgetGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget to be created; its name is that of its parent and its id."""

    name: str = ""
    display_name: Title = ""
    amount_nanousd: Limit | None = None
    token_count: Limit | None = None
    period: BudgetPeriod | None = None
    time_zone: Zone = ""


class BudgetChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget as its change gives it."""

    name: str
    etag: str = ""
    display_name: Title = ""
    amount_nanousd: Limit | None = None
    token_count: Limit | None = None


class CreateBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is created."""

    parent: str
    budget_id: str
    budget: BudgetGiven


class GetBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is got."""

    name: str


class ListBudgets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    budget: BudgetChange
    update_mask: tuple[str, ...] = ()


class DeleteBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is deleted."""

    name: str
    etag: str = ""


class BudgetSet(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as the audit log has it: what was set."""

    name: str
    display_name: str
    amount_nanousd: int | None
    token_count: int | None
    period: BudgetPeriod
    time_zone: str


class BudgetShown(BudgetSet, frozen=True, kw_only=True):
    """A budget as callers see it."""

    spent: int
    held: int
    window_start_time: datetime
    window_end_time: datetime | None
    etag: str
    create_time: datetime


class BudgetOperations:
    """The operations of budgets."""

    def __init__(self, store: BudgetStore, access: Access, tokens: PageTokens) -> None:
        self._store = store
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateBudget",
            http=f"POST /v1/admin/{{parent={SUBJECTS}}}/budgets",
            permission=Permission.MANAGE,
            asked=CreateBudget,
            run=self.create,
            result="budget",
        )
        yield Operation(
            rpc="GetBudget",
            http=f"GET /v1/admin/{{name={_ONE}}}",
            permission=Permission.SEE,
            asked=GetBudget,
            run=self.get,
            result="budget",
        )
        yield Operation(
            rpc="ListBudgets",
            http=f"GET /v1/admin/{{parent={SUBJECTS}}}/budgets",
            permission=Permission.SEE,
            asked=ListBudgets,
            run=self.list_budgets,
            result="budgets",
        )
        yield Operation(
            rpc="UpdateBudget",
            http=f"PATCH /v1/admin/{{budget.name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=UpdateBudget,
            run=self.update,
            result="budget",
            body="budget",
        )
        yield Operation(
            rpc="DeleteBudget",
            http=f"DELETE /v1/admin/{{name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=DeleteBudget,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateBudget) -> BudgetShown:
        """Makes a budget, which counts from now on and holds everywhere within seconds."""
        check_display_name(asked.budget.display_name, field="budget.display_name")
        owner = await self._owner(caller, asked.parent, field="parent")
        if _ID.fullmatch(asked.budget_id) is None:
            raise FieldInvalid(
                "`budget_id` must be a small letter and 1 to 62 more of small letters, digits and "
                "hyphens.",
                field="budget_id",
            )
        given = asked.budget
        unit, amount = _limit(given)
        if given.period is None:
            periods = ", ".join(f"`{period}`" for period in BudgetPeriod)
            raise FieldInvalid(
                f"`budget.period` is required: one of {periods}.", field="budget.period"
            )
        zone = given.time_zone or ZONE_DEFAULT
        zones = await self._store.zones()
        if zone not in zones:
            hint = did_you_mean(zone, zones) or " Name one as Europe/Berlin."
            raise FieldInvalid(
                f"`budget.time_zone`: {zone!r} is no time zone that is known here.{hint}",
                field="budget.time_zone",
            )
        values = {
            "slug": asked.budget_id,
            "display_name": given.display_name,
            "unit": unit.value,
            "amount": amount,
            "period": given.period.value,
            "time_zone": zone,
        }
        record = _record(caller, owner, asked.parent, "CreateBudget")
        return _shown(asked.parent, await self._store.insert(owner, values, record))

    async def get(self, caller: Caller, asked: GetBudget) -> BudgetShown:
        """A budget, and what is spent of it."""
        owner, parent, slug = await self._named(caller, asked.name, field="name")
        found = await self._store.find(owner, slug)
        if found is None:
            raise missing(asked.name, "name")
        return _shown(parent, found)

    async def list_budgets(self, caller: Caller, asked: ListBudgets) -> Page[BudgetShown]:
        """A page of the budgets of one parent; those of its own parents are not among them."""
        owner = await self._owner(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("budgets", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._store.list_after(owner, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].slug) if len(found) > size else ""
        return Page(tuple(_shown(asked.parent, one) for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateBudget) -> BudgetShown:
        """Changes a budget's limit, which holds at once, and its name for people."""
        given = asked.budget
        values = writable(given, asked.update_mask, "budget")
        check_display_name(values.get("display_name", ""), field="budget.display_name")
        owner, parent, slug = await self._named(caller, given.name, field="budget.name")
        await self._access.check_loosened(caller, parent, field="budget.name")

        def change(old: Budget) -> Budget:
            return _changed(old, values, is_whole=not asked.update_mask)

        record = _record(caller, owner, parent, "UpdateBudget")
        changed = await self._store.update(owner, slug, given.etag, change, record)
        if changed is None:
            raise missing(given.name, "budget.name")
        return _shown(parent, changed)

    async def delete(self, caller: Caller, asked: DeleteBudget) -> Nothing:
        """Ends a budget: it limits nothing any more."""
        owner, parent, slug = await self._named(caller, asked.name, field="name")
        await self._access.check_loosened(caller, parent, field="name")
        record = _record(caller, owner, parent, "DeleteBudget")
        if not await self._store.delete(owner, slug, asked.etag, record):
            raise missing(asked.name, "name")
        return Nothing()

    async def _owner(self, caller: Caller, parent: str, *, field: str) -> BudgetOwner:
        subject = await self._access.subject(caller, parent, field=field)
        return BudgetOwner(subject.kind.value, subject.id, subject.org_id)

    async def _named(
        self, caller: Caller, name: str, *, field: str
    ) -> tuple[BudgetOwner, str, str]:
        """The owner, the owner's name, and the id of a budget's name."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise FieldInvalid(
                f"`{field}` must have the form `{{parent}}/budgets/{{budget}}`.", field=field
            )
        owner = await self._owner(caller, match["parent"], field=field)
        return owner, match["parent"], match["id"]


def _limit(given: BudgetGiven) -> tuple[BudgetUnit, int]:
    found = [
        (unit, amount)
        for unit, field in _LIMITS.items()
        if (amount := getattr(given, field)) is not None
    ]
    if len(found) != 1:
        raise FieldInvalid(
            "A budget limits either dollars or tokens: set one of `amount_nanousd` and "
            "`token_count`.",
            field="budget",
        )
    return found[0]


def _changed(old: Budget, values: dict[str, Any], *, is_whole: bool) -> Budget:
    """The budget with these values. Of the two limits only its own can be set."""
    own = _LIMITS[old.unit]
    (other,) = set(_LIMITS.values()) - {own}
    if values.get(other) is not None or (other in values and not is_whole):
        raise FieldInvalid(
            f"The budget is limited by `{own}`, which cannot become `{other}`: make another one.",
            field=f"budget.{other}",
        )
    amount = values.get(own, old.amount)
    if amount is None:
        raise FieldInvalid(f"`budget.{own}` is required.", field=f"budget.{own}")
    return msgspec.structs.replace(
        old, amount=amount, display_name=values.get("display_name", old.display_name)
    )


def _record(caller: Caller, owner: BudgetOwner, parent: str, action: str) -> Record:
    async def record(connection: Connection, old: Budget | None, new: Budget | None) -> None:
        slug = "" if (known := new or old) is None else known.slug
        change = Change(
            org_id=owner.org_id,
            action=action,
            resource=f"{parent}/budgets/{slug}",
            old=None if old is None else BudgetSet(**_set(parent, old)),
            new=None if new is None else BudgetSet(**_set(parent, new)),
        )
        await append(connection, caller.actor, change)

    return record


def _shown(parent: str, found: Budget) -> BudgetShown:
    return BudgetShown(
        **_set(parent, found),
        spent=found.spent,
        held=found.held,
        window_start_time=found.window_start_time,
        window_end_time=found.window_end_time,
        etag=str(found.revision),
        create_time=found.create_time,
    )


def _set(parent: str, found: Budget) -> dict[str, Any]:
    is_dollars = found.unit is BudgetUnit.NANOUSD
    return {
        "name": f"{parent}/budgets/{found.slug}",
        "display_name": found.display_name,
        "amount_nanousd": found.amount if is_dollars else None,
        "token_count": None if is_dollars else found.amount,
        "period": found.period,
        "time_zone": found.time_zone,
    }
