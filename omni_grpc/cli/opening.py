"""What the commands share: reading the settings, finding the database, opening rooms on it."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from omni_grpc.billing import Lane, Leases, Ledger, LedgerStore, NoJournal
from omni_grpc.cli.failures import CommandError
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.identity import Identity
from omni_grpc.providers import load_specs
from omni_grpc.settings import ProviderVariables, Settings, read_settings, secret_file
from omni_grpc.storage import Connection, Database, EmbeddedPostgres, connect

DATABASE_FOLDER = "postgres"
JOURNAL_FOLDER = "journal"
SECRET_FILE = "key_hash_secret"  # noqa: S105 - a file's name
MASTER_KEY_FILE = "credential_master_key"
ON_AT_HOME = ("wallet_sign_in", "wallet_headers", "webhook_private_hosts")
"""What is off in `serve`, and on in `dev`."""

LEDGER_SECONDS_MAX = 5.0
"""How long a command waits for the ledger before it says that the database is away."""


def settings_of(config: Path | None, overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings of this process, from command line, environment and file."""
    return read_settings(
        os.environ, config=config, provider_variables=provider_variables, overrides=overrides
    )


def provider_variables(own: Path | None) -> dict[str, ProviderVariables]:
    """From which variables the providers take their values, by provider id.

    Raises:
        ValueError: the operator's own file of providers cannot be used.
    """
    return {
        spec.id: ProviderVariables(
            spec.key_env,
            spec.variables,
            {one.name: ProviderVariables(one.key_env, one.variables) for one in spec.endpoints},
        )
        for spec in load_specs(own)
    }


def data_folder(given: Path | None) -> Path:
    """Where `dev` keeps its things; made for its owner alone."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    folder = (given or Path(base).expanduser() / "omni-grpc").absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def at_home(settings: Settings, folder: Path) -> Settings:
    """The settings as `dev` has them, for it and for commands on its folder.

    The key hash secret and the master key for credentials are the operator's, or those that the
    folder keeps; what is open on one's own machine alone is on unless it is set.
    """
    update: dict[str, object] = {
        name: True for name in ON_AT_HOME if name not in settings.model_fields_set
    }
    if settings.key_hash_secret is None:
        update["key_hash_secret"] = secret_file(folder / SECRET_FILE)
    if settings.credential_master_key is None and settings.credential_master_key_file is None:
        update["credential_master_key"] = secret_file(folder / MASTER_KEY_FILE)
    return settings.model_copy(update=update)


def journal_folder(settings: Settings) -> Path:
    """Where the workers' journals are: as set, or below the user's own state."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return settings.journal_dir or Path(base).expanduser() / "omni-grpc" / JOURNAL_FOLDER


@asynccontextmanager
async def database_of(settings: Settings, folder: Path | None) -> AsyncIterator[Settings]:
    """The settings with a database: the operator's, or the embedded one of `folder`."""
    if settings.database_url is not None:
        yield settings
        return
    if folder is None:
        raise CommandError("DATABASE_URL is not set: the database that this command works on.")
    server = EmbeddedPostgres(folder / DATABASE_FOLDER)
    url = await asyncio.to_thread(server.start)
    try:
        yield settings.model_copy(update={"database_url": SecretStr(url)})
    finally:
        await asyncio.to_thread(server.stop)


def url_of(settings: Settings) -> str:
    """The database's URL, which is there by now."""
    if settings.database_url is None:
        raise CommandError("DATABASE_URL is not set: the database that this command works on.")
    return settings.database_url.get_secret_value()


@dataclass(frozen=True, slots=True)
class Rooms:
    """What an operator's command works with."""

    database: Database
    identity: Identity
    ledger: Ledger


@asynccontextmanager
async def rooms_of(settings: Settings) -> AsyncIterator[Rooms]:
    """Identity and ledger on the settings' database, with a lane of the command's own."""
    url = url_of(settings)
    if settings.key_hash_secret is None:
        raise CommandError(
            "OMNI_KEY_HASH_SECRET is not set: the secret that the servers of this database use."
        )
    clock = SystemClock()

    async def lane_connection() -> Connection:
        return await connect(url, application_name="omni-grpc command")

    async with Database(url, application_name="omni-grpc command") as database:
        journal = NoJournal()
        lane = Lane(lane_connection, clock, _Quiet(), journal)
        running = asyncio.create_task(lane.run())
        try:
            await _connected(lane)
            yield Rooms(
                database=database,
                identity=Identity(
                    database,
                    key_hash_secret=settings.key_hash_secret.get_secret_value().encode(),
                    clock=clock,
                ),
                ledger=Ledger(
                    lane=lane,
                    leases=Leases(lane, clock),
                    journal=journal,
                    store=LedgerStore(database),
                    clock=clock,
                    markup_ppm=settings.markup_ppm,
                ),
            )
            await lane.close(LEDGER_SECONDS_MAX)
        finally:
            running.cancel()
            await asyncio.wait({running})


async def _connected(lane: Lane) -> None:
    try:
        async with asyncio.timeout(LEDGER_SECONDS_MAX):
            while not lane.connected:  # noqa: ASYNC110 - once, at a command's start
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise LedgerUnavailable(
            "The database does not answer, or has no ledger yet: check DATABASE_URL, and run "
            "`omni-grpc migrate`."
        ) from None


class _Quiet:
    """A lane's observer that a command has no use for."""

    def batch_applied(self, size: int, seconds: float) -> None:
        """Nothing to count."""

    def connection_changed(self, connected: bool) -> None:
        """Nothing to show."""

    def rows_parked(self, count: int) -> None:
        """The command's own operation tells it."""

    def dead_letter_written(self) -> None:
        """The command's own operation tells it."""
