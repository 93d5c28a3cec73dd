"""A long prompt is counted only where the count could change the plan, and the plan is the same."""

import pytest

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.routing import (
    AUTO,
    Chooser,
    Health,
    RouteContext,
    Router,
    Warmth,
    prompt_tokens,
    prompt_upper_bound,
    shared_judge,
)

PROVIDER = "here"
TEXT = "The museum of the old town opens again in spring. " * 40
PREMIUM = "gpt-4o"


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def offer(model: str, usd_per_mtok: int, window: int) -> Offer:
    rate = usd_per_mtok * 10**9
    return Offer(
        id=f"{PROVIDER}/{model}", provider=PROVIDER, model=model, provider_model=model,
        display_name=model, mode=Mode.CHAT, context_tokens_max=window, prompt_tokens_max=None,
        output_tokens_max=1_000, input_modalities=frozenset({Modality.TEXT}),
        output_modalities=frozenset({Modality.TEXT}), tools=False, structured_output=False,
        reasoning=False, temperature=True, free=False, deprecated=False, by_name_only=False,
        enabled=True, release_date=None,
        price=Price(1, (Rate(Unit.COMPLETION, 0, rate), Rate(Unit.PROMPT, 0, rate))),
    )  # fmt: skip


def router(*offers: Offer) -> Router:
    snapshot = CatalogSnapshot(1, offers)
    clock = SystemClock()
    return Router(
        lambda: snapshot,
        frozenset({PROVIDER}),
        lambda _provider, _request: None,
        chooser=Chooser(shared_judge()),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model=f"{PROVIDER}/{PREMIUM}",
        markup_ppm=0,
    )


REQUEST = ChatRequest(model=AUTO, messages=(Message(role="user", content=TEXT),))
TOKENS = prompt_tokens(REQUEST, PREMIUM)


@pytest.mark.parametrize("window", [TOKENS - 1, TOKENS, prompt_upper_bound(REQUEST)])
@pytest.mark.parametrize("small", [PREMIUM, "gpt-4.1", "claude-3-haiku", "nobody-knows-it"])
def test_a_plan_has_what_an_explanation_has_whatever_fits_by_its_count_alone(
    window: int, small: str
) -> None:
    prices = {
        PREMIUM: 20,
        "gpt-4.1": 15,
        "gpt-4o-mini": 2,
        "claude-3-haiku": 3,
        "nobody-knows-it": 1,
    }
    routed = router(
        *[offer(one, usd, window if one == small else 100_000) for one, usd in prices.items()]
    )
    plan = routed.plan(REQUEST, RouteContext())
    explained = routed.explain(REQUEST, RouteContext())  # counts, since it tells of all offers
    assert plan.attempts == explained.plan.attempts
    assert plan.best_single == explained.plan.best_single
    is_there = small in {one.offer.model for one in plan.attempts}
    assert window >= TOKENS or not is_there


def test_the_cheapest_that_a_prompt_just_fits_is_among_the_attempts() -> None:
    tight = offer("nobody-knows-it", 1, TOKENS)
    others = [offer(PREMIUM, 20, 100_000), offer("gpt-4o-mini", 2, 100_000)]
    assert tight in {
        one.offer for one in router(tight, *others).plan(REQUEST, RouteContext()).attempts
    }
    assert len(router(*others).plan(REQUEST, RouteContext()).attempts) == 2
