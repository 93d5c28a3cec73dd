"""What is measured, in which order, and what of it answers which requirement."""

from collections.abc import Callable
from typing import Final

import msgspec
from load import Kind, Load
from machine import ProcessTree
from mock_provider import PROMPT_TOKENS, TOKENS_PER_SECOND
from service import Bench, Measured, Target, Transport

DELAY_MS_MAX: Final = 100.0
"""A live stream falls behind when one of a hundred tokens is later than this …"""

RATE_MIN: Final = 0.95
"""… or when less of the tokens come than were due; a stream that ends is opened again, which
takes some of the missing part."""

TRIES: Final = 2
"""A number of streams that falls behind is tried again: other work on the machine makes late."""

MEMORY_FIRST: Final = 20_000
MEMORY_LAST: Final = 100_000


class Plan(msgspec.Struct, frozen=True):
    """How long things take."""

    callers: tuple[int, ...]
    warm_s: float
    seconds: float
    live_warm_s: float
    live_seconds: float
    live_first: int
    live_steps: int
    ledger_rounds: int
    memory_calls: int

    def load(self, kind: Kind, callers: int, calls: int | None = None) -> Load:
        """A load of this plan."""
        live = kind == "live"
        return Load(
            kind=kind,
            callers=callers,
            port=0,
            warm_s=self.live_warm_s if live else self.warm_s,
            seconds=600.0 if calls else self.live_seconds if live else self.seconds,
            calls=calls,
        )


FULL: Final = Plan((1, 16, 64), 1.0, 4.0, 3.0, 5.0, 200, 9, 3, MEMORY_LAST)
QUICK: Final = Plan((1, 16, 64), 0.4, 1.0, 2.5, 2.0, 300, 3, 1, 0)


class LiveSearch(msgspec.Struct):
    """The most live streams that did not fall behind, and what was tried."""

    transport: Transport
    most: int
    tried: list[Measured]


class Results(msgspec.Struct):
    """All that a run found."""

    rows: list[Measured] = []
    live: list[LiveSearch] = []
    memory_mb: dict[int, float] = {}
    books: str = ""


def on_time(measured: Measured) -> bool:
    """Whether the live streams of a load did not fall behind."""
    found = measured.found
    due = measured.load.callers * TOKENS_PER_SECOND * found.seconds
    return not found.errors and found.tokens >= RATE_MIN * due and found.delay_p99_ms < DELAY_MS_MAX


