"""`omni-grpc dev`: everything on one machine, with nothing to set up before.

It starts an embedded PostgreSQL (or uses DATABASE_URL), migrates and seeds it, makes an
organisation with credits and keys, starts the simulator where no provider is configured, serves,
and says what to try. Starting it again finds what the first start made.
"""

import asyncio
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop
from pydantic import SecretStr
from rich.console import Console

from omni_grpc.audit import Actor
from omni_grpc.cli.dev_alone import alone_in
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import (
    JOURNAL_FOLDER,
    Rooms,
    at_home,
    data_folder,
    database_of,
    rooms_of,
    settings_of,
    url_of,
)
from omni_grpc.cli.sources import SIMULATOR_ID, all_facts, seed_catalog
from omni_grpc.cli.workers import run_workers
from omni_grpc.core.errors import AlreadyExists, ApiKeyMissing, NotFound
from omni_grpc.core.money import NANO_PER_USD, usd_text
from omni_grpc.identity import OPERATOR_SLUG, Identity, KeyGrant, OrgPath, Scope
from omni_grpc.logs import configure_logs
from omni_grpc.settings import Settings

if TYPE_CHECKING:
    from omni_grpc.simulator.stripe import StripeSimulator

ORG: Final = "demo"
DEV: Final = Actor(name="omni-grpc dev")
FIRST_CREDITS_NANOUSD: Final = 10 * NANO_PER_USD
KEYS_FILE: Final = "dev.json"
CHOSEN: Final = "omni/auto"
"""What leaves the choice of the model to the service."""

STRIPE_EVENTS_PATH: Final = "/v1/webhooks/stripe"

console = Console(highlight=False, soft_wrap=True)


class DevState(msgspec.Struct, kw_only=True):
    """What `dev` leaves for the next start and for `omni-grpc chat`."""

    api_key: str
    admin_key: str
    grpc: str = ""
    rest: str = ""
    solana_rpc: str = ""
    """The node of the chain that `dev` plays; empty where it plays none."""


def run_dev(
    *,
    overrides: dict[str, object],
    data_dir: Path | None,
    ready_file: Path | None,
    config: Path | None,
) -> None:
    """Runs until it is told to stop."""
    uvloop.run(_dev(overrides, data_folder(data_dir), ready_file, config))


def read_state(folder: Path) -> DevState | None:
    """What the last `dev` of this folder left, if any."""
    try:
        return msgspec.json.decode((folder / KEYS_FILE).read_bytes(), type=DevState)
    except (OSError, msgspec.MsgspecError):
        return None


async def _dev(
    overrides: dict[str, object], folder: Path, ready_file: Path | None, config: Path | None
) -> None:
    settings = settings_of(config, overrides)
    check_free(settings.grpc_addr, settings.rest_addr)
    with alone_in(folder, lambda: _listening(folder)):
        await _dev_alone(settings, folder, ready_file)


async def _dev_alone(settings: Settings, folder: Path, ready_file: Path | None) -> None:
    settings = settings.model_copy(update={"reflection": True})
    if not {"log_format", "log_level"} & settings.model_fields_set:
        settings = settings.model_copy(update={"log_format": "console", "log_level": "warning"})
    configure_logs(settings)
    settings = at_home(settings, folder)
    if settings.journal_dir is None:
        settings = settings.model_copy(update={"journal_dir": folder / JOURNAL_FOLDER})
    where = "DATABASE_URL" if settings.database_url else f"embedded, in {folder}"
    _step(f"PostgreSQL ({where})")
    async with database_of(settings, folder) as stored:
        await _prepare(stored, folder)
        async with (
            _provided(stored) as provided,
            _payable(provided) as payable,
            _card_taking(payable) as (complete, cards),
        ):
            state = _saved(folder)
            is_played = not settings.x402_facilitator_url
            state.solana_rpc = complete.x402_rpc_url if is_played else ""

            def ready(grpc_port: int, rest_port: int) -> None:
                state.grpc = _at(complete.grpc_addr, grpc_port)
                scheme = "http" if complete.tls_cert_file is None else "https"
                state.rest = f"{scheme}://{_at(complete.rest_addr, rest_port)}"
                if cards is not None:
                    cards.send_events_to(f"{state.rest}{STRIPE_EVENTS_PATH}")
                _save(folder, state)
                if ready_file is not None:
                    _write_ready(ready_file, state, url_of(complete))
                named = "sim/demo" if SIMULATOR_ID in complete.provider_base_urls else CHOSEN
                _welcome(state, commands_to_try(state, folder, named, complete.tls_cert_file))

            await run_workers(complete, ready)
    console.print("Stopped.")


def _listening(folder: Path) -> str:
    """Where the `dev` of a folder listens, in brackets; nothing while it starts."""
    state = read_state(folder)
    return f" ({state.grpc}, {state.rest})" if state is not None and state.grpc else ""


