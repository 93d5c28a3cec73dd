"""What a load is, what it found, and how a load generator talks with the bench that started it.

A generator is a process of its own. It connects, says `ready`, waits for a line, warms up, says
`measuring`, measures, says `measured`, lets what runs come to its end, and prints its `Found` as
JSON. Callers are closed loops: each sends its next request when its last one is answered.
"""

import asyncio
import random
import re
import resource
import sys
import time
from array import array
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import uvloop

PROMPT_CHARS: Final = 750
LIVE_TOKENS: Final = 250
"""Tokens of a live stream: five seconds of an answer."""

ERROR_PAUSE_S: Final = 0.05
"""A refused caller waits so long, or a service that refuses all would look very fast."""

DRAIN_S_MAX: Final = 30.0

Kind = Literal["unary", "stream", "live"]

_TOKEN: Final = re.compile(rb"@(\d{16});")
_TOKEN_BYTES: Final = 18


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send. Ends after `seconds`, or after `calls` if that is given and comes first."""

    kind: Kind
    callers: int
    port: int
    api_key: str = "none"
    model: str = "openai/gpt-4o-mini"
    headers: dict[str, str] = {}
    warm_s: float = 1.0
    seconds: float = 4.0
    calls: int | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a load found. Times are in milliseconds.

    `answered` and `generated` (tokens) are of the whole run, warm-up and end included, since all of
    it is charged; everything else is of the measured part.
    """

    calls: int
    seconds: float
    answered: int
    generated: int
    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    first_p50_ms: float
    tokens: int
    delay_p50_ms: float
    delay_p99_ms: float
    delay_max_ms: float
    errors: dict[str, int]
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        """Calls answered well, a second."""
        return self.calls / self.seconds if self.seconds else 0.0

    @property
    def error_count(self) -> int:
        """Calls that were not answered well."""
        return sum(self.errors.values())


def prompt(kind: Kind) -> str:
    """The fixed prompt of 750 characters; the live one tells the mock that it is live."""
    text = "[live] " if kind == "live" else "[load] "
    words = (
        "Explain in plain words how a ledger with two sides finds a mistake that one side hides. "
    )
    return (text + words * 10)[:PROMPT_CHARS]


class Samples:
    """Collects what the callers of one generator see."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answered = 0
        self.generated = 0
        self.stopped = False
        self._started = 0
        self._measuring = False
        self._ended = asyncio.Event()
        self._busy = 0
        self._calls = 0
        self._events = 0
        self._times = array("d")
        self._firsts = array("d")
        self._delays = array("q")
        self._errors: dict[str, int] = {}
        self._random = random.Random(7)  # the same staggering in each run

    def begin(self) -> bool:
        """Whether a caller shall send another request; it then calls `ok` or `failed`."""
        limit = self.load.calls
        if self.stopped or (limit is not None and self._started >= limit):
            self.stopped = True
            self._ended.set()
            return False
        self._started += 1
        self._busy += 1
        return True

    def ok(self, began: float, first: float, ended: float, events: int, tokens: int) -> None:
        """A whole answer of `tokens` came; times are of `time.perf_counter`."""
        self._busy -= 1
        self.answered += 1
        self.generated += tokens
        if self._measuring:
            self._calls += 1
            self._events += events
            self._times.append(ended - began)
            self._firsts.append(first - began)

    def failed(self, why: str) -> None:
        """No whole answer came."""
        self._busy -= 1
        self._errors[why] = self._errors.get(why, 0) + 1

    def tokens(self, data: bytes) -> bytes:
        """Notes how late the tokens in `data` are; returns the piece of one that is cut."""
        if self._measuring:
            now_us = time.monotonic_ns() // 1000
            self._delays.extend([now_us - int(sent) for sent in _TOKEN.findall(data)])
        at = data.rfind(b"@", -_TOKEN_BYTES)
        return data[at:] if at >= 0 and data.find(b";", at) < 0 else b""

    def live_tokens(self) -> int:
        """The length of the next live stream: any at first, so that they do not end together."""
        if self._started <= self.load.callers:
            return self._random.randint(LIVE_TOKENS // 5, LIVE_TOKENS)
        return LIVE_TOKENS

    async def run(self, start: Callable[[], None]) -> None:
        """Has the load run, and prints what it found."""
        load = self.load
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        start()
        await asyncio.sleep(load.warm_s)
        print("measuring", flush=True)
        cpu_s, began = _cpu_s(), time.perf_counter()
        self._measuring = True
        try:
            async with asyncio.timeout(load.seconds):
                await self._ended.wait()
        except TimeoutError:
            pass
        self.stopped = True
        self._measuring = False
        seconds, cpu_s = time.perf_counter() - began, _cpu_s() - cpu_s
        print("measured", flush=True)
        give_up = time.perf_counter() + DRAIN_S_MAX
        while self._busy and time.perf_counter() < give_up:  # noqa: ASYNC110 - after the measuring
            await asyncio.sleep(0.01)
        if self._busy:
            self._errors["never answered"] = self._busy
        print(msgspec.json.encode(self._found(seconds, cpu_s)).decode(), flush=True)

    def _found(self, seconds: float, cpu_s: float) -> Found:
        times, firsts, delays = sorted(self._times), sorted(self._firsts), sorted(self._delays)
        return Found(
            calls=self._calls,
            seconds=seconds,
            answered=self.answered,
            generated=self.generated,
            events=self._events,
            p50_ms=1e3 * quantile(times, 0.5),
            p99_ms=1e3 * quantile(times, 0.99),
            max_ms=1e3 * quantile(times, 1),
            first_p50_ms=1e3 * quantile(firsts, 0.5),
            tokens=len(delays),
            delay_p50_ms=quantile(delays, 0.5) / 1e3,
            delay_p99_ms=quantile(delays, 0.99) / 1e3,
            delay_max_ms=quantile(delays, 1) / 1e3,
            errors=self._errors,
            client_cpu_s=cpu_s,
        )


def quantile(ordered: "list[float] | list[int]", part: float) -> float:
    """The value below which `part` of an ordered list lies; 0 for an empty one."""
    if not ordered:
        return 0.0
    return float(ordered[min(len(ordered) - 1, int(part * len(ordered)))])


def generator(make: Callable[[Samples], object]) -> None:
    """The main function of a generator: `make` returns an awaitable that runs the load."""

    async def main() -> None:
        load = msgspec.json.decode(sys.argv[1], type=Load)
        await make(Samples(load))  # type: ignore[misc]  # see above

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    uvloop.run(main())


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
