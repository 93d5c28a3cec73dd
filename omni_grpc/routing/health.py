"""What a worker knows of each offer from calls: whether it works, and how fast.

`completion` tells it how each attempt ended; the router asks it which offers to leave out and how
long each would take.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from omni_grpc.core.clock import Clock
from omni_grpc.routing.breakers import Breaker, BreakerState, OpenBreaker
from omni_grpc.routing.speeds import SpeedMeter, Sums

T = TypeVar("T")


class HealthObserver(Protocol):
    """What wants to know of breakers; the metrics do."""

    def breaker_changed(self, offer: str, state: BreakerState) -> None:
        """A breaker opened or closed."""


class Health:
    """The health of all offers that were called, by offer id."""

    def __init__(self, clock: Clock, observer: HealthObserver | None = None) -> None:
        self._clock = clock
        self._observer = observer
        self._breakers: dict[str, Breaker] = {}
        self._tripped: set[str] = set()
        """Offers whose breakers are not closed: nearly always none."""
        self._meters: dict[str, SpeedMeter] = {}

    # --- asked by the router ------------------------------------------------------------------
    @property
    def tripped(self) -> frozenset[str]:
        """Offers whose breakers are not closed, some of which may be tried."""
        return frozenset(self._tripped)

    def fault(self, offer: str) -> str | None:
        """Why an offer should not be called now; None if it may be."""
        if offer not in self._tripped:
            return None
        breaker = self._breakers[offer]
        if breaker.state is BreakerState.OPEN:
            return f"its breaker is open after failures: {breaker.cause}"
        return None

    def opening(self, offer: str) -> OpenBreaker | None:
        """The breaker of an offer, where it is open."""
        return self._breakers[offer].opening if offer in self._tripped else None

    def healthy_first(
        self, plan: Sequence[T], offer_of: Callable[[T], str | None]
    ) -> tuple[T, ...]:
        """What is to be tried, those last whose offers should not be called now.

        `offer_of` is None for what this knows nothing of, such as a caller's own account.
        """
        if not self._tripped:
            return tuple(plan)

        def is_away(one: T) -> bool:
            offer = offer_of(one)
            return offer is not None and self.fault(offer) is not None

        return tuple(sorted(plan, key=is_away))

    @property
    def speeds(self) -> Mapping[str, SpeedMeter]:
        """The meters of all offers that were called."""
        return self._meters

    # --- told by completion -------------------------------------------------------------------
    def begun(self, offer: str) -> None:
        """An attempt is being sent."""
        if offer in self._tripped:
            self._breakers[offer].begun()

    def answered(
        self,
        offer: str,
        *,
        first_token_s: float | None,
        whole_s: float,
        output_tokens: int,
        reasoning_tokens: int | None = None,
    ) -> None:
        """An attempt was answered: the times from its dispatch on; a plain one has no first.

        `reasoning_tokens` are those of the output; None where they tell nothing of other calls.
        """
        breaker = self._breakers.get(offer)
        if breaker is not None:
            breaker.succeeded()
            self._settle(offer)
        meter = self._meters.get(offer)
        if meter is None:
            meter = self._meters[offer] = SpeedMeter(self._clock)
        meter.add(first_token_s, whole_s, output_tokens, reasoning_tokens)

    def failed(
        self,
        offer: str,
        cause: str,
        *,
        retry_after_s: float | None = None,
        at_once: bool = False,
        unreached: bool = False,
    ) -> None:
        """An attempt failed by its provider's fault.

        Args:
            offer: the offer.
            cause: what happened, for people; no secret.
            retry_after_s: when the provider says to come again.
            at_once: more failures need not be waited for, such as of a key that is refused.
            unreached: no connection was made.
        """
        breaker = self._breakers.get(offer)
        if breaker is None:
            breaker = self._breakers[offer] = Breaker(self._clock)
        breaker.failed(cause, retry_after_s=retry_after_s, at_once=at_once, unreached=unreached)
        self._settle(offer)

    def left(self, offer: str) -> None:
        """An attempt told nothing of its offer: its caller went away, or its content was wrong."""
        if offer in self._tripped:
            self._breakers[offer].cleared()

    # --- told by probes and other workers -----------------------------------------------------
    def open_providers(self) -> frozenset[str]:
        """The providers of which an offer's breaker is open."""
        return frozenset(
            _provider_of(offer)
            for offer in self._tripped
            if self._breakers[offer].state is BreakerState.OPEN
        )

    def found_there(self, provider: str) -> tuple[str, ...]:
        """A provider answers a probe; the offers that may be tried again by that."""
        return tuple(
            offer
            for offer in sorted(self._tripped)
            if _provider_of(offer) == provider and self._breakers[offer].found_there()
        )

    def found_away(self, provider: str, *, keep_s: float) -> None:
        """A provider answers no probe: its tripped offers need not be tried for so many seconds."""
        for offer in self._tripped:
            if _provider_of(offer) == provider:
                self._breakers[offer].found_away(keep_s)

    def learned(self, shared: Mapping[str, Sums]) -> None:
        """What all workers measured together, by offer id."""
        for offer, sums in shared.items():
            meter = self._meters.get(offer)
            if meter is None:
                meter = self._meters[offer] = SpeedMeter(self._clock)
            meter.learn(sums)

    def take_new(self, offers_max: int) -> dict[str, Sums]:
        """What this worker measured since it was last taken, of so many offers at most."""
        found: dict[str, Sums] = {}
        for offer, meter in self._meters.items():
            if len(found) == offers_max:
                break
            new = meter.take_new()
            if new is not None:
                found[offer] = new
        return found

    def give_back(self, new: Mapping[str, Sums]) -> None:
        """What was taken and could not be told to others."""
        for offer, sums in new.items():
            self._meters[offer].give_back(sums)

    def _state(self, offer: str) -> BreakerState:
        breaker = self._breakers.get(offer)
        return BreakerState.CLOSED if breaker is None else breaker.state

    def _settle(self, offer: str) -> None:
        """Keeps the set of tripped offers true, and tells of changes."""
        is_tripped = self._state(offer) is not BreakerState.CLOSED
        if is_tripped == (offer in self._tripped):
            return
        if is_tripped:
            self._tripped.add(offer)
        else:
            self._tripped.discard(offer)
        if self._observer is not None:
            self._observer.breaker_changed(offer, self._state(offer))


def _provider_of(offer: str) -> str:
    return offer.partition("/")[0]
