"""Routing policies and experiments over gRPC, on a real gateway: set, guarded, and obeyed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import pytest
from gateway import Gateway, HttpConnection, Refusal, Tenant, bearer, refusal
from gateway_fixtures import gateway, simulator
from google.protobuf import field_mask_pb2, timestamp_pb2
from omni.admin.v1 import admin_service_pb2 as pb
from omni.admin.v1 import admin_service_pb2_grpc as pb_grpc

__all__ = ["gateway", "simulator"]
"""Fixtures of the end-to-end tests, used here too."""

SECONDS_MAX = 60.0


class Admin:
    """The service with a key, and a way to hear what it refuses."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self._stub = pb_grpc.AdminServiceStub(channel)
        self._metadata = bearer(key)

    def __call__(self, request, method: str | None = None):  # type: ignore[no-untyped-def]
        name = method or type(request).__name__.removesuffix("Request")
        return getattr(self._stub, name)(
            request, metadata=self._metadata, timeout=SECONDS_MAX, wait_for_ready=True
        )

    def refused(self, request) -> tuple[str, str | None, str]:  # type: ignore[no-untyped-def]
        """The status, the reason and the message."""
        found: Refusal = refusal(lambda: self(request))
        return found.code, found.reason, found.message


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Gateway:
    found: Gateway = request.getfixturevalue("gateway")
    return found


@pytest.fixture
def admin(served: Gateway) -> Iterator[Admin]:
    with grpc.insecure_channel(served.grpc) as channel:
        yield Admin(channel, served.admin_key)


@pytest.fixture
def tenant(served: Gateway) -> Tenant:
    """An organisation of the test's own, so that its policies touch nobody else's calls."""
    return served.tenant()


def create(scope: str, name: str, **fields: object) -> pb.CreateRoutingPolicyRequest:
    return pb.CreateRoutingPolicyRequest(
        parent=scope,
        routing_policy_id=name,
        routing_policy=pb.RoutingPolicy(**fields),  # type: ignore[arg-type]
    )


def chain(*models: str) -> pb.DeterministicRule:
    return pb.DeterministicRule(models=models)


def test_every_kind_of_rule_comes_back_as_it_was_set(admin: Admin, tenant: Tenant) -> None:
    scope = f"orgs/{tenant.org}"
    rules: dict[str, object] = {
        "score": pb.ScoreRule(),
        "deterministic": chain("a/b", "c"),
        "weighted": pb.WeightedRule(
            models=[
                pb.WeightedModel(model="a/b", weight=7), pb.WeightedModel(model="c", weight=0)
            ],
            sticky=True,
        ),
        "cost": pb.CostRule(min_quality=0),
        "performance": pb.PerformanceRule(prefer=pb.PERFORMANCE_PREFERENCE_SPEED),
        "hybrid": pb.HybridRule(cost=0.5, quality=2),
        "region": pb.RegionRule(regions=["eu"], policy="cost"),
    }  # fmt: skip
    for kind, rule in rules.items():
        request = create(
            scope,
            kind,
            order=3,
            active=False,
            description="für alle",
            when=pb.PolicyCondition(
                tasks=["coding"], complexities=["hard"], models=["omni/auto"], tags={"a": "b"}
            ),
            limits=pb.PolicyLimits(deny_models=["x"], max_cost_nanousd=5),
            fallbacks=["d"],
            **{kind: rule},
        )
        made = admin(request).routing_policy
        assert made.name == f"{scope}/routingPolicies/{kind}"
        assert made.source == pb.RULE_SOURCE_DATABASE
        assert made.WhichOneof("rule") == kind
        found = admin(pb.GetRoutingPolicyRequest(name=made.name)).routing_policy
        assert found == made
        for field in ("order", "active", "description", "when", "limits", "fallbacks", kind):
            assert getattr(made, field) == getattr(request.routing_policy, field), field
    first = admin(pb.ListRoutingPoliciesRequest(parent=scope, page_size=4))
    rest = admin(
        pb.ListRoutingPoliciesRequest(parent=scope, page_size=4, page_token=first.next_page_token)
    )
    listed = [
        one.name.rpartition("/")[2] for page in (first, rest) for one in page.routing_policies
    ]
    assert listed == sorted(rules)
    assert not rest.next_page_token