def check_free(*addresses: str) -> None:
    """Makes sure that `dev` can listen, before it changes what another `dev` of its folder uses.

    Raises:
        CommandError: somebody listens there, or this machine has no such address.
    """
    from omni_grpc.wiring.listening import bind

    for address in addresses:
        try:
            bind(address, share=False).close()
        except OSError as error:
            raise CommandError(
                f"{error}. Another `omni-grpc dev` runs there already, or another program listens. "
                "A second dev needs addresses and a folder of its own: --grpc-addr HOST:PORT, "
                "--rest-addr HOST:PORT (port 0 takes a free one) and --data-dir FOLDER."
            ) from None


async def _prepare(settings: Settings, folder: Path) -> None:
    from omni_grpc.storage import migrate

    applied = await asyncio.to_thread(migrate, url_of(settings))
    _step(f"Migrations ({len(applied)} applied)" if applied else "Migrations (none pending)")
    facts = await asyncio.to_thread(all_facts, settings.providers_file)
    async with rooms_of(settings) as rooms:
        report = await seed_catalog(rooms.database, facts)
        _step(f"Catalog ({report.offers:,} offers, {report.priced:,} with a price)")
        await _people(rooms, folder)


async def _people(rooms: Rooms, folder: Path) -> None:
    """The demo organisation with its first credits, and keys that work."""
    identity = rooms.identity
    state = read_state(folder)
    admin_key = "" if state is None else state.admin_key
    if not await _works(identity, admin_key):
        try:
            new = await identity.bootstrap()
        except AlreadyExists:  # of a database whose dev.json is lost
            own = await identity.get_org(OPERATOR_SLUG)
            grant = KeyGrant(display_name="dev", scopes=frozenset(Scope))
            new = await identity.keys.create(DEV, own.org_id, OrgPath(org=own.slug), grant)
        admin_key = new.secret
    try:
        org = await identity.get_org(ORG)
    except NotFound:
        org = await identity.orgs.create(DEV, ORG, "Demo")
    operator = await identity.get_org(OPERATOR_SLUG)
    await rooms.ledger.grant(
        account_id=org.account_id,
        org_id=operator.org_id,
        amount=FIRST_CREDITS_NANOUSD,
        reason="first credits of omni-grpc dev",
        request_id="dev-first-credits",
    )
    api_key = "" if state is None else state.api_key
    if not await _works(identity, api_key):
        grant = KeyGrant(display_name="dev")
        new = await identity.keys.create(DEV, org.org_id, OrgPath(org=ORG), grant)
        api_key = new.secret
    _save(folder, DevState(api_key=api_key, admin_key=admin_key))
    balance = await rooms.ledger.balance(org.account_id)
    _step(f"Organisation {ORG!r} with {usd_text(balance.available)} USD of credits, and its key")


async def _works(identity: Identity, key: str) -> bool:
    if not key:
        return False
    try:
        await identity.authenticate(key)
    except ApiKeyMissing:  # also ApiKeyInvalid
        return False
    return True


