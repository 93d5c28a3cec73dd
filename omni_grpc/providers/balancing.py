"""Several endpoints of one provider (accounts, keys, regions, deployments): which one a call takes.

By weight, in turn. An endpoint that failed is set aside for a bounded time, and the call goes on at
another where what failed is the endpoint's and nothing can have been generated. While all are set
aside, the one that comes back first is called: there is always one. Keys stand in no log and no
error here; endpoints go by their names.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import aiohttp
import structlog
from yarl import URL

from omni_grpc.core.clock import Clock
from omni_grpc.providers.conversations import Homes
from omni_grpc.providers.credentials import Credentials
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.dispatch import Dispatch
from omni_grpc.providers.errors import (
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.spec import ProviderSpec

log = structlog.get_logger(__name__)

ASIDE_SECONDS: Final = 1.0
"""How long an endpoint is set aside after its first failure; doubled each time that it fails again.
Short, since a single failure is often chance."""

ASIDE_SECONDS_MAX: Final = 60.0
"""So that an endpoint that works again is found within a minute."""

REFUSED_SECONDS: Final = 60.0
"""How long one is set aside whose key or quota is refused: that does not pass by itself soon."""

ADVICE_SECONDS_MAX: Final = 300.0
"""Longest time that an endpoint is left alone because it said so (Retry-After)."""

AHEAD_TURNS_MAX: Final = 20
"""Turns that conversations took out of turn and that others make up for: spread over many
conversations it is exact, and one that goes on for hours owes no more than that."""

_OF_THE_MODEL: Final = frozenset({404, 405, 410})
"""Refusals that may be about one model alone, such as a deployment that is only elsewhere: they
set aside no endpoint for all the others."""


class EndpointObserver(Protocol):
    """What wants to know how endpoints do; the metrics do."""

    def endpoint_answered(self, provider: str, endpoint: str) -> None:
        """One gave an answer a status of success."""
        ...

    def endpoint_failed(self, provider: str, endpoint: str) -> None:
        """One brought no answer, by its own fault."""
        ...


class Balance:
    """Whose turn it is among weighted places, and which of them are set aside."""

    def __init__(self, weights: Sequence[int], clock: Clock) -> None:
        """`weights` are at least 0; what has none is called while all others are set aside."""
        self._weights = tuple(weights)
        self._clock = clock
        self._credits = [0] * len(weights)
        self._failures = [0] * len(weights)
        self._aside_since = [0.0] * len(weights)
        self._aside_until = [0.0] * len(weights)

    def next(self, among: Collection[int]) -> int | None:
        """The place whose turn it is, of those that are not set aside; None where all are.

        Smooth weighted round robin: over a sum of weights each has as many turns as it weighs, as
        far apart as can be.
        """
        now = self._clock.monotonic()
        ready = [place for place in among if self._aside_until[place] <= now]
        weights = [self._weights[place] for place in ready]
        if not any(weights):
            weights = [1] * len(ready)
        found = None
        for place, weight in zip(ready, weights, strict=True):
            if not weight:
                continue
            self._credits[place] += weight
            if found is None or self._credits[place] > self._credits[found]:
                found = place
        if found is not None:
            self._credits[found] -= sum(weights)
        return found

    def first(self, home: int | None = None) -> int:
        """The place for a new call; where all are set aside, the one that is back the soonest.

        `home` is taken out of its turn, where it has some and is not set aside.
        """
        if home is not None and self._weights[home] and not self._is_aside(home):
            self._take_out_of_turn(home)
            return home
        places = range(len(self._weights))
        found = self.next(places)
        return min(places, key=self._aside_until.__getitem__) if found is None else found

    def _is_aside(self, place: int) -> bool:
        return self._clock.monotonic() < self._aside_until[place]

    def _take_out_of_turn(self, home: int) -> None:
        """As if its turn had been due; within a bound, the next turns are the others'."""
        whole = sum(self._weights)
        for place, weight in enumerate(self._weights):
            most = AHEAD_TURNS_MAX * weight
            self._credits[place] = min(self._credits[place] + weight, most)
        owed = AHEAD_TURNS_MAX * (whole - self._weights[home])
        self._credits[home] = max(self._credits[home] - whole, -owed)

    def failed(self, place: int, fault: ProviderFault) -> float | None:
        """Sets a place aside, where the fault is its own; for how many seconds."""
        now = self._clock.monotonic()
        left = self._aside_until[place] - now
        seconds = self._aside_seconds(place, fault, is_aside=left > 0)
        if not seconds or (left > 0 and seconds < left + ASIDE_SECONDS):
            return None  # nothing new: one of many calls that were under way
        self._aside_since[place] = now
        self._aside_until[place] = now + seconds
        return seconds

    def answered(self, place: int, begun_at: float) -> None:
        """A place answered a call that began then: it is as good as new, if it failed before."""
        if self._failures[place] and begun_at >= self._aside_since[place]:
            self._failures[place] = 0
            self._aside_until[place] = 0.0

    def _aside_seconds(self, place: int, fault: ProviderFault, *, is_aside: bool) -> float | None:
        match fault:
            case RateLimited(retry_after_s=float(advice)):
                self._failures[place] += 1
                return min(advice, ADVICE_SECONDS_MAX)
            case Misconfigured(status=status) if status in _OF_THE_MODEL:
                return None
            case Misconfigured():
                self._failures[place] += 1
                return REFUSED_SECONDS
            case (
                RateLimited()
                | Overloaded()
                | Unreachable()
                | TimedOut(wait="connect" | "first_byte")
            ):
                if is_aside:
                    return None  # one of the calls that were under way when it was set aside
                self._failures[place] += 1
                doublings = min(self._failures[place] - 1, 16)
                return min(ASIDE_SECONDS * 2.0**doublings, ASIDE_SECONDS_MAX)
            case _:
                return None


