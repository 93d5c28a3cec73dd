"""The REST API on a real socket, with scripts where completion and the ledger would be.

The gates are the real ones; who calls, what is held and what a provider says are scripted, so
that a test can stop a call at any point and look.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Self

import uvicorn
from uvicorn.server import ServerState

from omni_grpc.administration import Operations
from omni_grpc.billing import AttemptRecord, Balance, EntryKind, LedgerEntry, UsageRecord
from omni_grpc.billing.usage import (
    ListedCall,
    RoutedCall,
    UsagePage,
    UsageQuery,
    UsageReports,
    UsageSums,
    time_of,
)
from omni_grpc.catalog import Alias, CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.completion import Accounts, Call, ChatEvent, Gates, PageTokens, StoredResponses
from omni_grpc.completion.store import StoredRow
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatStarted,
    Choice,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import ApiKeyInvalid, ApiKeyMissing, LedgerUnavailable, NotFound
from omni_grpc.core.ids import AccountId, CallId, KeyId, OrgId, new_call_id
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.usage import Usage
from omni_grpc.identity import Callers, Principal, Scope
from omni_grpc.rest_api import RestProtocol, build_app
from omni_grpc.storage import Sealer

KEY = "omni_test"
BILLING_KEY = "omni_billing_only"
OTHER_KEY = "omni_other_org"
WEB_KEY, WEB_LIVE_KEY, OPS_KEY = "omni_web", "omni_web_live", "omni_ops"
"""Of teams of the first key's organisation; the second is of an environment of the first's."""
ACCOUNT, OTHER_ACCOUNT = AccountId(1000), AccountId(1001)
MODEL = "sim/fast"

Complete = Callable[[Call, ChatRequest], Awaitable[ChatCompletion]]
Stream = Callable[[Call, ChatRequest], AsyncIterator[ChatEvent]]


def principal(
    org: str,
    account: AccountId,
    *scopes: Scope,
    team_id: int | None = None,
    environment_id: int | None = None,
) -> Principal:
    return Principal(
        key_id=KeyId(7),
        key_prefix="test",
        org_id=OrgId(1),
        org_slug=org,
        account_id=account,
        scopes=frozenset(scopes),
        team_id=team_id,
        environment_id=environment_id,
    )


class KeyList:
    """Identity: some keys, and a database that can be away."""

    def __init__(self) -> None:
        self.away = False
        self._keys = {
            KEY: principal("acme", ACCOUNT, Scope.INFERENCE, Scope.BILLING),
            BILLING_KEY: principal("acme", ACCOUNT, Scope.BILLING),
            OTHER_KEY: principal("other", OTHER_ACCOUNT, Scope.INFERENCE, Scope.BILLING),
            WEB_KEY: principal("acme", ACCOUNT, Scope.INFERENCE, team_id=1),
            WEB_LIVE_KEY: principal("acme", ACCOUNT, Scope.INFERENCE, team_id=1, environment_id=5),
            OPS_KEY: principal("acme", ACCOUNT, Scope.INFERENCE, team_id=2),
        }

    async def authenticate(self, presented: str | None) -> Principal:
        if self.away:
            raise LedgerUnavailable("The database does not answer.", retry_after_s=1.0)
        if not presented:
            raise ApiKeyMissing("This call needs an API key.")
        if presented not in self._keys:
            raise ApiKeyInvalid("This API key is not valid.")
        return self._keys[presented]


@dataclass
class PaperMeter:
    charged_nanousd: int = 0
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class PaperLedger:
    """A ledger of lists."""

    meters: list[PaperMeter] = field(default_factory=list)
    entries_: list[LedgerEntry] = field(default_factory=list)
    usages: dict[CallId, UsageRecord] = field(default_factory=dict)

    def meter(
        self, call_id: CallId, account_id: AccountId, key_id: KeyId, budgets: object = ()
    ) -> PaperMeter:
        self.meters.append(PaperMeter())
        return self.meters[-1]

    async def balance(self, account_id: AccountId) -> Balance:
        return Balance(5_000_000_001, 1_000, 20, datetime(2026, 1, 2, tzinfo=UTC))

    async def entries(
        self, account_id: AccountId, before: int | None, limit: int
    ) -> list[LedgerEntry]:
        newest = sorted(self.entries_, key=lambda entry: -entry.position)
        return [e for e in newest if before is None or e.position < before][:limit]

    async def usage(self, call_id: CallId) -> UsageRecord:
        if call_id not in self.usages:
            raise NotFound(f"There is no usage record of a call {call_id}.")
        return self.usages[call_id]

    def add_entries(self, count: int) -> None:
        for position in range(1, count + 1):
            kind = EntryKind.GRANT if position == 1 else EntryKind.CHARGE
            self.entries_.append(
                LedgerEntry(position, kind, -position, 100, "ref", datetime.now(UTC))
            )

    def add_usage(self, account_id: AccountId) -> CallId:
        call_id = new_call_id()
        attempt = AttemptRecord(
            1, MODEL, "answered", 900, 123, 4, 0, Usage(3, completion=4), datetime.now(UTC)
        )
        self.usages[call_id] = UsageRecord(call_id, account_id, (attempt,))
        return call_id


class PaperUsage:
    """Reports that a test has written."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.page = UsagePage(rows=(), total=UsageSums(), next=None)
        self.following = ""
        self.routed: dict[CallId, RoutedCall] = {}
        self.positions: list[str | None] = []

    async def query(self, account_id: AccountId, **asked: Any) -> UsageQuery:
        self.asked.append({"account_id": account_id, **asked})
        return await UsageReports(self, SystemClock()).query(account_id, **asked)  # type: ignore[arg-type]  # has what is used

    async def zones(self) -> frozenset[str]:
        return frozenset({"Europe/Berlin"})

    async def hours_around(
        self, zone: str, start: datetime, end: datetime
    ) -> tuple[datetime, datetime]:
        return start, end

    async def call(self, record: UsageRecord) -> ListedCall:
        return ListedCall(
            record=record,
            start=time_of(record.call_id),
            key_id=KeyId(1),
            key="0123456789ab",
            routed=self.routed.get(record.call_id),
        )

    async def summarize(
        self, query: UsageQuery, position: str | None, limit: int
    ) -> tuple[UsagePage, str]:
        self.positions.append(position)
        return self.page, self.following