def test_an_update_changes_what_its_mask_names_and_no_more(admin: Admin, tenant: Tenant) -> None:
    made = admin(
        create(
            f"orgs/{tenant.org}", "p", deterministic=chain("a/b"), order=4, active=False,
            limits=pb.PolicyLimits(deny_models=["x"]), fallbacks=["f"],
        )
    ).routing_policy  # fmt: skip

    def updated(*paths: str, **fields: object) -> pb.RoutingPolicy:
        return admin(
            pb.UpdateRoutingPolicyRequest(
                routing_policy=pb.RoutingPolicy(name=made.name, **fields),  # type: ignore[arg-type]
                update_mask=field_mask_pb2.FieldMask(paths=paths),
            )
        ).routing_policy

    cheap = updated("rule", "description", cost=pb.CostRule(min_quality=0.5), description="d")
    assert cheap.WhichOneof("rule") == "cost"
    assert (cheap.order, cheap.active, list(cheap.fallbacks)) == (4, False, ["f"])
    assert cheap.etag != made.etag
    fewer = updated("limits.deny_models", limits=pb.PolicyLimits(deny_models=["y", "z"]))
    assert list(fewer.limits.deny_models) == ["y", "z"]
    assert not updated("fallbacks", "limits").fallbacks
    assert updated("active").active  # true where nothing is said
    whole = updated(score=pb.ScoreRule())
    assert (whole.order, whole.description, whole.WhichOneof("rule")) == (0, "", "score")
    status, _, _ = admin.refused(
        pb.UpdateRoutingPolicyRequest(
            routing_policy=pb.RoutingPolicy(name=made.name),
            update_mask=field_mask_pb2.FieldMask(paths=["colour"]),
        )
    )
    assert status == "INVALID_ARGUMENT"


