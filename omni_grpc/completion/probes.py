"""Probes: providers whose breakers are open are asked whether they are there, beside all traffic.

So no caller pays for finding out that one is still away, and the first who comes after it is back
finds its breaker half open. One worker asks at a bounded pace, a few providers at once at most.
"""

import asyncio
import random
from typing import Final, Protocol

import structlog

from omni_grpc.routing import Health

log = structlog.get_logger(__name__)

PROBES_AT_ONCE_MAX: Final = 4
"""Providers that one worker asks at once: an outage of many is no reason for a burst."""

_SPREAD: Final = 0.2
"""Share of the pace by which workers differ, so that they do not all ask at the same moment."""

_PACES_KEPT_OPEN: Final = 2.5
"""For so many paces a failed probe keeps callers away: until the next two could tell otherwise."""


class Prober(Protocol):
    """What knows how to ask a provider."""

    def ids(self) -> frozenset[str]:
        """The providers that can be asked."""
        ...

    async def probe(self, provider_id: str) -> bool:
        """Whether a provider is there; says so within seconds."""
        ...


class ProbeObserver(Protocol):
    """What wants to know of probes; the metrics do."""

    def provider_probed(self, provider: str, *, is_there: bool) -> None:
        """A probe has ended."""
        ...


class Probes:
    """The probes of one worker. Run `run()` as a task; cancelling it ends all that run."""

    def __init__(
        self, health: Health, prober: Prober, observer: ProbeObserver, *, seconds: float
    ) -> None:
        """`seconds` is the time from one look at the breakers to the next."""
        self._health = health
        self._prober = prober
        self._observer = observer
        self._seconds = seconds
        self._room = asyncio.Semaphore(PROBES_AT_ONCE_MAX)

    async def run(self) -> None:
        """Probes for ever; ends only by cancellation."""
        while True:
            # Not for secrets: workers shall merely not all ask at the same moment.
            await asyncio.sleep(self._seconds * (1 - _SPREAD * random.random()))  # noqa: S311
            await self.look()

    async def look(self) -> None:
        """Asks each provider that has an open breaker, once; returns when all have told."""
        providers = self._health.open_providers() & self._prober.ids()
        if not providers:
            return
        async with asyncio.TaskGroup() as group:
            for provider in sorted(providers):
                group.create_task(self._ask(provider))

    async def _ask(self, provider: str) -> None:
        async with self._room:
            try:
                is_there = await self._prober.probe(provider)
            except Exception:  # of one provider; the others' probes go on
                log.exception("probe_failed", provider=provider)
                return
        self._observer.provider_probed(provider, is_there=is_there)
        if is_there:
            if offers := self._health.found_there(provider):
                log.info("probe_found_provider", provider=provider, offers=offers)
        else:
            self._health.found_away(provider, keep_s=_PACES_KEPT_OPEN * self._seconds)