@asynccontextmanager
async def _provided(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a provider: the simulator, where the operator configured none."""
    names = sorted(
        {
            *settings.provider_keys,
            *settings.provider_base_urls,
            *settings.provider_endpoint_keys,
        }
    )
    if names:
        _step(f"Providers: {', '.join(names)}")
        yield settings
        return
    from omni_grpc.simulator import Simulator

    simulator = Simulator()
    base_url = await simulator.start("127.0.0.1", 0)
    _step("Provider: the simulator, since no provider key is set (docs/simulator.md)")
    try:
        yield settings.model_copy(update={"provider_base_urls": {SIMULATOR_ID: base_url}})
    finally:
        await simulator.stop()


@asynccontextmanager
async def _payable(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with somebody who settles payments: played, where the operator named nobody."""
    if settings.x402_facilitator_url:
        yield settings
        return
    from solders.keypair import Keypair

    from omni_grpc.simulator.command import FIRST_UNITS
    from omni_grpc.simulator.facilitator import Facilitator

    async with Facilitator(first_units=FIRST_UNITS) as facilitator:
        _step("Payments in USDC, on a chain that is played (docs/top-ups.md)")
        yield settings.model_copy(
            update={
                "x402_facilitator_url": facilitator.url,
                "x402_rpc_url": facilitator.rpc_url,
                "x402_pay_to": str(Keypair().pubkey()),
                "x402_network": facilitator.network,
            }
        )


@asynccontextmanager
async def _card_taking(
    settings: Settings,
) -> AsyncIterator[tuple[Settings, "StripeSimulator | None"]]:
    """The settings with a card processor: a simulated one, where the operator named none."""
    if settings.stripe_api_key is not None or settings.tls_cert_file is not None:
        yield settings, None  # its events would not trust a certificate of the operator's own
        return
    from omni_grpc.simulator.stripe import StripeSimulator

    async with StripeSimulator() as cards:
        _step("Payments by card, at a processor that is simulated (docs/cards.md)")
        settings = settings.model_copy(
            update={
                "stripe_api_key": SecretStr(cards.api_key),
                "stripe_webhook_secret": SecretStr(cards.webhook_secret),
                "stripe_api_base": cards.origin,
            }
        )
        yield settings, cards


def _saved(folder: Path) -> DevState:
    state = read_state(folder)
    if state is None:
        raise RuntimeError(f"{folder / KEYS_FILE} vanished while dev was starting")
    return state


def _save(folder: Path, state: DevState) -> None:
    _write_private(folder / KEYS_FILE, msgspec.json.format(msgspec.json.encode(state)))


def _write_ready(path: Path, state: DevState, database_url: str) -> None:
    facts = msgspec.to_builtins(state) | {"database_url": database_url, "pid": os.getpid()}
    _write_private(path, msgspec.json.format(msgspec.json.encode(facts)))


def _write_private(path: Path, content: bytes) -> None:
    """Replaces a file at once, readable by its owner alone: it holds keys."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content + b"\n")
    beside.replace(path)


def _at(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"


def _step(text: str) -> None:
    console.print(f"[green]✓[/] {text}")


def _welcome(state: DevState, commands: list[tuple[str, str]]) -> None:
    console.print()
    console.print(f"  gRPC     [bold]{state.grpc}[/]")
    console.print(f"  REST     [bold]{state.rest}/v1[/]")
    console.print(f"  API key  [bold]{state.api_key}[/]")
    console.print("\nTry it, in another terminal:\n")
    for title, command in commands:
        console.print(f"[dim]# {title}[/]")
        print(command + "\n")  # noqa: T201 - to be copied: rich must not touch it
    console.print("[dim]Ctrl-C stops.[/]")


def commands_to_try(
    state: DevState, folder: Path, named: str, certificate: Path | None = None
) -> list[tuple[str, str]]:
    """Three commands that work as printed, with what is on this machine, and their titles.

    Two leave the choice of the model to the service; the other one asks `named`. With a
    `certificate` each believes that file, which nobody else may have signed.
    """
    ca = "" if certificate is None else shlex.quote(str(certificate.absolute()))
    key = state.api_key
    question = "Why is the sky blue?"
    content = {"role": "user", "content": question}
    if shutil.which("grpcurl"):
        grpc_title = "gRPC, streamed, with grpcurl"
        message = {"role": "ROLE_USER", "parts": [{"text": question}]}
        prompt = {"prompt": {"model": CHOSEN, "messages": [message]}}
        grpc = (
            f"grpcurl {f'-cacert {ca}' if ca else '-plaintext'} "
            f"-H 'authorization: Bearer {key}' -d {_quoted(prompt)} "
            f"{state.grpc} omni.router.v1.RouterService/StreamChat"
        )
    else:
        grpc_title = "gRPC, streamed, then what it cost"
        grpc = f"{_here('omni-grpc')} chat {shlex.quote(question)} --model {CHOSEN}"
        if folder != data_folder(None):
            grpc += f" --data-dir {shlex.quote(str(folder))}"
        if ca:
            grpc += f" --ca {ca}"
    curl = (
        f"curl -N {f'--cacert {ca} ' if ca else ''}{state.rest}/v1/chat/completions "
        f"-H 'authorization: Bearer {key}' "
        f"-H 'content-type: application/json' "
        f"-d {_quoted({'model': named, 'stream': True, 'messages': [content]})}"
    )
    script = (
        "import openai\n"
        f'for chunk in openai.OpenAI().chat.completions.create(model="{CHOSEN}", stream=True, '
        f"messages=[{msgspec.json.encode(content).decode()}]):\n"
        '  print(chunk.choices[0].delta.content or "", end="", flush=True)\nprint()'
    )
    python = (
        f"{f'SSL_CERT_FILE={ca} ' if ca else ''}"
        f"OPENAI_BASE_URL={state.rest}/v1 OPENAI_API_KEY={key} {_here('python')} -c "
        + shlex.quote(script)
    )
    if importlib.util.find_spec("openai") is None:
        python = f"{_here('python')} -m pip install --quiet openai && \\\n{python}"
    return [(grpc_title, grpc), ("REST, streamed, with curl", curl), ("The OpenAI SDK", python)]


def _here(program: str) -> str:
    """A program of this environment, from the working folder if it lies below it."""
    path = Path(sys.executable).parent / program
    below = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if below else path))


def _quoted(value: object) -> str:
    return shlex.quote(msgspec.json.encode(value).decode())
