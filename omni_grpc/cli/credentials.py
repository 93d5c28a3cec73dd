"""`omni-grpc credentials`: tenants' credentials of providers, straight on the database.

A secret comes from a prompt or from standard input, never from an argument, which other users of
the machine and the shell's history would see.
"""

import getpass
import os
import sys
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

import typer
from rich.progress import Progress

from omni_grpc.administration.provider_credentials import (
    CreateProviderCredential,
    CredentialChange,
    CredentialGiven,
    DeleteProviderCredential,
    GetProviderCredential,
    ListProviderCredentials,
    UpdateProviderCredential,
)
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.core.money import PPM
from omni_grpc.settings import Settings
from omni_grpc.vault import CredentialStore, MasterKeys, Rotated, Rotation
from omni_grpc.wiring.credentials import master_keys_of

COLUMNS: Final = ("name", "provider", "weight", "fee_ppm", "active", "hint", "create_time")
_NO_FEE: Final = "none"
_SECRET_BYTES_MAX: Final = 64 * 1024
_PERCENT: Final = 100


class Given(NamedTuple):
    """What the options say; None was not said."""

    var: list[str] | None
    weight: int | None
    fee_percent: str | None
    active: bool | None

    @property
    def variables(self) -> dict[str, str]:
        """What `--var` names.

        Raises:
            CommandError: one is not in the environment.
        """
        found = {}
        for text in self.var or ():
            name, equals, value = text.partition("=")
            if not equals:
                if name not in os.environ:
                    raise CommandError(f"--var {name}: the environment has no such variable.")
                value = os.environ[name]
            found[name] = value
        return found

    @property
    def fee_ppm(self) -> int | None:
        """The fee in millionths; None for the whole price.

        Raises:
            CommandError: it is no percentage.
        """
        if self.fee_percent is None or self.fee_percent == _NO_FEE:
            return None
        try:
            ppm = Decimal(self.fee_percent) * PPM / _PERCENT
            if 0 <= ppm <= PPM and ppm == int(ppm):
                return int(ppm)
        except (InvalidOperation, ValueError, OverflowError):
            pass
        raise CommandError(
            "--fee-percent must be 0 to 100 with at most 4 decimals, or none for the whole price."
        )


def run_create(
    place: Place, parent: str, credential: str, provider: str, given: Given, *, as_json: bool
) -> None:
    """Seals a credential."""
    asked = CreateProviderCredential(
        parent=parent,
        provider_credential_id=credential,
        provider_credential=CredentialGiven(
            provider=provider,
            variables=given.variables,
            weight=given.weight,
            fee_ppm=given.fee_ppm,
            active=given.active,
            secret=_secret(),
        ),
    )
    made = administering.run(
        place, "omni-grpc credentials create", "CreateProviderCredential", asked
    )
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} is sealed; calls use it within 5 seconds.")


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Lists the credentials of one parent."""
    asked = ListProviderCredentials(parent=parent)
    rows = administering.rows(place, "omni-grpc credentials list", "ListProviderCredentials", asked)
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a credential."""
    asked = GetProviderCredential(name=name)
    found = administering.run(place, "omni-grpc credentials get", "GetProviderCredential", asked)
    administering.show(found, as_json=as_json)


def run_update(place: Place, name: str, given: Given, *, new_secret: bool, as_json: bool) -> None:
    """Changes what the options name."""
    said = {
        "secret": new_secret or None,
        "variables": given.var,
        "weight": given.weight,
        "fee_ppm": given.fee_percent,
        "active": given.active,
    }
    mask = tuple(field for field, value in said.items() if value is not None)
    if not mask:
        raise CommandError(
            "Say what shall change: --secret, --var, --weight, --fee-percent or --active."
        )
    asked = UpdateProviderCredential(
        provider_credential=CredentialChange(
            name=name,
            variables=given.variables,
            weight=given.weight,
            fee_ppm=given.fee_ppm,
            active=given.active,
            secret=_secret() if new_secret else "",
        ),
        update_mask=mask,
    )
    changed = administering.run(
        place, "omni-grpc credentials update", "UpdateProviderCredential", asked
    )
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Forgets a credential."""
    asked = DeleteProviderCredential(name=name)
    administering.run(place, "omni-grpc credentials delete", "DeleteProviderCredential", asked)
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone; no call begins with it after 5 seconds.")


def run_rotate(place: Place, *, as_json: bool) -> None:
    """Puts data keys under the current master key, and says what stays under others."""

    async def work(settings: Settings, rooms: Rooms) -> tuple[MasterKeys, Rotated, dict[str, int]]:
        keys = master_keys_of(settings)
        if keys.current_id is None:
            raise CommandError(
                "No master key is set: put the new one before the old ones in "
                "OMNI_CREDENTIAL_MASTER_KEY or its file."
            )
        rotation = Rotation(CredentialStore(rooms.database), keys)
        before = await rotation.left()
        others = sum(count for key, count in before.items() if key != keys.current_id)
        last = Rotated(0, 0)
        with Progress(console=console, transient=True, disable=as_json) as progress:
            task = progress.add_task("Sealing data keys anew", total=others)
            async for last in rotation.run():
                progress.update(task, completed=last.done + last.unusable)
        return keys, last, await rotation.left()

    keys, last, left = work_in(place, work)
    behind = {key: count for key, count in left.items() if key != keys.current_id}
    if as_json:
        print_json({"rotated": last.done, "current": keys.current_id, "sealed_by": left})
    else:
        console.print(f"{last.done:,} credentials are now sealed under {keys.current_id}.")
        table = table_of("master key", "credentials", "state")
        for key in dict.fromkeys((*keys.ids, *left)):
            state = "current" if key == keys.current_id else "needed still"
            if key not in left:
                state = "current" if key == keys.current_id else "no longer needed"
            elif key not in keys.ids:
                state = "not set here: its credentials cannot be used"
            table.add_row(key, f"{left.get(key, 0):,}", state)
        console.print(table)
    if behind:
        raise typer.Exit(1)


def _secret() -> str:
    """What is typed without being shown, or all of standard input.

    Raises:
        CommandError: it is empty, too long, or no text.
    """
    if sys.stdin.isatty():
        found = getpass.getpass("Secret: ")
    else:
        try:
            found = sys.stdin.buffer.read(_SECRET_BYTES_MAX + 1).decode()
        except UnicodeDecodeError:
            raise CommandError("What came from standard input is no text.") from None
    if not found.strip() or len(found) > _SECRET_BYTES_MAX:
        raise CommandError("The secret is empty or too long; give it on standard input.")
    return found.strip()
