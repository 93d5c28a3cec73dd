"""What histories happen to: replicas, their proxies, PostgreSQL and the provider, all breakable.

A world outlives many histories. Each history ends by mending it: what was stopped goes on, what
was killed is started anew.
"""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import psycopg
from psycopg.rows import tuple_row

from harness import wire
from harness.books import Attempt, Books
from harness.postgres import Postgres
from harness.prices import Prices
from harness.provider import Provider
from harness.proxy import DatabaseProxy
from harness.servers import KEY_HASH_SECRET, Nursery, Server
from omni_grpc.audit import Actor
from omni_grpc.billing.invariants import Violation, check
from omni_grpc.catalog import Alias, CatalogStore, Mode, Quote
from omni_grpc.cli.sources import SIMULATOR_ID, all_facts, seed_catalog
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.money import Rate, Unit
from omni_grpc.identity import Identity, KeyGrant, OrgPath
from omni_grpc.settings import Settings
from omni_grpc.storage import Database, migrate

FAULTS = Actor(name="faults")

LEASE_SECONDS = 3
"""Short, so that a lease can end within a history. Its worker renews it each second."""

REAP_SECONDS = 2.0
UNRESOLVED_SECONDS_MAX = 2 * LEASE_SECONDS + REAP_SECONDS + 3.0
"""When an orphan is listed at the latest: its lease, a lease's grace after an outage, a look."""

UP_SECONDS_MAX = 15.0

_PRICES = """
SELECT r.price_version,
       max(r.nanousd_per_mtok) FILTER (WHERE r.unit = 'prompt') / 1000000,
       max(r.nanousd_per_mtok) FILTER (WHERE r.unit = 'cached_read') / 1000000,
       max(r.nanousd_per_mtok) FILTER (WHERE r.unit = 'completion') / 1000000
  FROM price_rate r GROUP BY r.price_version
"""

