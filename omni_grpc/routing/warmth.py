"""Which offer holds a conversation's prompt in its provider's cache, so that it is cheap there.

A conversation is known by its beginning: after a turn the prompt that was sent is remembered, and
the next turn begins with it. What is kept are digests, never texts, in one worker's memory: a
worker that does not know of a warm cache merely chooses without it.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.clock import Clock
from omni_grpc.core.conversation import BEGINNINGS_MAX, WARM_SECONDS, beginnings
from omni_grpc.core.money import UNITS_PER_PRICE, Unit
from omni_grpc.core.usage import Usage

WARM_TOKENS_MIN: Final = 1_024
"""Providers that keep prompts by themselves begin at this size."""

CONVERSATIONS_MAX: Final = 20_000
"""Some 200 bytes each; the least recently used goes first."""


class Warm(msgspec.Struct, frozen=True):
    """A prompt's beginning that an offer's provider keeps, in tokens."""

    offer: str
    tokens: int

    def saved_nanousd(self, offer: Offer, prompt_tokens: int) -> float:
        """What reading the beginning from the cache saves of the prompt's price."""
        price = offer.price
        if price is None or not price.priced(Unit.CACHED_READ):
            return 0.0
        difference = price.rate(Unit.PROMPT, prompt_tokens) - price.rate(
            Unit.CACHED_READ, prompt_tokens
        )
        return max(0, difference) * min(self.tokens, prompt_tokens) / UNITS_PER_PRICE


class Warmth:
    """The warm caches that this worker knows of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[str, int, float]] = OrderedDict()

    def warm(self, scope: str, request: ChatRequest) -> Warm | None:
        """The warm beginning of a request, the longest that is known.

        `scope` keeps callers apart: providers do not share caches between their customers, and
        nobody shall learn what others asked.
        """
        if not self._kept or len(request.messages) < 2:  # noqa: PLR2004 # a first turn continues nothing
            return None
        now = self._clock.monotonic()
        for digest in reversed(beginnings(request, BEGINNINGS_MAX, scope)[:-1]):
            found = self._kept.get(digest)
            if found is not None and now < found[2]:
                return Warm(found[0], found[1])
        return None

    def answered(self, scope: str, request: ChatRequest, offer: Offer, usage: Usage) -> None:
        """A request was answered: its prompt is warm now, if its provider keeps prompts."""
        tokens = _kept_tokens(offer, usage)
        if tokens < WARM_TOKENS_MIN:
            return
        (digest,) = beginnings(request, 1, scope)
        self._kept[digest] = (offer.id, tokens, self._clock.monotonic() + WARM_SECONDS)
        self._kept.move_to_end(digest)
        while len(self._kept) > CONVERSATIONS_MAX:
            self._kept.popitem(last=False)


def _kept_tokens(offer: Offer, usage: Usage) -> int:
    """How many tokens of a prompt the provider keeps.

    One that asks a price for writing keeps what was marked, and reports it. One that has a price
    for reading only keeps long prompts by itself.
    """
    price = offer.price
    if price is None or not price.priced(Unit.CACHED_READ):
        return 0
    if price.priced(Unit.CACHED_WRITE):
        return (usage.cached_read or 0) + (usage.cached_write or 0)
    return usage.prompt or 0