class Endpoint:
    """One endpoint: its name for people, its share of the calls, its connections."""

    __slots__ = ("address", "credentials", "name", "upstream", "weight")

    def __init__(
        self,
        name: str,
        weight: int,
        address: URL,
        credentials: Credentials,
        upstream: Upstream,
    ) -> None:
        self.name = name
        self.weight = weight
        self.address = address
        self.credentials = credentials
        self.upstream = upstream


class BalancedUpstream(Upstream):
    """The connections to a provider with several endpoints: each has its own, this one has none.

    Every retry begins with the endpoint whose turn it is, and may go on to each other one once.
    """

    def __init__(
        self, spec: ProviderSpec, endpoints: Sequence[Endpoint], faults: Faults, clock: Clock
    ) -> None:
        """`faults` hides the keys of all endpoints."""
        first = endpoints[0]
        super().__init__(spec, first.address, first.credentials, faults)
        self.endpoints = tuple(endpoints)
        self.observer: EndpointObserver | None = None
        self._homes = Homes(clock)
        self._balance = Balance([one.weight for one in endpoints], clock)
        self._clock = clock

    async def open(self) -> None:
        """Make the pools; no connection is made yet."""
        for one in self.endpoints:
            await one.upstream.open()

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        await super().close()  # those that linger here
        for one in self.endpoints:
            await one.upstream.close()

    async def _post(
        self,
        request: WireRequest,
        dispatch: Dispatch,
        call_id: str,
        due: float,
        first_byte_s: float | None,
    ) -> aiohttp.ClientResponse:
        """One round: the endpoint whose turn it is, then others, until one answers."""
        untried = set(range(len(self.endpoints)))
        faults: list[ProviderFault] = []
        place: int | None = self._balance.first(self._homes.of(request))
        while place is not None:
            untried.discard(place)
            upstream = self.endpoints[place].upstream
            begun_at = self._clock.monotonic()
            try:
                response = await upstream._post(  # noqa: SLF001 - of the same class
                    request, dispatch, call_id, due, first_byte_s
                )
            except ProviderFault as fault:
                if dispatch.forbidden:
                    raise  # its caller left, which is no fault of the endpoint
                self._failed(place, fault, call_id)
                if not may_move(fault, bills_on=self.spec.bills_after_cancel):
                    raise  # as it is: what it means for the call's hold is no other fault's
                faults.append(fault)
                place = self._balance.next(self._others(place, fault, untried))
                if place is None or due <= asyncio.get_running_loop().time():
                    break
                dispatch.wait(fault)
            else:
                self._answered(place, begun_at, call_id)
                self._homes.answered(request, place)
                return response
        raise min(faults, key=_hardness)

    def _others(self, place: int, fault: ProviderFault, untried: Collection[int]) -> list[int]:
        """Where that fault need not be met again: any other key, or any other address.

        An address that failed by its own account fails whoever asks; that is a retry's business,
        which pauses before.
        """
        if isinstance(fault, RateLimited | Misconfigured):
            return sorted(untried)
        address = self.endpoints[place].address
        return [other for other in sorted(untried) if self.endpoints[other].address != address]

    def _failed(self, place: int, fault: ProviderFault, call_id: str) -> None:
        name = self.endpoints[place].name
        seconds = self._balance.failed(place, fault)
        if seconds is not None:
            log.warning(
                "endpoint_set_aside",
                provider=self.spec.id,
                endpoint=name,
                seconds=round(seconds, 3),
                because=fault.message,
                call_id=call_id,
            )
        is_callers = isinstance(fault, Rejected) or (
            isinstance(fault, TimedOut) and fault.wait == "total"
        )
        if self.observer is not None and not is_callers:
            self.observer.endpoint_failed(self.spec.id, name)

    def _answered(self, place: int, begun_at: float, call_id: str) -> None:
        name = self.endpoints[place].name
        self._balance.answered(place, begun_at)
        log.debug("endpoint_answered", provider=self.spec.id, endpoint=name, call_id=call_id)
        if self.observer is not None:
            self.observer.endpoint_answered(self.spec.id, name)


def may_move(fault: ProviderFault, *, bills_on: bool) -> bool:
    """Whether another endpoint may help, and the lost request can have cost nothing."""
    match fault:
        case RateLimited() | Overloaded() | Misconfigured():
            return True
        case Unreachable():
            return not (bills_on and fault.dispatched)
        case TimedOut(wait="connect"):
            return True
        case _:
            return False


def _hardness(fault: ProviderFault) -> tuple[bool, bool, float]:
    """Orders the faults of one round by what stands for all of them.

    That is what an endpoint said, and of that what passes by itself, and soonest.
    """
    return fault.status is None, isinstance(fault, Misconfigured), fault.retry_after_s or 0.0
