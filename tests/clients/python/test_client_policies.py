"""Estimates, explanations, policies and experiments: each request, and what it returns."""

from datetime import UTC, datetime

import pytest
from client_fake_routing import SECONDS
from client_fake_service import answers, completion, fails
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from omni.admin.v1 import admin_service_pb2 as pb
from omni.router.v1 import router_service_pb2 as router_pb
from omni_grpc_client import (
    Aborted,
    CostRule,
    DeterministicRule,
    EtagMismatch,
    ExperimentArm,
    FieldInvalid,
    HybridRule,
    IntervalEstimate,
    OpenBreaker,
    PerformanceRule,
    PolicyCondition,
    PolicyLimits,
    RegionRule,
    Routing,
    Savings,
    ScorePart,
    ScoreRule,
    WeightedRule,
)

POLICY = "global/routingPolicies/cheap"
MOMENT = datetime.fromtimestamp(SECONDS, UTC)


async def test_an_answer_tells_its_savings_and_warnings(omni, service):
    saved = router_pb.Savings(premium_model="a/b", premium_nanousd=70, saved_nanousd=-3)
    service.script(
        "CompleteChat",
        answers(
            router_pb.CompleteChatResponse(
                completion=completion(savings=saved, warnings=["a/b is deprecated."])
            )
        ),
    )
    options = {"routing": Routing(priority="cheap"), "tags": {"team": "red"}, "end_user": "ada"}
    answer = await omni.chat("omni/auto", "hi", **options)
    assert answer.savings == Savings(
        premium_model="a/b",
        premium_nanousd=70,
        saved_nanousd=-3,
        single_model="",
        single_nanousd=None,
    )
    assert answer.warnings == ("a/b is deprecated.",)
    (request,) = service.requests("CompleteChat")
    assert request.prompt.routing.priority == router_pb.ROUTING_PRIORITY_CHEAP
    assert (dict(request.prompt.tags), request.prompt.end_user) == ({"team": "red"}, "ada")
    assert (await omni.chat("a/b", "hi")).savings is None


async def test_an_estimate_tells_model_cost_and_credits(omni, service):
    estimate = await omni.estimate_chat("omni/auto", "hi", max_output_tokens=50)
    assert (estimate.model, estimate.cost_nanousd) == ("openai/gpt-4o-mini", 1_000)
    assert (estimate.cost_max_nanousd, estimate.premium_cost_nanousd) == (9_000, 7_000)
    assert estimate.credits_suffice is True
    assert (estimate.analysis.task, estimate.analysis.needs_code) == ("coding", True)
    (request,) = service.requests("EstimateChat")
    assert request.prompt.max_output_token_count == 50


async def test_what_an_estimate_does_not_know_is_none(omni, service):
    unknown = router_pb.EstimateChatResponse(estimate=router_pb.ChatEstimate(model="a/b"))
    service.script("EstimateChat", answers(unknown))
    estimate = await omni.estimate_chat("a/b", "hi")
    assert estimate.analysis is None
    assert estimate.credits_suffice is None
    assert estimate.available_nanousd is None
    assert estimate.premium_cost_nanousd is None


async def test_an_explanation_has_each_offer_with_its_score_or_its_reason(omni, service):
    found = await omni.explain_route("omni/auto", "hi")
    assert [one.model for one in found.attempts] == ["a/0"]
    assert (found.policy, found.experiment, found.offer_count) == (POLICY, "", 3)
    assert found.warnings == ("a/9 is deprecated.",)
    first, second, out = found.offers
    assert (first.score, first.cost_nanousd, first.latency_ms) == (1.0, 0, 800)
    assert first.parts == (ScorePart("cost", 0.5, 0.4),)
    assert (second.score, second.latency_ms) == (0.0, None)
    assert (out.excluded_reason, out.score, out.cost_nanousd) == ("It calls no tools.", None, None)
    assert first.breaker is None
    assert out.breaker == OpenBreaker(
        cause="it broke", open_time=datetime(1970, 1, 1, 0, 1, tzinfo=UTC), retry_time=None
    )
    page = await omni.explain_route("omni/auto", "hi", page_size=2)
    rest = await omni.explain_route("omni/auto", "hi", page_token=page.next_page_token)
    assert page.offers + rest.offers == found.offers
    assert service.requests("ExplainRoute")[1].page_size == 2


