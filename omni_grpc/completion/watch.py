"""Tells routing how an attempt went: whether its offer works, how fast it is, what is warm."""

from omni_grpc.catalog import Offer
from omni_grpc.completion.call import Call
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.clock import Clock
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Misconfigured,
    ProviderFault,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from omni_grpc.routing import Health, Warmth, asks_for_reasoning


class AttemptWatch:
    """One attempt, from its dispatch to its end. What happens after its end is not told."""

    __slots__ = ("_begun_at", "_clock", "_first_at", "_health", "_is_over", "offer")

    def __init__(self, health: Health | None, clock: Clock, offer: Offer) -> None:
        """Without `health` nobody is told."""
        self.offer = offer
        self._health = health
        self._clock = clock
        self._begun_at: float | None = None
        self._first_at: float | None = None
        self._is_over = False

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the dispatch to the first token; None in a plain call."""
        if self._begun_at is None or self._first_at is None:
            return None
        return self._first_at - self._begun_at

    def begun(self) -> None:
        """It is being sent."""
        self._begun_at = self._clock.monotonic()
        if self._health is not None:
            self._health.begun(self.offer.id)

    def first(self) -> None:
        """The first of an answer came."""
        self._first_at = self._clock.monotonic()

    def answered(self, usage: Usage | None) -> None:
        """It was answered whole."""
        self._answered(usage, None)

    def _answered(self, usage: Usage | None, reasoning_tokens: int | None) -> None:
        """The same; with the reasoning that its model does when it is left to itself, if known."""
        if self._ends() and self._begun_at is not None and self._health is not None:
            self._health.answered(
                self.offer.id,
                first_token_s=self.first_token_s,
                whole_s=self._clock.monotonic() - self._begun_at,
                output_tokens=0 if usage is None else usage.completion or 0,
                reasoning_tokens=reasoning_tokens,
            )

    def failed(self, fault: ProviderFault) -> None:
        """It failed. What the caller's content or the caller's time is to blame for is no fault."""
        if not self._ends() or self._health is None:
            return
        if isinstance(fault, Rejected) or (isinstance(fault, TimedOut) and fault.wait == "total"):
            self._health.left(self.offer.id)
            return
        self._health.failed(
            self.offer.id,
            fault.message,
            retry_after_s=fault.retry_after_s if isinstance(fault, RateLimited) else None,
            at_once=isinstance(fault, Misconfigured),
            unreached=not fault.dispatched and isinstance(fault, Unreachable | TimedOut),
        )

    def left(self) -> None:
        """Its caller went away."""
        if self._ends() and self._health is not None:
            self._health.left(self.offer.id)

    def _ends(self) -> bool:
        was_over, self._is_over = self._is_over, True
        return not was_over


class ChatWatch(AttemptWatch):
    """An attempt to complete a chat, whose prompt may be warm afterwards."""

    __slots__ = ("_request", "_scope", "_warmth")

    def __init__(
        self,
        health: Health,
        warmth: Warmth,
        clock: Clock,
        offer: Offer,
        call: Call,
        request: ChatRequest,
    ) -> None:
        super().__init__(health, clock, offer)
        self._warmth = warmth
        self._request = request
        self._scope = "" if call.principal is None else call.principal.place

    def answered(self, usage: Usage | None) -> None:
        """It was answered whole."""
        told = None if usage is None or asks_for_reasoning(self._request) else usage.reasoning
        if not told and not self.offer.reasoning:
            told = None  # of a model that does not reason it says nothing
        self._answered(usage, told)
        if usage is not None:
            self._warmth.answered(self._scope, self._request, self.offer, usage)