class ResponseTable:
    """Where responses are kept: a list, and a database that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.rows: dict[CallId, tuple[AccountId, StoredRow]] = {}

    def check(self) -> None:
        if self.away:
            raise LedgerUnavailable("The database does not answer.", retry_after_s=1.0)

    async def insert(
        self,
        account_id: AccountId,
        call_id: CallId,
        previous: CallId | None,
        sealed: bytes,
        seconds: float,
    ) -> None:
        self.check()
        row = StoredRow(id=call_id, previous_id=previous, sealed=sealed)
        self.rows.setdefault(call_id, (account_id, row))

    async def chain(
        self, account_id: AccountId, call_id: CallId, *, count_max: int, bytes_max: int
    ) -> list[StoredRow]:
        self.check()
        found: list[StoredRow] = []
        while len(found) < count_max and call_id in self.rows:
            owner, row = self.rows[call_id]
            if owner != account_id:
                break
            found.append(row)
            if row.previous_id is None:
                break
            call_id = CallId(row.previous_id)
        return found

    async def delete(self, account_id: AccountId, call_id: CallId) -> bool:
        self.check()
        owner, _ = self.rows.get(call_id, (None, None))
        return owner == account_id and self.rows.pop(call_id, None) is not None


class Endings:
    """The observer: how each call ended."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self._more = asyncio.Event()

    def call_ended(self, transport: str, method: str, reason: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((transport, method, reason))
        self._more.set()

    async def next(self, count: int = 1) -> list[str]:
        """The reasons, once that many calls have ended."""
        async with asyncio.timeout(20):
            while len(self.seen) < count:
                self._more.clear()
                await self._more.wait()
        return [reason for _, _, reason in self.seen]


class ScriptedChats:
    """Completion: does what a test says, and remembers what it was asked and how it ended."""

    def __init__(self) -> None:
        self.complete_script: Complete = self.say_hello
        self.stream_script: Stream = self.stream_hello
        self.requests: list[ChatRequest] = []
        self.calls: list[Call] = []
        self.cancelled = asyncio.Event()
        """Set when a call was cancelled, or its stream was closed early."""
        self.reached = asyncio.Event()
        """Set by a script that has got to where the test wants it."""

    async def complete(self, call: Call, request: ChatRequest) -> ChatCompletion:
        self._note(call, request)
        try:
            return await self.complete_script(call, request)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def stream(self, call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        self._note(call, request)
        try:
            async with contextlib.aclosing(self.stream_script(call, request)) as events:
                async for event in events:
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def say_hello(self, call: Call, request: ChatRequest) -> ChatCompletion:
        return completion(call, Answer(text="Hello, world"))

    async def stream_hello(self, call: Call, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield started(call)
        yield (ChatDelta(text="Hello"),)
        yield (ChatDelta(text=", world", finish_reason="stop"),)
        yield completion(call)

    async def forever(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()

    def _note(self, call: Call, request: ChatRequest) -> None:
        self.calls.append(call)
        self.requests.append(request)


def started(call: Call, *, ignored: tuple[str, ...] = ()) -> ChatStarted:
    return ChatStarted(
        call_id=str(call.id),
        model=MODEL,
        create_time=call.create_time,
        output_tokens_max=100,
        ignored=ignored,
    )


def completion(call: Call, *answers: Answer, **changed: Any) -> ChatCompletion:
    given: dict[str, Any] = {
        "call_id": str(call.id),
        "model": MODEL,
        "create_time": call.create_time,
        "choices": tuple(
            Choice(index=index, answer=answer, finish_reason="stop")
            for index, answer in enumerate(answers)
        ),
        "usage": Usage(prompt=10, completion=3, cached_read=0, reasoning=0),
        "attempts": (),
        "cost_nanousd": 1_234_567,
        "balance_nanousd": 4_998_765_434,
    }
    return ChatCompletion(**{**given, **changed})


def offer(offer_id: str, **changed: Any) -> Offer:
    provider, _, name = offer_id.partition("/")
    rates = (Rate(Unit.COMPLETION, 0, 600_000_000), Rate(Unit.PROMPT, 0, 150_000_000))
    given: dict[str, Any] = {
        "id": offer_id,
        "provider": provider,
        "model": name,
        "provider_model": name,
        "display_name": name.title(),
        "mode": Mode.CHAT,
        "context_tokens_max": 128_000,
        "prompt_tokens_max": None,
        "output_tokens_max": 16_384,
        "input_modalities": frozenset({Modality.TEXT}),
        "output_modalities": frozenset({Modality.TEXT}),
        "tools": True,
        "structured_output": True,
        "reasoning": False,
        "temperature": None,
        "free": False,
        "deprecated": False,
        "by_name_only": False,
        "enabled": True,
        "release_date": date(2025, 1, 2),
        "price": Price(3, rates),
    }
    return Offer(**{**given, **changed})


def catalog() -> CatalogSnapshot:
    offers = (
        offer("sim/fast"),
        offer("router/maker/large"),
        offer("sim/unpriced", price=None),
        offer("sim/embedder", mode=Mode.EMBEDDING),
        offer("elsewhere/fast"),
    )
    return CatalogSnapshot(1, offers, (Alias(name="quick", targets=("sim/fast",)),))


class HttpServer:
    """Our protocol on a port; `uvicorn.Server` looks only ten times a second for its end."""

    def __init__(self, app: Any) -> None:
        self._config = uvicorn.Config(
            app, http=RestProtocol, ws="none", access_log=False, log_config=None
        )
        self._state = ServerState()
        self.host = "127.0.0.1"
        self.port = 0

    async def start(self) -> None:
        self._config.load()
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: RestProtocol(self._config, self._state, {}), self.host, 0
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listener.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        async with asyncio.timeout(20):
            while self._state.tasks:
                await asyncio.wait(set(self._state.tasks))


class Service:
    """The whole API, served by uvicorn as a worker does."""

    def __init__(
        self,
        *,
        ping_seconds: float = 15.0,
        cors_origins: Sequence[str] = (),
        store_hours: float = 0.0,
    ) -> None:
        clock = SystemClock()
        self.table: Any = ResponseTable()
        self.chats = ScriptedChats()
        self.keys = KeyList()
        self.ledger = PaperLedger()
        self.usage: Any = PaperUsage()
        self.endings = Endings()
        self.is_ready = True
        parts: Any = {"identity": self.keys, "ledger": self.ledger}
        callers = Callers(self.keys)
        self.gates = Gates(callers, parts["ledger"], clock, calls_at_once_max=8)

        async def ready() -> bool:
            return self.is_ready

        stand_ins: Any = {
            "chats": self.chats,
            "media": None,
            "ledger": self.ledger,
            "estimates": None,
        }
        stand_ins |= {"runs": None, "credits_per_usd": 1_000}
        self.app = build_app(
            **stand_ins,
            gates=self.gates,
            accounts=Accounts(**parts),
            tokens=PageTokens(b"page token secret"),
            stored=StoredResponses(self.table, Sealer(b"secret", b"kept"), hours=store_hours),
            reasoning_sealer=Sealer(b"secret", b"reasoning"),
            catalog=catalog,
            providers=frozenset({"sim", "router"}),
            ready=ready,
            metrics=lambda: (b"omni_calls 1\n", "text/plain; version=1.0.0"),
            observer=self.endings,
            cors_origins=cors_origins,
            operations=Operations(),
            card_desk=None,
            wallets=None,
            usage=self.usage,
            clock=clock,
            ping_seconds=ping_seconds,
        )
        self._http = HttpServer(self.app)

    async def __aenter__(self) -> Self:
        await self._http.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.stop()

    @property
    def host(self) -> str:
        return self._http.host

    @property
    def port(self) -> int:
        return self._http.port

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"
