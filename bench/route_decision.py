"""Times whole routing decisions over the packaged catalog.

    .venv/bin/python bench/route_decision.py

The offers are OpenRouter's, about 300 that complete chats, so that a decision looks at all of them.
Nothing is called. Prints CPU microseconds a decision, and what the process's memory grew by.
"""

import datetime as dt
import gc
import resource
import time

import numpy as np

from omni_grpc.catalog import CatalogSnapshot, Offer, packaged_facts
from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import Price
from omni_grpc.routing import Chooser, Health, RouteContext, Router, Warmth, shared_judge

PROVIDER = "openrouter"
ROUNDS = 2_000
WARM_UP = 200
WORDS = "Explain how the tides follow the moon and why there are two of them each day. "


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def offers() -> list[Offer]:
    """OpenRouter's offers, priced as the package says."""
    found = []
    for number, one in enumerate(packaged_facts(dt.datetime.now(dt.UTC)).offers, 1):
        if one.provider == PROVIDER:
            facts = {
                name: getattr(one, name)
                for name in Offer.__struct_fields__
                if name in type(one).__struct_fields__
            }
            price = Price(number, one.quote.rates) if one.quote.rates else None
            found.append(Offer(**facts, id=one.id, free=one.quote.free, enabled=True, price=price))
    return found


def main() -> None:
    """Measures, and prints."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    judge = shared_judge()
    clock = SystemClock()
    snapshot = CatalogSnapshot(1, offers())
    router = Router(
        lambda: snapshot,
        frozenset({PROVIDER}),
        lambda _provider, _request: None,
        chooser=Chooser(judge),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model="openai/gpt-4o",
        markup_ppm=0,
    )
    context = RouteContext()
    for chars in (750, 20_000):
        text = (WORDS * (chars // len(WORDS) + 1))[:chars]
        times = []
        for number in range(WARM_UP + ROUNDS):
            request = ChatRequest(
                model="omni/auto", messages=(Message(role="user", content=f"{number} {text}"),)
            )
            began = time.thread_time_ns()
            plan = router.plan(request, context)
            if number >= WARM_UP:
                times.append((time.thread_time_ns() - began) / 1_000)
        middle, late = np.percentile(times, [50, 99])
        print(
            f"{len(snapshot)} offers, {chars} characters: p50 {middle:.0f} us, p99 {late:.0f} us "
            f"({plan.attempts[0].offer.id})"
        )
    gc.collect()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory with the catalog: +{grown / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