def test_an_old_etag_is_refused_and_a_current_one_is_not(admin: Admin, tenant: Tenant) -> None:
    made = admin(create(f"orgs/{tenant.org}", "p", score=pb.ScoreRule())).routing_policy

    def update(etag: str) -> pb.UpdateRoutingPolicyRequest:
        return pb.UpdateRoutingPolicyRequest(
            routing_policy=pb.RoutingPolicy(name=made.name, etag=etag, score=pb.ScoreRule())
        )

    now = admin(update(made.etag)).routing_policy
    assert admin.refused(update(made.etag))[:2] == ("ABORTED", "ETAG_MISMATCH")
    old = pb.DeleteRoutingPolicyRequest(name=made.name, etag=made.etag)
    assert admin.refused(old)[:2] == ("ABORTED", "ETAG_MISMATCH")
    admin(pb.DeleteRoutingPolicyRequest(name=made.name, etag=now.etag))
    gone = pb.GetRoutingPolicyRequest(name=made.name)
    assert admin.refused(gone)[:2] == ("NOT_FOUND", "NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "rule: is missing"),
        ({"deterministic": chain()}, "names no model"),
        ({"deterministic": chain("a b")}, "no name of a model"),
        ({"deterministic": chain(*map(str, range(65)))}, "at most 64"),
        ({"weighted": pb.WeightedRule(models=[pb.WeightedModel(model="a")])}, "sum to zero"),
        (
            {"weighted": pb.WeightedRule(models=[pb.WeightedModel(model="a", weight=-1)])},
            "must be between 0",
        ),
        ({"hybrid": pb.HybridRule(cost=float("nan"))}, "must be between"),
        ({"cost": pb.CostRule(min_quality=float("inf"))}, "between 0 and 1"),
        ({"performance": pb.PerformanceRule(prefer=99)}, "there is no prefer '99'"),
        ({"region": pb.RegionRule(regions=["eu"], policy="gone")}, "which is not there"),
        ({"region": pb.RegionRule(regions=["eu"], policy="bad")}, "in a loop"),
        (
            {"score": pb.ScoreRule(), "when": pb.PolicyCondition(tasks=["cooking"])},
            "there is no task 'cooking'",
        ),
        (
            {"score": pb.ScoreRule(), "limits": pb.PolicyLimits(max_cost_nanousd=0)},
            "must be between 1",
        ),
        ({"score": pb.ScoreRule(), "description": "\0"}, "of text"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_reason(
    admin: Admin, tenant: Tenant, fields: dict[str, object], told: str
) -> None:
    status, reason, message = admin.refused(create(f"orgs/{tenant.org}", "bad", **fields))
    assert (status, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert told in message
    parent = pb.ListRoutingPoliciesRequest(parent=f"orgs/{tenant.org}")
    assert not admin(parent).routing_policies


def test_names_scopes_and_callers_are_checked(
    admin: Admin, served: Gateway, tenant: Tenant
) -> None:
    rule = pb.ScoreRule()
    for parent in ("", "acme", "orgs/acme/", "orgs/A", "orgs/acme/x/y"):
        assert admin.refused(create(parent, "p", score=rule))[1] == "FIELD_INVALID"
    assert admin.refused(create("orgs/nobody-here", "p", score=rule))[1] == "NOT_FOUND"
    assert "name: must be" in admin.refused(create("global", "P!", score=rule))[2]
    wrong = pb.GetRoutingPolicyRequest(name="global/experiments/x")
    assert admin.refused(wrong)[1] == "FIELD_INVALID"
    token = pb.ListRoutingPoliciesRequest(page_token="x")
    assert admin.refused(token)[1] == "FIELD_INVALID"
    with grpc.insecure_channel(served.grpc) as channel:
        theirs = Admin(channel, tenant.api_key)
        status, reason, _ = theirs.refused(create(f"orgs/{tenant.org}", "p", score=rule))
        assert (status, reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")


def test_experiments_are_set_changed_reported_and_deleted(admin: Admin, tenant: Tenant) -> None:
    scope = f"orgs/{tenant.org}"
    arm = pb.ExperimentArm(name="b", share_ppm=400_000, models=["a/b"])
    made = admin(
        pb.CreateExperimentRequest(
            parent=scope, experiment_id="x", experiment=pb.Experiment(arms=[arm], description="d")
        )
    )
    assert "the catalog knows no model 'a/b'" in made.warnings[0]
    assert made.experiment.HasField("start_time")
    assert list(made.experiment.arms) == [arm]
    more = pb.ExperimentArm(name="c", share_ppm=600_001)
    over = pb.Experiment(name=made.experiment.name, arms=[arm, more])
    status, _, message = admin.refused(
        pb.UpdateExperimentRequest(
            experiment=over, update_mask=field_mask_pb2.FieldMask(paths=["arms"])
        )
    )
    assert status == "INVALID_ARGUMENT"
    assert "above 100 %" in message
    end = timestamp_pb2.Timestamp()
    end.FromDatetime(datetime(2100, 1, 1, tzinfo=UTC))
    ended = admin(
        pb.UpdateExperimentRequest(
            experiment=pb.Experiment(name=made.experiment.name, end_time=end),
            update_mask=field_mask_pb2.FieldMask(paths=["end_time"]),
        )
    ).experiment
    assert (ended.end_time, ended.description) == (end, "d")
    absurd = pb.Experiment(
        name=made.experiment.name, end_time=timestamp_pb2.Timestamp(seconds=2**62)
    )
    assert admin.refused(pb.UpdateExperimentRequest(experiment=absurd))[1] == "FIELD_INVALID"
    report = admin(pb.GetExperimentReportRequest(name=made.experiment.name)).report
    assert [(one.arm, one.call_count) for one in report.arms] == [("control", 0), ("b", 0)]
    assert [one.name for one in admin(pb.ListExperimentsRequest(parent=scope)).experiments] == [
        made.experiment.name
    ]
    admin(pb.DeleteExperimentRequest(name=made.experiment.name))
    assert not admin(pb.ListExperimentsRequest(parent=scope)).experiments


def test_calls_follow_a_policy_and_are_counted_in_their_experiments_arm(
    admin: Admin,
    served: Gateway,
    tenant: Tenant,
) -> None:
    scope = f"orgs/{tenant.org}"

    def model_of(asked: str) -> str:
        with HttpConnection(served, tenant.api_key) as rest:
            answer = rest.chat(asked)
        assert answer.status == 200, answer.body
        return answer.headers["x-omni-model"]

    wanted, other = "sim/vision", "sim/reasoner"
    admin(create(scope, "one", deterministic=chain(wanted)))
    assert model_of("omni/auto") == wanted
    assert model_of(other) == other  # who names a model gets it
    arm = pb.ExperimentArm(name="b", share_ppm=1_000_000, models=[other])
    made = admin(
        pb.CreateExperimentRequest(
            parent=scope, experiment_id="x", experiment=pb.Experiment(arms=[arm])
        )
    ).experiment
    assert model_of("omni/auto") == other
    until = time.monotonic() + SECONDS_MAX
    while True:
        report = admin(pb.GetExperimentReportRequest(name=made.name)).report
        if report.arms[0].call_count == 1:
            break
        assert time.monotonic() < until, report
        time.sleep(0.05)
    assert (report.arms[0].arm, report.arms[0].unit_count) == ("b", 1)
