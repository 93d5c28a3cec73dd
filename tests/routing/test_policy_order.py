"""Each kind of rule, its limits and its fallbacks, over candidates made by hand."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.routing.policy import (
    Cost,
    Deterministic,
    Hybrid,
    Limits,
    Performance,
    Policy,
    Prefer,
    Ready,
    Region,
    Rule,
    Score,
    Weighted,
    WeightedModel,
    order,
)


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    offer_id: str
    model: str
    provider: str
    regions: frozenset[str] = frozenset()
    cost_nanousd: int = 1_000
    quality: float = 0.5
    latency_ms: float | None = None
    score: float = 0.5


def offered(offer_id: str, **facts: object) -> Offered:
    provider, _, model = offer_id.partition("/")
    return Offered(offer_id=offer_id, **({"model": model, "provider": provider} | facts))  # type: ignore[arg-type]


BIG = offered("a/big", cost_nanousd=9_000, quality=0.9, latency_ms=900.0, score=0.4)
MID = offered("b/mid", cost_nanousd=3_000, quality=0.7, latency_ms=None, score=0.6)
MID_ELSEWHERE = offered("c/mid", cost_nanousd=2_000, quality=0.7, latency_ms=300.0, score=0.7)
TINY = offered("d/tiny", cost_nanousd=100, quality=0.3, latency_ms=100.0, score=0.5)
ALL = (MID_ELSEWHERE, MID, TINY, BIG)


def ready(rule: Rule, **fields: object) -> Ready:
    return Ready(Policy(name="p", rule=rule, **fields))  # type: ignore[arg-type]


def ids(found: list[Offered]) -> list[str]:
    return [one.offer_id for one in found]


def ordered(rule: Rule, unit: str = "u", seed: str = "s", **fields: object) -> list[str]:
    return ids(order(ready(rule, **fields), ALL, unit, seed))


def test_a_chain_is_taken_in_its_order_and_nothing_else() -> None:
    dropped: dict[str, str] = {}
    policy = ready(Deterministic(models=("d/tiny", "gone/model", "mid")))
    assert ids(order(policy, ALL, "", "", dropped)) == ["d/tiny", "c/mid", "b/mid"]
    assert dropped == {"a/big": "is not in the chain of policy global/routingPolicies/p"}


def test_what_the_catalog_means_by_a_name_holds_in_its_order() -> None:
    policy = Ready(
        Policy(name="p", rule=Deterministic(models=("house", "d/tiny"))),
        meanings={"house": ("b/mid", "a/big"), "d/tiny": ("d/tiny",)},
    )
    assert ids(order(policy, ALL, "", "")) == ["b/mid", "a/big", "d/tiny"]


def test_the_cheapest_that_is_good_enough_comes_first_and_the_better_of_the_rest_next() -> None:
    assert ordered(Cost(min_quality=0.7)) == ["c/mid", "b/mid", "a/big", "d/tiny"]
    assert ordered(Cost(min_quality=0.95)) == ["a/big", "c/mid", "b/mid", "d/tiny"]
    assert ordered(Cost(min_quality=0))[0] == "d/tiny"


def test_the_best_or_the_fastest_under_a_ceiling() -> None:
    assert ordered(Performance())[0] == "a/big"
    speed = Performance(prefer=Prefer.SPEED)
    assert ordered(speed) == ["d/tiny", "c/mid", "a/big", "b/mid"]
    ceiling = Limits(max_cost_nanousd=3_000)
    assert ordered(Performance(), limits=ceiling) == ["c/mid", "b/mid", "d/tiny"]


def test_hybrid_and_score_keep_the_order_of_the_scores_and_hybrid_gives_its_weights() -> None:
    # As it comes: the service's guards may put first what has not the highest score.
    assert ids(order(ready(Score()), (TINY, BIG), "", "")) == ["d/tiny", "a/big"]
    assert ordered(Hybrid(cost=1)) == ordered(Score()) == ["c/mid", "b/mid", "d/tiny", "a/big"]
    assert ready(Hybrid(cost=2, quality=1)).weights == Hybrid(cost=2, quality=1)
    assert ready(Score()).weights is None


def test_a_region_leaves_out_what_is_elsewhere_or_unknown_and_hands_on() -> None:
    here = offered("eu/x", regions=frozenset({"eu", "us"}), cost_nanousd=5, quality=0.2)
    there = offered("us/y", regions=frozenset({"us"}))
    also = offered("eu/z", regions=frozenset({"eu"}), cost_nanousd=9, quality=0.8, score=0.1)
    scored = (here, there, also, TINY)
    dropped: dict[str, str] = {}
    alone = ready(Region(regions=("eu",)))
    assert ids(order(alone, scored, "", "", dropped)) == ["eu/x", "eu/z"]
    assert set(dropped) == {"us/y", "d/tiny"}
    assert "is not known to be served in eu" in dropped["us/y"]
    base = Policy(
        name="base", rule=Cost(min_quality=0.5), limits=Limits(deny_providers=("us",)),
        fallbacks=("x",),
    )  # fmt: skip
    handed = Ready(Policy(name="p", rule=Region(regions=("eu", "us"), policy="base")), Ready(base))
    assert ids(order(handed, scored, "", "")) == ["eu/z", "eu/x"]
    assert handed.kind == "cost"


def test_fallbacks_of_a_region_never_pass_the_limits_of_the_policy_it_hands_on_to() -> None:
    base = Policy(name="base", rule=Score(), limits=Limits(deny_models=("a/big",)))
    outer = Policy(name="p", rule=Region(regions=("eu",), policy="base"), fallbacks=("a/big",))
    scored = [
        offered("a/big", regions=frozenset({"eu"})),
        offered("b/mid", regions=frozenset({"eu"})),
    ]
    assert ids(order(Ready(outer, Ready(base)), scored, "", "")) == ["b/mid"]


def test_limits_leave_out_with_a_reason_and_hold_for_fallbacks_too() -> None:
    dropped: dict[str, str] = {}
    limits = Limits(allow_providers=("a", "b", "d"), deny_models=("tiny",), max_cost_nanousd=5_000)
    policy = ready(Score(), limits=limits, fallbacks=("c/mid", "a/big", "b/mid"))
    assert ids(order(policy, ALL, "", "", dropped)) == ["b/mid"]
    assert dropped == {
        "a/big": "its predicted cost, 0.000009 USD, is above 0.000005 "
        "(policy global/routingPolicies/p)",
        "c/mid": "provider c is not allowed (policy global/routingPolicies/p)",
        "d/tiny": "the model is denied (policy global/routingPolicies/p)",
    }
    only = ready(Score(), limits=Limits(allow_models=("mid",), deny_providers=("b",)))
    assert ids(order(only, ALL, "", "")) == ["c/mid"]


def test_fallbacks_follow_the_first_choice_and_the_whole_of_a_chain() -> None:
    assert ordered(Performance(), fallbacks=("d/tiny",)) == ["a/big", "d/tiny", "c/mid", "b/mid"]
    chain = Deterministic(models=("b/mid", "a/big"))
    assert ordered(chain, fallbacks=("d/tiny", "b/mid")) == ["b/mid", "a/big", "d/tiny"]
    assert ordered(Deterministic(models=("gone/x",)), fallbacks=("mid",)) == ["c/mid", "b/mid"]


def test_the_weights_are_the_shares_of_the_first_choices() -> None:
    rule = Weighted(models=(WeightedModel("a/big", 70), WeightedModel("mid", 30)))
    first = Counter(ordered(rule, seed=f"call-{n}")[0] for n in range(4_000))
    assert set(first) == {"a/big", "c/mid"}
    assert 0.67 < first["a/big"] / 4_000 < 0.73  # 4 standard deviations
    assert ordered(rule, seed="call-1") == ordered(rule, seed="call-1")


def test_a_weight_of_zero_is_never_drawn_and_what_cannot_serve_gives_its_share_away() -> None:
    models = (WeightedModel("a/big", 1), WeightedModel("d/tiny", 0), WeightedModel("gone/x", 99))
    for n in range(50):
        assert ordered(Weighted(models=models), seed=str(n)) == ["a/big"]


def test_a_sticky_draw_keeps_a_units_model_whatever_the_call() -> None:
    models = (WeightedModel("a/big", 1), WeightedModel("d/tiny", 1))
    sticky = Weighted(models=models, sticky=True)
    by_unit = {
        unit: {ordered(sticky, unit=unit, seed=f"{n}")[0] for n in range(20)}
        for unit in ("ann", "bob", "cyd", "dan", "eve", "fay")
    }
    assert all(len(found) == 1 for found in by_unit.values())
    assert len(set.union(*by_unit.values())) == 2
    # Without a unit it is by call, or everybody would get the same model.
    assert len({ordered(sticky, unit="", seed=f"{n}")[0] for n in range(20)}) == 2


def test_a_changed_weight_moves_only_what_goes_to_it() -> None:
    def firsts(weight: int) -> list[str]:
        models = (
            WeightedModel("a/big", 50),
            WeightedModel("mid", 50),
            WeightedModel("tiny", weight),
        )
        return [ordered(Weighted(models=models), seed=f"{n}")[0] for n in range(500)]

    moved = [(old, new) for old, new in zip(firsts(0), firsts(25), strict=True) if old != new]
    assert moved
    assert {new for _, new in moved} == {"d/tiny"}


def test_routing_weights_of_offers_share_out_their_model() -> None:
    rule = Weighted(models=(WeightedModel("mid", 1),))
    policy = Ready(
        Policy(name="p", rule=rule),
        meanings={"mid": ("b/mid", "c/mid")},
        shares={"b/mid": 3, "c/mid": 1},
    )
    first = Counter(order(policy, ALL, "", f"{n}")[0].offer_id for n in range(2_000))
    assert 0.71 < first["b/mid"] / 2_000 < 0.79
    none = Ready(policy.policy, meanings=policy.meanings, shares={"b/mid": 0, "c/mid": 1})
    assert ids(order(none, ALL, "", "1")) == ["c/mid"]


names = st.sampled_from(["a/big", "mid", "b/mid", "c/mid", "tiny", "gone/x"])
chains = st.lists(names, max_size=4).map(tuple)
rules: st.SearchStrategy[Rule] = st.one_of(
    st.just(Score()),
    st.builds(Deterministic, models=chains),
    st.builds(
        Weighted,
        models=st.lists(st.builds(WeightedModel, names, st.integers(0, 9)), max_size=4).map(tuple),
        sticky=st.booleans(),
    ),
    st.builds(Cost, min_quality=st.floats(0, 1)),
    st.builds(Performance, prefer=st.sampled_from(Prefer)),
    st.builds(Region, regions=st.just(("eu",))),
)
limits = st.builds(
    Limits,
    allow_models=chains,
    deny_models=chains,
    max_cost_nanousd=st.none() | st.integers(1, 10_000),
)


@given(rules, limits, chains, st.sets(st.sampled_from(ALL)), st.text(max_size=3))
def test_no_policy_brings_in_what_it_was_not_given_or_loses_one_without_a_reason(
    rule: Rule, limit: Limits, fallbacks: tuple[str, ...], given_: set[Offered], seed: str
) -> None:
    dropped: dict[str, str] = {}
    policy = ready(rule, limits=limit, fallbacks=fallbacks)
    found = order(policy, list(given_), "unit", seed, dropped)
    assert len(set(ids(found))) == len(found)
    assert set(found) <= given_
    assert set(ids(found)) | set(dropped) == {one.offer_id for one in given_}
    assert not set(ids(found)) & set(dropped)
    assert ids(found) == ids(order(policy, list(given_), "unit", seed))


@pytest.mark.parametrize("kind", ["score", "deterministic", "weighted", "cost", "region"])
def test_nothing_comes_of_nothing(kind: str) -> None:
    rule = {
        "score": Score(),
        "deterministic": Deterministic(models=("x",)),
        "weighted": Weighted(models=(WeightedModel("x", 1),)),
        "cost": Cost(min_quality=0.5),
        "region": Region(regions=("eu",)),
    }[kind]
    assert order(ready(rule), (), "", "") == []