ALIASES = {
    "faults/500-then-fast": ("sim/error-500", "sim/fast"),
    "faults/429-then-fast": ("sim/error-429", "sim/fast"),
    "faults/hang-then-fast": ("sim/hang", "sim/fast"),
    "faults/cut-then-fast": ("sim/cut", "sim/fast"),
    "faults/all-fail": ("sim/error-503", "sim/error-500", "sim/error-502"),
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation of one history: its wallet, its key."""

    slug: str
    account_id: int
    org_id: int
    api_key: str


class World:
    """Use as `async with World(...) as world`."""

    def __init__(self, *, replicas: int = 3, workers: tuple[int, ...] = (1, 1, 1)) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omni-faults-"))
        self.folder.chmod(0o755)  # PostgreSQL may run under another account
        self.provider = Provider()
        self.servers: list[Server] = []
        self.deaths = 0
        self.dead: set[int] = set()
        """The processes that were killed; a number may be given to another one later."""
        self._workers = workers[:replicas]
        self._nursery = Nursery(self.folder / "nursery.log")
        self._postgres_nursery = Nursery(self.folder / "postgres-nursery.log")
        self.postgres = Postgres(self._postgres_nursery, self.folder / "postgres")
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1)
        self.admin_key = ""
        self._prices: dict[int, Prices] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        for nursery in (self._nursery, self._postgres_nursery):
            await nursery.start()
            self._stack.push_async_callback(nursery.stop)
        await self.postgres.start()
        await self._migrate()
        self.database = await self._stack.enter_async_context(
            Database(self.postgres.url(), application_name="faults")
        )
        self.identity = Identity(self.database, key_hash_secret=KEY_HASH_SECRET.encode())
        await self._fill()
        rows = await self.database.fetch_all(wire.LAYOUT_SQL, row=tuple_row)
        await self._stack.enter_async_context(self.provider)
        for number, workers in enumerate(self._workers):
            proxy = await self._stack.enter_async_context(
                DatabaseProxy(lambda: self.postgres.socket_path, wire.layout_of(rows))
            )
            folder = self.folder / f"replica-{number}"
            folder.mkdir()
            self.servers.append(
                Server(number, self._nursery, proxy, folder, self._environment(), workers)
            )
        await self._start_servers()

    async def _migrate(self) -> None:
        await asyncio.to_thread(migrate, self.postgres.url())

    async def _start_servers(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers))

    async def _fill(self) -> None:
        await self._fill_catalog()
        self.admin_key = await self._bootstrap()
        await self._read_prices()

    async def _bootstrap(self) -> str:
        return (await self.identity.bootstrap()).secret

    async def _fill_catalog(self) -> None:
        self._facts = [
            fact
            for fact in all_facts(None)
            if fact.provider == SIMULATOR_ID and fact.mode is Mode.CHAT
        ]
        await seed_catalog(self.database, self._facts)
        store = CatalogStore(self.database)
        for name, targets in ALIASES.items():
            await store.set_alias(Alias(name=name, targets=targets), actor="faults")

    async def _read_prices(self) -> None:
        rows = await self.database.fetch_all(_PRICES, row=tuple_row)
        self._prices = {row[0]: Prices(*row[1:]) for row in rows}

    def _environment(self) -> dict[str, str]:
        wanted = {
            "OMNI_HOLD_LEASE_S": str(LEASE_SECONDS),
            "OMNI_JOURNAL_DIR": str(self.folder / "journal"),
            "OMNI_UNRESOLVED_HOURS": "24",
            "OMNI_REPLAY_ANSWERS": "true",
        }
        known = {f"OMNI_{name.upper()}" for name in Settings.model_fields}
        return {
            "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
            "OMNI_PROVIDER_SIM_BASE_URL": self.provider.base_url,
            **{name: value for name, value in wanted.items() if name in known},
        }

    # --- for histories ------------------------------------------------------------------------
    async def tenant(self) -> Tenant:
        """A new organisation without credits."""
        return await self._tenant(f"t{next(self._numbers)}")

    async def _tenant(self, slug: str) -> Tenant:
        org = await self.identity.orgs.create(FAULTS, slug)
        key = await self.identity.keys.create(FAULTS, org.org_id, OrgPath(org=slug), KeyGrant())
        return Tenant(slug, int(org.account_id), int(org.org_id), key.secret)

    def prices(self, attempt: Attempt) -> Prices:
        """What a token cost at the version that the books name."""
        assert attempt.used is not None, "a final attempt of the router has its usage record"
        return self._prices[attempt.used.price_version]

    async def price_version(self, model: str) -> int:
        """The current version of an offer's price."""
        row = await self.database.fetch_one(
            "SELECT price_version FROM offer WHERE id = %s", [model], row=tuple_row
        )
        assert row is not None
        return int(row[0])

    async def set_price(self, model: str, prompt: int, completion: int) -> int:
        """Changes an offer's price, in nano-dollars a token; the new version."""
        rates = tuple(
            Rate(unit, 0, each * 10**6)
            for unit, each in (
                (Unit.PROMPT, prompt),
                (Unit.CACHED_READ, prompt),
                (Unit.COMPLETION, completion),
            )
        )
        facts = [
            msgspec.structs.replace(fact, quote=Quote(rates=tuple(sorted(rates))))
            if f"{fact.provider}/{fact.provider_model}" == model
            else fact
            for fact in self._facts
        ]
        self._facts = facts
        await seed_catalog(self.database, facts)
        await self._read_prices()
        return await self.price_version(model)

    async def books(self, tenant: Tenant) -> Books:
        return await Books.read(self.database, tenant.account_id)

    async def check(self) -> list[Violation]:
        """The doctor's invariants."""
        store = CatalogStore(self.database)
        return await check(self.database, prices=store.prices, lease_grace_s=UNRESOLVED_SECONDS_MAX)

    async def session(self) -> "psycopg.AsyncConnection[tuple[Any, ...]]":
        """A session beside the service's own; its caller closes it."""
        return await psycopg.AsyncConnection.connect(self.postgres.url(), connect_timeout=5)

    async def kill(self, server: Server) -> bool:
        """kill -9 of a replica, counted."""
        killed = await server.kill()
        if killed:
            self.deaths += 1
            self.dead |= {server.life.pid, *server.life.workers}
        return killed

    # --- putting it together again ------------------------------------------------------------
    async def reconnect(self) -> None:
        """Nothing stands in the way of what lives: gates, lines and stopped processes go on."""
        self.provider.gates.open_all()
        for server in self.servers:
            server.proxy.release()
            server.thaw()
        self.postgres.thaw()
        if self.postgres.postmaster() is None:
            await self.postgres.start()

    async def mend(self) -> None:
        """Everything runs and is connected again.

        Raises:
            NurseryError: something cannot be started.
        """
        await self.reconnect()
        await asyncio.gather(*(server.start() for server in self.servers if not server.alive))
        await self._until_database_answers()

    async def _until_database_answers(self) -> None:
        until = time.monotonic() + UP_SECONDS_MAX
        while True:
            try:
                await self.database.fetch_one("SELECT 1", row=tuple_row)
            except LedgerUnavailable:
                if time.monotonic() > until:
                    raise
                if self.postgres.postmaster() is None:
                    await self.postgres.start()
                await asyncio.sleep(0.02)
            else:
                return

    def ended(self) -> list[str]:
        """Replicas that ended although nobody killed them, with their last words."""
        return [
            f"replica {server.number} ended by itself: {server.log_tail()}"
            for server in self.servers
            if server.alive and not server.runs()
        ]
