"""A key's list of models: named models outside it are refused, and choices stay within it."""

import pytest
from test_router import ids, offer, request, router

from omni_grpc.core.errors import ModelNotAllowed, ModelNotFound, NoCapableModel
from omni_grpc.core.tenancy import model_matches
from omni_grpc.routing import RouteContext


def key(*models: str) -> RouteContext:
    return RouteContext(models=models)


def test_the_router_chooses_among_the_allowed_alone_and_tells_why() -> None:
    planner = router(*(offer(f"here/{name}", 1 + place) for place, name in enumerate("abcd")))
    found = planner.explain(request(), key("here/b", "here/d"))
    assert {one.offer for one in found.considered if not one.excluded} == {"here/b", "here/d"}
    excluded = {one.offer: one.excluded for one in found.considered if one.excluded}
    assert set(excluded) == {"here/a", "here/c"}
    assert excluded["here/a"] == "the API key may call here/b, here/d alone"
    for models in (("here/b",), ("here/*",), ("b", "c")):  # one planner, and lists side by side
        assert all(model_matches(models, one) for one in ids(planner.plan(request(), key(*models))))


def test_a_named_model_outside_the_list_is_refused_with_the_list() -> None:
    planner = router(offer("here/a"), offer("here/b"))
    with pytest.raises(ModelNotAllowed, match="here/b alone") as caught:
        planner.plan(request("here/a"), key("here/b"))
    assert caught.value.field == "model"
    assert caught.value.metadata == {"models": "here/b"}
    assert ids(planner.plan(request("b"), key("here/b"))) == ["here/b"]
    with pytest.raises(ModelNotFound):
        planner.plan(request("here/zzz"), key("here/b"))


def test_nothing_is_chosen_where_the_list_has_nothing_that_can() -> None:
    with pytest.raises(NoCapableModel, match="elsewhere/x alone"):
        router(offer("here/a")).plan(request(), key("elsewhere/x"))


def test_a_long_list_is_told_in_part() -> None:
    models = [f"elsewhere/m{n}" for n in range(20)]
    with pytest.raises(ModelNotAllowed, match="and 12 more"):
        router(offer("here/a")).plan(request("here/a"), key(*models))
