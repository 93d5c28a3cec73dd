"""`omni-grpc credits`: grants, refunds and balances, straight on the database."""

import uuid

from omni_grpc.administration import MoneyAudit
from omni_grpc.audit import Actor, AuditStore
from omni_grpc.billing import LedgerEntry, charge_of_call
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.moments import moment_of
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, amount_of, console, print_json, table_of, work_in
from omni_grpc.core.ids import CallId
from omni_grpc.core.limits import REASON_CHARS_MAX
from omni_grpc.core.money import usd_text
from omni_grpc.core.payments import Payment
from omni_grpc.identity import OPERATOR_SLUG, Org
from omni_grpc.settings import Settings


def run_credits_grant(
    place: Place,
    org: str,
    usd: str,
    reason: str,
    expires: str | None,
    payment: tuple[str | None, str | None],
    request_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Adds credits; `payment` is an outside payment's network and name, or two Nones."""
    amount = amount_of("--usd", usd)
    expire_time = None if expires is None else moment_of("--expires", expires)
    _check_reason(reason)
    paid = _payment(*payment)

    async def work(_: Settings, rooms: Rooms) -> tuple[int, int]:
        found = await rooms.identity.get_org(org)
        operator = await rooms.identity.get_org(OPERATOR_SLUG)
        entry = await rooms.ledger.grant(
            account_id=found.account_id,
            org_id=operator.org_id,
            amount=amount,
            reason=reason,
            request_id=request_id or _new_request_id(),
            expire_time=expire_time,
            payment=paid,
        )
        await _audited(rooms, "grant", "GrantCredits", found, entry)
        return entry.amount, (await rooms.ledger.balance(found.account_id)).available

    granted, available = work_in(place, work)
    if as_json:
        print_json(
            {
                "granted_nanousd": granted,
                "available_nanousd": available,
                "expire_time": expire_time,
            }
        )
        return
    until = f" until {expire_time:%Y-%m-%d %H:%M} UTC" if expire_time else ""
    console.print(
        f"Granted {usd_text(granted)} USD{until}; {org} can now spend {usd_text(available)} USD."
    )


def _payment(network: str | None, payment_id: str | None) -> Payment | None:
    if network is None and payment_id is None:
        return None
    if network is None or payment_id is None:
        raise CommandError("--payment-network and --payment-id go together.")
    try:
        return Payment.named(network, payment_id)
    except ValueError as error:
        raise CommandError(str(error)) from None


def run_credits_refund(
    place: Place,
    org: str,
    usd: str,
    call: str | None,
    attempt: int | None,
    hold: str | None,
    reason: str,
    request_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Gives back a part of a charge, or all of it."""
    amount = amount_of("--usd", usd)
    _check_reason(reason)
    if (call is None) == (hold is None):
        raise CommandError("Name what was charged: either --call or --hold.")
    if attempt is not None and call is None:
        raise CommandError("--attempt goes with --call.")

    async def work(_: Settings, rooms: Rooms) -> tuple[int, int]:
        found = await rooms.identity.get_org(org)
        operator = await rooms.identity.get_org(OPERATOR_SLUG)
        if call is None:
            charge_id = _uuid("--hold", hold or "")
        else:
            call_id = CallId(_uuid("--call", call))
            charge_id = await charge_of_call(rooms.ledger, found.account_id, call_id, attempt)
        entry = await rooms.ledger.refund(
            account_id=found.account_id,
            org_id=operator.org_id,
            charge_id=charge_id,
            amount=amount,
            reason=reason,
            request_id=request_id or _new_request_id(),
        )
        await _audited(rooms, "refund", "RefundCharge", found, entry)
        return entry.amount, (await rooms.ledger.balance(found.account_id)).available

    refunded, available = work_in(place, work)
    if as_json:
        print_json({"refunded_nanousd": refunded, "available_nanousd": available})
    else:
        console.print(
            f"Refunded {usd_text(refunded)} USD; {org} can now spend {usd_text(available)} USD."
        )


def run_credits_balance(place: Place, org: str, *, as_json: bool) -> None:
    """Shows a balance."""

    async def work(_: Settings, rooms: Rooms) -> dict[str, int]:
        found = await rooms.identity.get_org(org)
        balance = await rooms.ledger.balance(found.account_id)
        return {
            "posted_nanousd": balance.posted,
            "held_nanousd": balance.held,
            "unresolved_nanousd": balance.unresolved,
            "available_nanousd": balance.available,
        }

    balance = work_in(place, work)
    if as_json:
        print_json(balance)
        return
    table = table_of("", "USD")
    for name, amount in balance.items():
        table.add_row(name.removesuffix("_nanousd"), usd_text(amount))
    console.print(table)


async def _audited(rooms: Rooms, command: str, action: str, org: Org, entry: LedgerEntry) -> None:
    actor = Actor(name=f"omni-grpc credits {command}")
    audit = MoneyAudit(AuditStore(rooms.database))
    await audit.entry(actor, action, org.account_id, f"accounts/{org.slug}", entry)


def _uuid(option: str, text: str) -> uuid.UUID:
    """The id at the end of a name, or the id alone."""
    try:
        return uuid.UUID(text.rpartition("/")[2])
    except ValueError:
        raise CommandError(
            f"{option}: {text[:80]!r} is no id, as the service gives them."
        ) from None


def _check_reason(reason: str) -> None:
    if len(reason) > REASON_CHARS_MAX or "\x00" in reason:
        raise CommandError(f"--reason must be at most {REASON_CHARS_MAX} characters.")


def _new_request_id() -> str:
    return f"command-{uuid.uuid4()}"