@pytest.mark.parametrize(
    ("rule", "raw"),
    [
        (ScoreRule(), {"score": pb.ScoreRule()}),
        (
            DeterministicRule(("a/b", "a/c")),
            {"deterministic": pb.DeterministicRule(models=["a/b", "a/c"])},
        ),
        (
            WeightedRule({"a/b": 3}, sticky=True),
            {
                "weighted": pb.WeightedRule(
                    models=[pb.WeightedModel(model="a/b", weight=3)], sticky=True
                )
            },
        ),
        (CostRule(0.75), {"cost": pb.CostRule(min_quality=0.75)}),
        (
            PerformanceRule("speed"),
            {"performance": pb.PerformanceRule(prefer=pb.PERFORMANCE_PREFERENCE_SPEED)},
        ),
        (
            HybridRule(cost=1, latency=2, task=3, quality=4),
            {"hybrid": pb.HybridRule(cost=1, latency=2, task=3, quality=4)},
        ),
        (
            RegionRule(("eu",), POLICY),
            {"region": pb.RegionRule(regions=["eu"], policy=POLICY)},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_rule_reaches_the_contract_and_comes_back(omni, service, rule, raw):
    made = await omni.create_routing_policy("cheap", rule)
    assert made.rule == rule
    (request,) = service.requests("CreateRoutingPolicy")
    assert request.routing_policy == pb.RoutingPolicy(**raw)


@pytest.mark.parametrize(
    "raw",
    [
        pb.RoutingPolicy(),
        pb.RoutingPolicy(performance=pb.PerformanceRule(prefer=9)),
    ],
)
async def test_a_rule_of_a_newer_service_is_none_and_stays_in_raw(omni, service, raw):
    service.script("GetRoutingPolicy", answers(pb.GetRoutingPolicyResponse(routing_policy=raw)))
    found = await omni.routing_policy(POLICY)
    assert found.rule is None
    assert found.raw == raw


async def test_a_policy_is_made_with_all_that_it_can_have(omni, service):
    options = {
        "description": "Cheap and good enough",
        "order": -1,
        "active": False,
        "when": PolicyCondition(
            tasks=("coding",), complexities=("simple",), models=("*",), tags={"team": "red"}
        ),
        "limits": PolicyLimits(
            allow_models=("a/b",),
            deny_models=("a/c",),
            allow_providers=("a",),
            deny_providers=("d",),
            max_cost_nanousd=5,
        ),
        "fallbacks": ["a/d"],
    }
    made = await omni.create_routing_policy("cheap", CostRule(0.5), scope="orgs/acme", **options)
    assert (made.name, made.etag) == ("orgs/acme/routingPolicies/cheap", "e1")
    assert made.warnings == ("The catalog does not have a/b.",)
    assert (made.order, made.active, made.fallbacks) == (-1, False, ("a/d",))
    assert (made.when, made.limits) == (options["when"], options["limits"])
    assert (made.source, made.update_by) == ("database", "0123456789ab")
    assert (made.create_time, made.update_time) == (MOMENT, None)
    (request,) = service.requests("CreateRoutingPolicy")
    sent = {field.name for field, _ in request.routing_policy.ListFields()}
    assert sent == {*options, "cost"}
    assert (await omni.create_routing_policy("plain", ScoreRule())).active is True


async def test_a_policy_given_as_a_value_is_guarded_by_its_etag(omni, service):
    policy = await omni.routing_policy(POLICY)
    changed = await omni.update_routing_policy(policy, rule=CostRule(0.5), limits=None, order=3)
    await omni.update_routing_policy(POLICY, order=4)
    await omni.delete_routing_policy(changed)
    await omni.delete_routing_policy(POLICY)
    first, second = service.requests("UpdateRoutingPolicy")
    assert first.routing_policy == pb.RoutingPolicy(
        name=POLICY, etag="e1", cost=pb.CostRule(min_quality=0.5), order=3
    )
    assert first.update_mask == FieldMask(paths=["rule", "limits", "order"])
    assert (second.routing_policy.etag, second.update_mask.paths) == ("", ["order"])
    guarded, free = service.requests("DeleteRoutingPolicy")
    assert (guarded.name, guarded.etag) == (POLICY, "e2")
    assert (free.name, free.etag) == (POLICY, "")


async def test_a_change_that_comes_too_late_is_caught_as_what_was_aborted(omni, service):
    service.script("UpdateRoutingPolicy", fails(StatusCode.ABORTED, "ETAG_MISMATCH"))
    policy = await omni.routing_policy(POLICY)
    with pytest.raises(Aborted) as caught:
        await omni.update_routing_policy(policy, order=1)
    assert type(caught.value) is EtagMismatch


async def test_a_change_of_nothing_is_refused_since_it_would_replace_all(omni, service):
    with pytest.raises(TypeError, match="what of the policy"):
        await omni.update_routing_policy(POLICY)
    with pytest.raises(TypeError, match="what of the experiment"):
        await omni.update_experiment("global/experiments/x")
    assert service.seen == []


@pytest.mark.parametrize(
    ("rule", "options", "error", "message"),
    [
        (DeterministicRule("a/b"), {}, TypeError, "give a list"),
        (RegionRule("eu"), {}, TypeError, "give a list"),
        (PerformanceRule("size"), {}, ValueError, "neither quality nor speed"),
        (CostRule("much"), {}, TypeError, "must be real number"),
        ("cost", {}, TypeError, "no rule"),
        (ScoreRule(), {"fallbacks": "a/b"}, TypeError, "give a list"),
        (ScoreRule(), {"limits": PolicyLimits(deny_models="a/b")}, TypeError, "give a list"),
        (ScoreRule(), {"when": PolicyCondition(tasks="chat")}, TypeError, "give a list"),
        (ScoreRule(), {"prio": 1}, TypeError, "a policy has no option 'prio'"),
    ],
)
async def test_a_policy_that_cannot_be_is_refused_before_it_is_sent(
    omni, service, rule, options, error, message
):
    with pytest.raises(error, match=message):
        await omni.create_routing_policy("p", rule, **options)
    assert service.seen == []


async def test_policies_and_experiments_are_listed_by_scope(omni, service):
    names = [one.name async for one in omni.routing_policies("global", page_size=2)]
    assert names == [f"global/routingPolicies/p{n}" for n in range(3)]
    assert [one.parent for one in service.requests("ListRoutingPolicies")] == ["global"] * 2
    names = [one.name async for one in omni.experiments(page_size=2)]
    assert names == [f"global/experiments/x{n}" for n in range(3)]


async def test_an_experiment_is_made_ended_and_deleted(omni, service):
    arms = [
        ExperimentArm(name="mini", share_ppm=300_000, models=("a/mini",)),
        ExperimentArm(name="cheap", share_ppm=200_000, policy="cheap"),
    ]
    options = {"when": PolicyCondition(tasks=("chat",)), "salt": "s", "start_time": MOMENT}
    made = await omni.create_experiment("x", arms, description="Mini", **options)
    assert made.arms == tuple(arms)
    assert (made.name, made.when, made.salt) == ("global/experiments/x", options["when"], "s")
    assert (made.start_time, made.end_time, made.source) == (MOMENT, None, "file")
    assert made.warnings == ("It is small.",)
    await omni.update_experiment(made, end_time=MOMENT)
    (request,) = service.requests("UpdateExperiment")
    assert request.update_mask == FieldMask(paths=["end_time"])
    assert (request.experiment.name, request.experiment.etag) == (made.name, "e1")
    assert request.experiment.end_time.ToSeconds() == SECONDS
    await omni.delete_experiment(made)
    await omni.delete_experiment(made.name)
    assert [one.etag for one in service.requests("DeleteExperiment")] == ["e1", ""]


async def test_an_experiment_that_cannot_be_is_refused_before_it_is_sent(omni, service):
    naive = MOMENT.replace(tzinfo=None)
    with pytest.raises(ValueError, match="start_time needs a time zone"):
        await omni.create_experiment("x", [], start_time=naive)
    with pytest.raises(TypeError, match="the models of arm a"):
        await omni.create_experiment("x", [ExperimentArm(name="a", share_ppm=1, models="a/b")])
    with pytest.raises(TypeError, match="an experiment has no option 'end'"):
        await omni.update_experiment("global/experiments/x", end=MOMENT)
    assert service.seen == []


async def test_a_report_has_each_arm_and_what_is_shown(omni, service):
    report = await omni.experiment_report("global/experiments/x")
    (arm,) = report.arms
    assert (arm.arm, arm.calls, arm.units, arm.saved_nanousd) == (report.control, 40, 20, -5)
    assert arm.metrics == {"cost_nanousd_per_call": IntervalEstimate(100, 90, None)}
    (difference,) = report.differences
    assert difference.absolute == IntervalEstimate(-50, -60, -40)
    assert difference.relative_ppm is None
    assert (difference.shown, difference.sentence) == (True, "mini costs less.")
    assert report.warnings == ("Some units changed their arms.",)


async def test_options_of_an_estimate_are_those_of_a_chat(omni, service):
    with pytest.raises(TypeError, match="a chat has no option 'max_cost'"):
        await omni.estimate_chat("omni/auto", "hi", max_cost=1)
    with pytest.raises(FieldInvalid, match="give a Routing"):
        await omni.explain_route("omni/auto", "hi", routing="cheap")
    assert service.seen == []
