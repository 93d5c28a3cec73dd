"""`omni-grpc reconcile list`, `settle`, `void`, `write-off`: attempts of unknown outcome."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from omni_grpc.administration import MoneyAudit
from omni_grpc.audit import Actor, AuditStore
from omni_grpc.billing import AttemptRecord, Resolver, UnresolvedAttempt
from omni_grpc.catalog import CatalogStore
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, amount_of, console, print_json, table_of, work_in
from omni_grpc.core.errors import NotFound
from omni_grpc.core.ids import AccountId, HoldId, attempt_of, call_id_of
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import Usage
from omni_grpc.settings import Settings

PAGE_ROWS: Final = 500


def resolver_of(rooms: Rooms) -> Resolver:
    """What ends attempts at their pinned prices."""
    return Resolver(rooms.ledger, CatalogStore(rooms.database).prices)


def attempt_id(text: str) -> HoldId:
    """The id at the end of an attempt's name, or the id alone.

    Raises:
        CommandError: it is none.
    """
    try:
        return HoldId(uuid.UUID(text.rpartition("/")[2]))
    except ValueError:
        raise CommandError(
            f"{text[:80]!r} is no attempt's id; `omni-grpc reconcile list` shows them."
        ) from None


async def audited(rooms: Rooms, command: str, hold_id: HoldId, record: AttemptRecord) -> None:
    """Tells the audit log of the account's organisation that an attempt was resolved."""
    account_id = (await rooms.ledger.usage(call_id_of(hold_id))).account_id
    account = await _account_name(rooms, account_id)
    audit = MoneyAudit(AuditStore(rooms.database))
    await audit.resolved(Actor(name=command), account_id, account, hold_id, record)


async def unresolved(rooms: Rooms) -> AsyncIterator[UnresolvedAttempt]:
    """All unresolved attempts, page by page."""
    after: uuid.UUID | None = None
    while page := await rooms.ledger.unresolved(after, PAGE_ROWS):
        for attempt in page:
            yield attempt
        after = page[-1].hold_id


def run_list(place: Place, *, as_json: bool) -> None:
    """Lists unresolved attempts."""

    async def work(_: Settings, rooms: Rooms) -> list[tuple[UnresolvedAttempt, str]]:
        names: dict[AccountId, str] = {}
        found = []
        async for attempt in unresolved(rooms):
            if attempt.account_id not in names:
                names[attempt.account_id] = await _account_name(rooms, attempt.account_id)
            found.append((attempt, names[attempt.account_id]))
        return found

    found = work_in(place, work)
    if as_json:
        print_json([_facts(attempt, account) for attempt, account in found])
        return
    if not found:
        console.print("No attempt is unresolved.")
        return
    table = table_of(
        "attempt", "call", "account", "model", "held USD", "silent since", "answer's id"
    )
    for attempt, account in found:
        table.add_row(
            str(attempt.hold_id),
            f"{attempt.call_id}, attempt {attempt_of(attempt.hold_id)}",
            account,
            attempt.model,
            usd_text(attempt.amount),
            f"{attempt.lease_until:%Y-%m-%d %H:%M:%S}",
            attempt.provider_ref or "",
        )
    console.print(table)
    held = sum(attempt.amount for attempt, _ in found)
    console.print(
        f"Together they hold {usd_text(held)} USD. Ask their providers with: "
        "omni-grpc reconcile lookup --all"
    )


def run_settle(place: Place, attempt: str, usage: Usage, *, as_json: bool) -> None:
    """Charges an attempt by what its provider says."""
    units = (usage.image, usage.second, usage.character)
    if (usage.prompt is None or usage.completion is None) and all(one is None for one in units):
        raise CommandError(
            "Say what it used: --prompt and --completion, or --images, --seconds or --characters."
        )
    parts = (usage.cached_read or 0) + (usage.cached_write or 0) + (usage.prompt_audio or 0)
    if parts > (usage.prompt or 0):
        raise CommandError("--prompt is less than its cached and audio tokens together.")
    if (usage.reasoning or 0) + (usage.completion_audio or 0) > (usage.completion or 0):
        raise CommandError("--completion is less than its reasoning and audio tokens together.")
    hold_id = attempt_id(attempt)
    _resolve(place, hold_id, lambda by: by.settle(hold_id, usage), "settled", as_json=as_json)


def run_void(place: Place, attempt: str, *, as_json: bool) -> None:
    """Frees what an attempt holds."""
    hold_id = attempt_id(attempt)
    _resolve(place, hold_id, lambda by: by.void(hold_id), "voided", as_json=as_json)


def run_write_off(place: Place, attempt: str, loss_usd: str | None, *, as_json: bool) -> None:
    """Frees what an attempt holds at the operator's loss."""
    hold_id = attempt_id(attempt)
    loss = None if loss_usd is None else amount_of("--loss-usd", loss_usd, low=0)
    _resolve(place, hold_id, lambda by: by.write_off(hold_id, loss), "written off", as_json=as_json)


def _resolve(
    place: Place,
    hold_id: HoldId,
    decide: Callable[[Resolver], Awaitable[AttemptRecord]],
    word: str,
    *,
    as_json: bool,
) -> None:
    async def work(_: Settings, rooms: Rooms) -> AttemptRecord:
        record = await decide(resolver_of(rooms))
        await audited(rooms, "omni-grpc reconcile", hold_id, record)
        return record

    record = work_in(place, work)
    if as_json:
        print_json(ended_facts(hold_id, record))
        return
    console.print(
        f"The attempt {hold_id} is {word}: its account was charged "
        f"{usd_text(record.cost or 0)} of the {usd_text(record.held or 0)} USD that it held."
    )


def ended_facts(hold_id: HoldId, record: AttemptRecord) -> dict[str, Any]:  # as it goes into JSON
    """An attempt that has ended."""
    return {
        "attempt": str(hold_id),
        "outcome": record.outcome,
        "held_nanousd": record.held,
        "charged_nanousd": record.cost,
    }


async def _account_name(rooms: Rooms, account_id: AccountId) -> str:
    try:
        return f"accounts/{(await rooms.identity.org_of_account(account_id)).slug}"
    except NotFound:  # money that nobody owns must be listed all the more
        return f"account {account_id}"


def _facts(attempt: UnresolvedAttempt, account: str) -> dict[str, Any]:  # as it goes into JSON
    return {
        "attempt": str(attempt.hold_id),
        "name": f"{account}/unresolvedAttempts/{attempt.hold_id}",
        "call_id": str(attempt.call_id),
        "attempt_number": attempt_of(attempt.hold_id),
        "account": account,
        "model": attempt.model,
        "held_nanousd": attempt.amount,
        "price_version": attempt.price_version,
        "markup_ppm": attempt.markup_ppm,
        "provider_ref": attempt.provider_ref,
        "worker": attempt.owner,
        "lease_time": attempt.lease_until,
    }
