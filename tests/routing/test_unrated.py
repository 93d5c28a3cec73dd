"""Choices where nobody said how good models are: of all of them, or of some."""

import pytest
from test_router import CONTEXT, NoPolicies, offer, request

from omni_grpc.catalog import CatalogSnapshot, Offer, Rating
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.task import Task
from omni_grpc.routing import ROUTED, Chooser, Health, Router, Warmth, shared_judge

QUESTION = "Which gas do plants take from the air? Explain it step by step, with the equation."
UNLIKE = "zzxq " * 40
BLIND = "nobody said how good any of the models is"


def routed(*offers: Offer, premium: str = "", **rated: float) -> Router:
    """Routes between offers, of which an operator rated some at everything."""
    return routing(
        offers, {model: {None: rating(value)} for model, value in rated.items()}, premium
    )


def rating(value: float, task: Task | None = None) -> Rating:
    return Rating(value=value, source="models.yaml", task=task)


def routing(
    offers: tuple[Offer, ...], stated: dict[str, dict[Task | None, Rating]], premium: str
) -> Router:
    snapshot = CatalogSnapshot(1, offers, ratings=stated)
    clock = SystemClock()
    return Router(
        lambda: snapshot,
        frozenset({"here"}),
        lambda _provider, _request: None,
        chooser=Chooser(shared_judge()),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model=premium,
        markup_ppm=0,
    )


def first(
    router: Router, model: str = "omni/auto", content: str = QUESTION, **asked: object
) -> str:
    return router.plan(request(model, content, **asked), CONTEXT).attempts[0].offer.id


@pytest.mark.parametrize("model", ROUTED)
@pytest.mark.parametrize("content", [QUESTION, UNLIKE, "Hello"])
def test_where_nothing_is_known_of_any_the_cheapest_is_chosen(model: str, content: str) -> None:
    """A price is no proof of quality: else who sets the highest one would get every call."""
    router = routed(offer("here/dear", 50), offer("here/cheap", 1), offer("here/middle", 5))
    found = router.explain(request(model, content), CONTEXT)
    scored = [one for one in found.considered if not one.excluded]
    assert [one.offer for one in scored] == ["here/cheap", "here/middle", "here/dear"]
    assert len({one.quality for one in scored}) == 1
    assert found.reason.startswith(BLIND)
    # Nothing is told to be saved either: nobody knows what the best one costs.
    assert (found.plan.premium, found.plan.best_single) == (None, None)


def test_the_cheapest_is_the_cheapest_that_can_do_the_request() -> None:
    router = routed(offer("here/able", 9, output_tokens_max=5_000), offer("here/cheap", 1))
    assert first(router, output_tokens_max=900) == "here/cheap"
    assert first(router, output_tokens_max=3_000) == "here/able"


def test_what_operators_say_beside_ratings_still_counts() -> None:
    weighted = routed(offer("here/dear", 5, quality_weight_ppm=2_000_000), offer("here/cheap", 1))
    assert first(weighted) == "here/dear"
    premium = routed(offer("here/dear", 5), offer("here/cheap", 1), premium="here/dear")
    assert first(premium, content=UNLIKE) == "here/dear"


@pytest.mark.parametrize("content", [QUESTION, UNLIKE])
@pytest.mark.parametrize("unrated_usd", [1, 50])
def test_a_model_that_nobody_rated_wins_over_no_rated_one_by_ignorance(
    content: str, unrated_usd: int
) -> None:
    router = routed(offer("here/rated", 2), offer("here/unrated", unrated_usd), rated=75.0)
    found = router.explain(request("omni/auto", content), CONTEXT)
    assert found.plan.attempts[0].offer.id == "here/rated"
    assert BLIND not in found.reason
    assert found.plan.premium is not None
    assert found.plan.premium.model == "here/rated"


def test_one_rating_at_one_task_is_knowledge() -> None:
    offers = (offer("here/rated", 2), offer("here/unrated", 1))
    router = routing(offers, {"rated": {Task.CODING: rating(75.0, Task.CODING)}}, "")
    assert first(router) == "here/rated"
