"""The composition root: Settings in, a running worker out. Nothing else builds the rooms.

A worker starts also when its database is down: it says so, is not ready, refuses new calls at
once, and comes up by itself. It stops in the order in which money can be lost last: no new calls,
running ones end, cancelled ones settle, the lane empties, the connections close.
"""

import asyncio
import contextlib
import functools
import gc
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from omni_grpc.administration import MoneyAudit, turned_off
from omni_grpc.audit import AuditStore
from omni_grpc.billing import Resolver
from omni_grpc.billing.usage import CallLog, UsageReports, UsageRoller, UsageStore
from omni_grpc.catalog import CatalogStore
from omni_grpc.completion import (
    RESPONSE_SEAL_PURPOSE,
    SEAL_PURPOSE,
    Accounts,
    AgentRuns,
    AgentRunStore,
    CallReports,
    Chats,
    Classifier,
    Estimates,
    Gates,
    Media,
    MediaRouter,
    OwnCredentials,
    PageTokens,
    Probes,
    Repeats,
    ResponseStore,
    StoredResponses,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.limits import DRAIN_SECONDS_MAX
from omni_grpc.grpc_api import (
    BillingServicer,
    CatalogServicer,
    GrpcServer,
    PolicyServicer,
    RouterServicer,
)
from omni_grpc.identity import Identity
from omni_grpc.identity.sessions import SessionCleaner
from omni_grpc.limits import LocalLimits, RateLimits, SharedLimits
from omni_grpc.metrics import Metrics, render
from omni_grpc.notices import LowBalanceWatch, OutboxStore, Poster, Sender
from omni_grpc.providers import Providers
from omni_grpc.rest_api import REASONING_SEAL_PURPOSE, build_app
from omni_grpc.routing import PolicyAdmin, classifier_offer
from omni_grpc.settings import Settings
from omni_grpc.storage import Database, Sealer
from omni_grpc.wiring.books import books_of
from omni_grpc.wiring.buying import buying_of
from omni_grpc.wiring.callers import callers_of
from omni_grpc.wiring.choices import choices_of
from omni_grpc.wiring.credentials import own_credentials_of
from omni_grpc.wiring.listening import bind, certificates_of
from omni_grpc.wiring.operations import Parts, operations_of, webhook_sealer
from omni_grpc.wiring.rest_server import RestServer

if TYPE_CHECKING:
    from omni_grpc.storage.certificates import CertificateFiles

log = structlog.get_logger(__name__)

WATCH_SECONDS: Final = 1.0
"""How often a worker looks whether it is ready, for health watchers and gauges."""

GC_ALLOCATIONS: Final = 20_000
"""Allocations between two looks of the garbage collector; the default of 700 cost 2 % of the CPU
[measured], and calls leave few cycles."""

STOP_SECONDS_MAX: Final = 5.0
"""How long the last connections may take to close once nothing runs on them."""

LAST_WORDS_SECONDS_MAX: Final = 1.0
"""How long the answers of ended gRPC calls may take to leave; health watchers never leave."""

SETTLE_SECONDS_MAX: Final = 60.0
"""How long a stopping worker tries to bring its last settles into the database."""


@dataclass
class Worker:
    """One process's share of the service. `start`, then `stop`; both once."""

    settings: Settings
    providers: Providers
    share_port: bool = False
    grpc_port: int = 0
    rest_port: int = 0
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _serving: asyncio.Task[None] | None = None
    _stopping: bool = False

    def __post_init__(self) -> None:
        settings = self.settings
        if (
            settings.database_url is None
            or settings.key_hash_secret is None
            or settings.journal_dir is None
        ):
            raise ValueError("a worker needs a database_url, a key_hash_secret and a journal_dir")
        url = settings.database_url.get_secret_value()
        secret = settings.key_hash_secret.get_secret_value().encode()
        self._clock = SystemClock()
        self._metrics = Metrics()
        self.providers.observe(self._metrics)
        self._database = Database(url, application_name="omni-grpc")
        self._books = books = books_of(settings, self._database, self._metrics, self._clock)
        ledger = books.ledger
        self._identity = Identity(self._database, key_hash_secret=secret, clock=self._clock)
        self._choices = choices = choices_of(
            settings, self._database, self.providers, self._metrics, self._clock
        )
        ids = self.providers.ids()
        sealer = Sealer(secret, SEAL_PURPOSE) if settings.replay_answers else None
        repeats = Repeats(ledger, sealer)
        usage = UsageStore(self._database)
        self._call_log = CallLog(usage, self._metrics)
        self._roller = UsageRoller(usage)
        reports = CallReports(self._call_log, self._clock)
        usage_reports = UsageReports(usage, self._clock)
        asked = classifier_offer(settings.classifier)
        self._chats = Chats(
            choices.router,
            self.providers,
            repeats,
            self._clock,
            health=choices.health,
            warmth=choices.warmth,
            own=self._own,
            lease_s=settings.hold_lease_s,
            reports=reports,
            limits=self._limits,
            classifier=None
            if asked is None
            else Classifier(asked, ledger, self._clock, seconds=settings.classifier_seconds),
        )
        self._probes = (
            Probes(choices.health, self.providers, self._metrics, seconds=settings.probe_seconds)
            if settings.probe_seconds
            else None
        )
        self._media = Media(
            MediaRouter(choices.snapshot, self.providers),
            self.providers,
            repeats,
            self._clock,
            health=choices.health,
            own=self._own,
            lease_s=settings.hold_lease_s,
            reports=reports,
            limits=self._limits,
        )
        self._gates = Gates(
            callers_of(settings, self._database, self._identity, ledger, self._clock),
            ledger,
            self._clock,
            settings.calls_at_once_max,
        )
        accounts = Accounts(self._identity, ledger)
        tokens = PageTokens(secret)
        self._stored = StoredResponses(
            ResponseStore(self._database),
            Sealer(secret, RESPONSE_SEAL_PURPOSE),
            hours=settings.store_responses_hours,
        )
        estimates = Estimates(
            choices.router, ledger, self._clock, markup_ppm=settings.markup_ppm, own=self._own
        )
        self._runs = AgentRuns(AgentRunStore(self._database))
        self._buying = buying_of(settings, self._database, ledger, self._clock)
        operations = operations_of(
            Parts(
                settings=settings,
                database=self._database,
                identity=self._identity,
                ledger=ledger,
                clock=self._clock,
                tokens=tokens,
                buying=self._buying,
            )
        )
        self._grpc = GrpcServer(
            gates=self._gates,
            router=RouterServicer(
                self._chats,
                self._media,
                estimates,
                tokens,
                credits_per_usd=settings.credits_per_usd,
            ),
            billing=BillingServicer(
                ledger,
                accounts,
                tokens,
                Resolver(ledger, CatalogStore(self._database).prices),
                usage_reports,
                MoneyAudit(AuditStore(self._database)),
            ),
            catalog=CatalogServicer(
                choices.catalog,
                choices.snapshot,
                ids,
                tokens,
                choices.sync,
                self._own,
                choices.health.speeds,
            ),
            admin=PolicyServicer(PolicyAdmin(choices.policies), self._identity, tokens),
            operations=operations,
            clock=self._clock,
            observer=self._metrics,
            reflection=settings.reflection,
            wallets=self._buying.wallets,
            share_port=self.share_port,
            certificates=self._certificates,
        )
        self._app = app = build_app(
            chats=self._chats,
            media=self._media,
            gates=self._gates,
            ledger=ledger,
            accounts=accounts,
            tokens=tokens,
            stored=self._stored,
            estimates=estimates,
            runs=self._runs,
            usage=usage_reports,
            operations=operations,
            card_desk=self._buying.cards,
            wallets=self._buying.wallets,
            credits_per_usd=settings.credits_per_usd,
            reasoning_sealer=Sealer(secret, REASONING_SEAL_PURPOSE),
            catalog=choices.snapshot,
            providers=ids,
            ready=self.ready,
            metrics=render if settings.metrics else None,
            observer=self._metrics,
            cors_origins=settings.cors_origins,
            own_credentials=self._own,
            speeds=choices.health.speeds,
            clock=self._clock,
        )
        self._rest = RestServer(app, self._certificates)

    def _sender(self) -> Sender:
        """What sends to webhooks."""
        return Sender(
            OutboxStore(self._database),
            webhook_sealer(self.settings),
            Poster(private_hosts=self.settings.webhook_private_hosts),
            self._clock,
            turned_off,
        )

    @functools.cached_property
    def _certificates(self) -> "CertificateFiles | None":
        return certificates_of(self.settings)

    @functools.cached_property
    def _own(self) -> OwnCredentials:
        """The accounts at providers that callers bring."""
        return own_credentials_of(self.settings, self._database, self._clock, self._metrics)

    @functools.cached_property
    def _redis(self) -> SharedLimits | None:
        url, wait_s = self.settings.redis_url, self.settings.redis_wait_ms / 1000
        if url is None:
            return None
        return SharedLimits(url.get_secret_value(), self._metrics, wait_s=wait_s)

    @functools.cached_property
    def _limits(self) -> RateLimits:
        return RateLimits(LocalLimits(self._clock), self._redis, self._metrics)

    async def ready(self) -> bool:
        """Whether calls are served: the database answers, there is a catalog, no stop began."""
        return (
            not self._stopping
            and self._books.lane.connected
            and self._choices.catalog.snapshot.version > 0
            and await self._database.ping()
        )

    async def start(self) -> None:
        """Serves both transports; their ports are then known.

        Raises:
            OSError: an address cannot be bound.
        """
        listener = bind(self.settings.rest_addr, share=self.share_port)
        await self._database.open()
        await self.providers.open()
        if self._redis is None:
            log.info(
                "rate_limits_local",
                workers=self.settings.workers,
                words="each worker counts for itself; OMNI_REDIS_URL lets them count together",
            )
        else:
            await self._redis.start()
        self._run(self._books.lane.run())
        with contextlib.suppress(OmniError):  # the poll goes on trying
            await self._choices.load()
        with contextlib.suppress(RuntimeError, ValueError):  # not the main thread, as in tests
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._choices.wake)
        for work in (
            *self._choices.work(),
            *self._books.work(),
            SessionCleaner(self._database).run(),
            self._stored.run(),
            self._runs.run(),
            self._call_log.run(),
            self._roller.run(),
            self._sender().run(),
            LowBalanceWatch(self._database).run(),
            self._watch(),
            *(() if self._probes is None else (self._probes.run(),)),
            *(() if self._redis is None else (self._redis.run(),)),
            *self._buying.work(),
        ):
            self._run(work)
        try:
            self.grpc_port = await self._grpc.start(self.settings.grpc_addr)
        except OSError:
            listener.close()
            await self._close()
            raise
        self.rest_port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._rest.serve(sockets=[listener]))
        # What was made by now lives as long as the process: the collector need not visit it again,
        # and a call's short-lived objects die by their counts.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 50)
        while not self._rest.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Drains and closes everything; no settle is lost while the database answers."""
        log.info("stopping", running=self._gates.running)
        self._stopping = True
        await self._grpc.set_serving(False)
        drain_until = self._clock.monotonic() + DRAIN_SECONDS_MAX
        drained = await self._gates.drain(DRAIN_SECONDS_MAX)
        if not drained:
            log.warning("calls_cut_short", running=self._gates.running)
        # A call leaves its gates before its last message has left the server.
        await self._grpc.stop(LAST_WORDS_SECONDS_MAX if drained else 0)
        await self._app.cut_short(STOP_SECONDS_MAX)
        self._rest.should_exit = True
        self._rest.force_exit = not drained
        await self._chats.drain(max(0.0, drain_until - self._clock.monotonic()))
        await self._media.drain(max(0.0, drain_until - self._clock.monotonic()))
        await self._books.lane.close(SETTLE_SECONDS_MAX)
        await self._call_log.close(STOP_SECONDS_MAX)
        await self._choices.speeds.close(LAST_WORDS_SECONDS_MAX)
        await self._close()
        log.info("stopped")

    async def _close(self) -> None:
        """Ends what runs in the background, then the connections that it used."""
        for task in self._tasks:
            task.cancel()
        if self._serving is not None:
            self._tasks.append(self._serving)
        await asyncio.wait(self._tasks, timeout=STOP_SECONDS_MAX)
        await self._buying.close()
        if self._redis is not None:
            await self._redis.close()
        await self._books.journal.close()
        await self.providers.close()
        await self._own.close()
        await self._database.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_report_death)
        self._tasks.append(task)

    async def _watch(self) -> None:
        """Keeps health and gauges true."""
        serving: bool | None = None
        while True:
            if self._choices.catalog.snapshot.version == 0 and self._books.lane.connected:
                with contextlib.suppress(OmniError):  # sooner than at the next poll
                    await self._choices.catalog.load()
            now = await self.ready()
            if now != serving:
                serving = now
                await self._grpc.set_serving(now)
                log.info("readiness_changed", ready=now)
            self._metrics.sampled(self._gates.running, self._books.lane.depth)
            self._metrics.journal_sampled(
                self._books.journal.unacknowledged, failing=self._books.journal.is_failing
            )
            if now:
                with contextlib.suppress(OmniError):
                    self._metrics.holds_counted(*await self._books.store.hold_counts())
            await asyncio.sleep(WATCH_SECONDS)


def _report_death(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("background_task_died", task=repr(task.get_coro()), exc_info=error)
