"""The rooms as a worker wires them, behind the REST API: PostgreSQL, the simulator as provider."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from patient_database import patient_database
from rest_rig import Endings, HttpServer

from omni_grpc.administration import Operations
from omni_grpc.audit import Actor
from omni_grpc.billing import CallJournal, Lane, Leases, Ledger, LedgerStore
from omni_grpc.billing.usage import UsageReports, UsageStore
from omni_grpc.catalog import Catalog
from omni_grpc.cli.sources import _simulated, seed_catalog
from omni_grpc.completion import (
    Accounts,
    AgentRuns,
    AgentRunStore,
    Chats,
    Estimates,
    Gates,
    Media,
    MediaRouter,
    PageTokens,
    Repeats,
    ResponseStore,
    StoredResponses,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.limits import CALLS_AT_ONCE_MAX
from omni_grpc.identity import Callers, Identity, KeyGrant, OrgPath
from omni_grpc.providers import Providers, ProviderSettings
from omni_grpc.rest_api import build_app
from omni_grpc.routing import Chooser, Health, Policies, Router, Warmth, shared_judge
from omni_grpc.simulator import SIMULATED_MODELS, CallRecord, Simulator
from omni_grpc.storage import Connection, Sealer, connect

SECRET = b"a server secret for tests, 32 bytes and more"
TESTS = Actor(name="tests")


@dataclass(frozen=True)
class Whole:
    """A running API, and what its provider saw."""

    http: HttpServer
    identity: Identity
    ledger: Ledger
    chats: Chats
    simulator: Simulator
    endings: Endings

    @property
    def host(self) -> str:
        return self.http.host

    @property
    def port(self) -> int:
        return self.http.port

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def new_key(self, nanousd: int = 10**9) -> str:
        """The key of a new organisation that has so many credits."""
        slug = f"t-{uuid4().hex[:12]}"
        org = await self.identity.orgs.create(TESTS, slug, "Test")
        if nanousd:
            await self.ledger.grant(
                account_id=org.account_id,
                org_id=org.org_id,
                amount=nanousd,
                reason="test",
                request_id=slug,
            )
        new = await self.identity.keys.create(TESTS, org.org_id, OrgPath(org=slug), KeyGrant())
        return new.secret

    def seen(self, call_id: str) -> CallRecord:
        """What the provider saw of a call."""
        return next(
            record
            for record in self.simulator.log
            if record.headers.get("x-client-request-id") == call_id
        )


class _Quiet:
    def batch_applied(self, size: int, seconds: float) -> None: ...

    def connection_changed(self, connected: bool) -> None: ...

    def rows_parked(self, count: int) -> None: ...

    def dead_letter_written(self) -> None: ...


async def seed_simulator(database_url: str) -> None:
    """Fills a migrated database with the simulator's models."""
    async with patient_database(database_url, "rest tests") as database:
        await seed_catalog(database, list(map(_simulated, SIMULATED_MODELS)))


@asynccontextmanager
async def running(database_url: str) -> AsyncIterator[Whole]:
    with tempfile.TemporaryDirectory() as folder:
        async with _running(database_url, Path(folder)) as whole:
            yield whole


@asynccontextmanager
async def _running(database_url: str, folder: Path) -> AsyncIterator[Whole]:
    clock = SystemClock()

    async def lane_connection() -> Connection:
        return await connect(database_url, application_name="rest tests ledger")

    async with (
        Simulator() as simulator,
        patient_database(database_url, "rest tests") as database,
    ):
        providers = Providers({"sim": ProviderSettings(base_url=simulator.base_url)})
        await providers.open()
        journal = CallJournal(folder, clock)
        lane = Lane(lane_connection, clock, _Quiet(), journal)
        writing = asyncio.create_task(lane.run())
        wiring: Any = {
            "lane": lane,
            "journal": journal,
            "leases": Leases(lane, clock),
            "store": LedgerStore(database),
            "clock": clock,
            "markup_ppm": 0,
        }
        ledger = Ledger(**wiring)
        identity = Identity(database, key_hash_secret=SECRET, clock=clock)
        catalog = Catalog(database)
        await catalog.load()
        policies = Policies(database, lambda: catalog.snapshot, clock)
        await policies.load()
        health, warmth = Health(clock), Warmth(clock)
        router = Router(
            lambda: catalog.snapshot,
            providers.ids(),
            providers.refusal,
            chooser=Chooser(shared_judge()),
            policies=policies,
            health=health,
            warmth=warmth,
            premium_model="",
            markup_ppm=0,
        )
        repeats = Repeats(ledger, Sealer(SECRET, b"tests"))
        chats = Chats(router, providers, repeats, clock, health=health, warmth=warmth)
        endings = Endings()

        async def ready() -> bool:
            return lane.connected

        http = HttpServer(
            build_app(
                chats=chats,
                media=Media(
                    MediaRouter(lambda: catalog.snapshot, providers),
                    providers,
                    repeats,
                    clock,
                    health=health,
                ),
                gates=Gates(Callers(identity), ledger, clock, CALLS_AT_ONCE_MAX),
                operations=Operations(),
                card_desk=None,
                wallets=None,
                ledger=ledger,
                accounts=Accounts(identity, ledger),
                tokens=PageTokens(SECRET),
                stored=StoredResponses(ResponseStore(database), Sealer(SECRET, b"kept"), hours=1),
                estimates=Estimates(router, ledger, clock, markup_ppm=0),
                runs=AgentRuns(AgentRunStore(database)),
                usage=UsageReports(UsageStore(database), clock),
                credits_per_usd=1_000,
                reasoning_sealer=Sealer(SECRET, b"reasoning"),
                catalog=lambda: catalog.snapshot,
                providers=providers.ids(),
                ready=ready,
                metrics=None,
                observer=endings,
                cors_origins=(),
                clock=clock,
            )
        )
        async with asyncio.timeout(20):
            while not lane.connected:
                await asyncio.sleep(0.005)
        await http.start()
        try:
            yield Whole(http, identity, ledger, chats, simulator, endings)
        finally:
            await http.stop()
            await chats.drain()
            await lane.close(5)
            writing.cancel()
            await asyncio.wait({writing})
            await providers.close()
