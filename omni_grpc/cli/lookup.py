"""`omni-grpc reconcile lookup`: unresolved attempts, settled by their providers' own records."""

from enum import StrEnum
from typing import Any

import typer

from omni_grpc.billing import AttemptRecord, UnresolvedAttempt
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.reconcile import attempt_id, audited, resolver_of, unresolved
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.completion import OwnCredentials
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import HoldFinal, NotFound
from omni_grpc.core.money import usd_text
from omni_grpc.providers import OwnAccountFault, ProviderFault, Providers
from omni_grpc.settings import Settings
from omni_grpc.wiring.credentials import own_credentials_of


class Found(StrEnum):
    """What came of asking for one attempt."""

    SETTLED = "settled"
    NO_RECORD = "no record yet"
    NO_ID = "its answer was never named"
    NO_RECORDS = "its provider keeps no records, or is not configured"
    FAILED = "its provider could not be asked"
    NOT_OURS = "it was sent with a tenant's credential, which cannot be used here"
    ENDED = "ended by somebody else meanwhile"


class _Look:
    """One attempt that was asked for."""

    def __init__(self, attempt: UnresolvedAttempt, found: Found, why: str = "") -> None:
        self.attempt = attempt
        self.found = found
        self.why = why
        self.record: AttemptRecord | None = None

    @property
    def is_open(self) -> bool:
        """Whether the attempt is unresolved still."""
        return self.found not in (Found.SETTLED, Found.ENDED)


def run_lookup(place: Place, attempt: str | None, *, everything: bool, as_json: bool) -> None:
    """Asks providers, settles what they know, and exits 1 where something stays unresolved."""
    if (attempt is None) != everything:
        raise CommandError("Name an attempt, or give --all.")

    async def work(settings: Settings, rooms: Rooms) -> list[_Look]:
        from omni_grpc.wiring.configured import configured_providers

        providers = configured_providers(settings)
        own = own_credentials_of(settings, rooms.database, SystemClock())
        await providers.open()
        try:
            if attempt is not None:
                one = await rooms.ledger.unresolved_attempt(attempt_id(attempt))
                return [await _look(rooms, providers, own, one)]
            return [await _look(rooms, providers, own, one) async for one in unresolved(rooms)]
        finally:
            await own.close()
            await providers.close()

    looks = work_in(place, work)
    if as_json:
        print_json([_facts(look) for look in looks])
    else:
        _show(looks)
    if any(look.is_open for look in looks):
        raise typer.Exit(1)


async def _look(
    rooms: Rooms, providers: Providers, own: OwnCredentials, attempt: UnresolvedAttempt
) -> _Look:
    provider = attempt.model.partition("/")[0]
    if attempt.credential is None and not providers.keeps_records(provider):
        return _Look(attempt, Found.NO_RECORDS)
    if not attempt.provider_ref:
        return _Look(attempt, Found.NO_ID)
    try:
        if attempt.credential is None:
            usage = await providers.lookup(provider, attempt.provider_ref)
        else:
            usage = await own.recorded(attempt.credential, attempt.provider_ref)
    except OwnAccountFault as fault:
        return _Look(attempt, Found.NOT_OURS, f"{attempt.credential}: {fault.message}")
    except ProviderFault as fault:
        return _Look(attempt, Found.FAILED, fault.message)
    if usage is None:
        return _Look(attempt, Found.NO_RECORD)
    look = _Look(attempt, Found.SETTLED)
    try:
        look.record = await resolver_of(rooms).settle(attempt.hold_id, usage)
        await audited(rooms, "omni-grpc reconcile lookup", attempt.hold_id, look.record)
    except (HoldFinal, NotFound) as error:
        return _Look(attempt, Found.ENDED, error.message)
    return look


def _show(looks: list[_Look]) -> None:
    if not looks:
        console.print("No attempt is unresolved.")
        return
    table = table_of("attempt", "model", "answer's id", "held USD", "charged USD", "found")
    for look in looks:
        record = look.record
        table.add_row(
            str(look.attempt.hold_id),
            look.attempt.model,
            look.attempt.provider_ref or "",
            usd_text(look.attempt.amount),
            "" if record is None else usd_text(record.cost or 0),
            f"{look.found}: {look.why}" if look.why else look.found,
        )
    console.print(table)
    still = sum(look.is_open for look in looks)
    if still:
        console.print(
            f"{still:,} of {len(looks):,} stay unresolved. A record may come minutes after the "
            "answer; what has none is ended by `reconcile settle`, `void` or `write-off`."
        )


def _facts(look: _Look) -> dict[str, Any]:  # as it goes into JSON
    record = look.record
    return {
        "attempt": str(look.attempt.hold_id),
        "model": look.attempt.model,
        "provider_ref": look.attempt.provider_ref,
        "found": look.found.name.lower(),
        "why": look.why,
        "held_nanousd": look.attempt.amount,
        "charged_nanousd": None if record is None else record.cost,
    }