class Runner:
    """Runs the scenarios on one bench. `tell` is told what runs now."""

    def __init__(self, bench: Bench, plan: Plan, tell: Callable[[str], None]) -> None:
        self._bench = bench
        self._plan = plan
        self._tell = tell
        self._charged = 0
        self._prices = bench.prices_nanousd()
        self._before = bench.balance_nanousd()
        self.results = Results()

    # --- the scenarios --------------------------------------------------------------------------
    def direct(self) -> None:
        """The provider without the service: the ceiling of this machine and these generators."""
        for kind in ("unary", "stream"):
            for callers in self._plan.callers:
                self._measure(f"provider {kind}", self._bench.provider, "rest", kind, callers)

    def calls(self, service: Target) -> None:
        """Plain and streamed calls over both transports."""
        for transport, kind in _EACH:
            for callers in self._plan.callers:
                self._measure(_name(transport, kind), service, transport, kind, callers)

    def ledger(self, service: Target) -> None:
        """The same calls with the ledger and without, by turns: both meet the same noise."""
        unbilled = self._bench.serve(billed=False)
        loads: tuple[tuple[Transport, Kind, int], ...] = (
            ("rest", "unary", 64),
            ("grpc", "unary", 64),
            ("rest", "stream", 16),
        )
        for transport, kind, callers in loads:
            name = f"ledger {_name(transport, kind)}"
            for _ in range(self._plan.ledger_rounds):
                self._measure(f"{name}, on", service, transport, kind, callers)
                self._measure(f"{name}, off", unbilled, transport, kind, callers)

    def mix(self, service: Target) -> None:
        """Both transports at once, each beside itself alone."""
        mixes: tuple[tuple[Kind, int, Kind, int], ...] = (
            ("unary", 64, "unary", 64),
            ("unary", 64, "stream", 16),
            ("stream", 16, "stream", 16),
        )
        for rest_kind, rest_callers, grpc_kind, grpc_callers in mixes:
            name = f"mix REST {rest_kind} + gRPC {grpc_kind}"
            rest = self._plan.load(rest_kind, rest_callers)
            grpc = self._plan.load(grpc_kind, grpc_callers)
            self._run(f"{name}: alone", service, ("rest", rest))
            self._run(f"{name}: alone", service, ("grpc", grpc))
            self._run(f"{name}: together", service, ("rest", rest), ("grpc", grpc))

    def live(self, service: Target, transport: Transport) -> None:
        """Searches the most live streams that do not fall behind: doubles, then halves the gap."""
        search = LiveSearch(transport, 0, [])
        self.results.live.append(search)
        streams, behind = self._plan.live_first, 0
        for _ in range(self._plan.live_steps):
            if any(self._try_live(service, search, streams) for _ in range(TRIES)):
                search.most = streams
            else:
                behind = streams
            streams = (search.most + behind) // 2 if behind else streams * 2
            if behind and behind - search.most <= behind // 16:
                break

    def _try_live(self, service: Target, search: LiveSearch, streams: int) -> bool:
        name = f"live streams over {_WORDS[search.transport]}"
        load = self._plan.load("live", streams)
        (measured,) = self._run(name, service, (search.transport, load))
        search.tried.append(measured)
        return on_time(measured)

    def memory(self) -> None:
        """Resident memory of a worker of its own, after so many calls of both transports."""
        service = self._bench.serve()
        done = 0
        for step in (MEMORY_FIRST, self._plan.memory_calls):
            loads: tuple[tuple[Transport, Kind, int], ...] = (
                ("rest", "unary", (step - done) * 7 // 10),
                ("grpc", "unary", (step - done) * 2 // 10),
                ("rest", "stream", (step - done) // 10),
            )
            for transport, kind, calls in loads:
                self._measure(
                    f"memory {_name(transport, kind)}", service, transport, kind, 64, calls
                )
            done = step
            self.results.memory_mb[step] = ProcessTree(service.pid).memory_mb()

    def books(self) -> None:
        """Whether the account was charged for exactly what was answered."""
        self._tell("comparing the books with what was answered")
        failed = sum(row.found.error_count for row in self.results.rows)
        charged = self._before - self._bench.balance_nanousd()
        ailing = self._bench.doctor()
        if ailing:
            self.results.books = f"doctor: {ailing}"
        elif charged != self._charged and not failed:
            self.results.books = (
                f"charged {charged} nano-USD where {self._charged} were answered for"
            )

    # --- one measurement ------------------------------------------------------------------------
    def _measure(
        self,
        name: str,
        target: Target,
        transport: Transport,
        kind: Kind,
        callers: int,
        calls: int | None = None,
    ) -> None:
        self._run(name, target, (transport, self._plan.load(kind, callers, calls)))

    def _run(self, name: str, target: Target, *loads: tuple[Transport, Load]) -> list[Measured]:
        self._tell(f"{name}, {' + '.join(str(load.callers) for _, load in loads)} callers")
        measured = self._bench.measure(name, target, *loads)
        self.results.rows += measured
        if target.name == "billed":
            prompt, completion = self._prices
            for row in measured:
                used = (
                    row.found.answered * PROMPT_TOKENS * prompt + row.found.generated * completion
                )
                self._charged += used // 1_000_000
        return measured


_WORDS: Final = {"rest": "REST", "grpc": "gRPC"}
_EACH: Final[tuple[tuple[Transport, Kind], ...]] = (
    ("rest", "unary"),
    ("rest", "stream"),
    ("grpc", "unary"),
    ("grpc", "stream"),
)


def _name(transport: Transport, kind: Kind) -> str:
    return f"{_WORDS[transport]} {kind}"
