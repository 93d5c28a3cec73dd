"""The Python client against a whole gateway: estimates, policies, usage, a sync of the catalog."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from gateway import Gateway, SimulatorThread, Tenant, eventually, running
from gateway_fixtures import check_books
from omni_grpc_client import (
    CostRule,
    DeterministicRule,
    EtagMismatch,
    ExperimentArm,
    FieldInvalid,
    NoCapableModel,
    NotFound,
    Omni,
    PolicyCondition,
    PolicyLimits,
    Routing,
    ScopeMissing,
    UsageRecord,
)

from omni_grpc.storage import EmbeddedPostgres

PREMIUM = "sim/vision"
RATINGS = "models: {sim/vision: {ratings: {overall: 80}}, sim/small: {ratings: {overall: 80}}}"
"""Two that are as good as each other, so that the price decides."""

LIST = """
models:
  - provider: vllm
    id: house-7b
    mode: chat
    inputs: [text]
    outputs: [text]
    usd_per_million: {prompt: 0.1, completion: 0.2}
"""
"""What the catalog's one source says."""


@pytest.fixture(scope="module")
def routed(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose operator set a premium model, and has a list of models of its own."""
    name, admin_key = template
    url = postgres.create_database("e2e_client_routing", template=name)
    folder = tmp_path_factory.mktemp("client-routing")
    (folder / "models.yaml").write_text(RATINGS)
    (folder / "list.yaml").write_text(LIST)
    environment = {"OMNI_PREMIUM_MODEL": PREMIUM, "OMNI_CATALOG_SOURCES": "own=list.yaml"}
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made) as started:
        yield started
    check_books(url, folder)


@pytest.fixture
def admin(routed: Gateway) -> Iterator[Omni]:
    with routed.admin() as client:
        yield client


@pytest.fixture
def tenant(routed: Gateway) -> Tenant:
    return routed.tenant()


@pytest.fixture
def caller(routed: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(routed.grpc, api_key=tenant.api_key) as client:
        yield client


def test_an_estimate_says_whom_a_chat_would_ask_and_what_it_costs_at_most(caller: Omni) -> None:
    estimate = caller.estimate_chat("omni/cheap", "Say hello.", max_output_tokens=50)
    assert estimate.analysis is not None
    assert estimate.analysis.task == "chat"
    assert 0 < estimate.cost_nanousd <= estimate.cost_max_nanousd
    assert estimate.credits_suffice is True
    assert estimate.available_nanousd == caller.balance().available_nanousd == 10**9
    answer = caller.chat("omni/cheap", "Say hello.", max_output_tokens=50)
    assert (answer.model, answer.warnings) == (estimate.model, ())
    assert 0 < answer.cost_nanousd <= estimate.cost_max_nanousd


def test_an_explanation_leads_over_all_offers(caller: Omni) -> None:
    routing = Routing(allowed_providers=["sim"])
    page = caller.explain_route("omni/auto", "Say hello.", page_size=2, routing=routing)
    assert len(page.offers) == 2
    assert page.offers[0].model == page.attempts[0].model
    assert page.offers[0].score is not None
    offers = list(page.offers)
    while page.next_page_token:
        page = caller.explain_route(
            "omni/auto", "Say hello.", routing=routing, page_size=1000,
            page_token=page.next_page_token,
        )  # fmt: skip
        offers += page.offers
    assert len(offers) == page.offer_count == len({one.model for one in offers})
    for one in offers:
        assert (one.score is None) == bool(one.excluded_reason)
        assert one.model.startswith("sim/") or one.excluded_reason


def test_a_chat_is_routed_as_its_options_say_and_tells_what_it_saved(caller: Omni) -> None:
    answer = caller.chat(
        "omni/cheap",
        "Say hello.",
        routing=Routing(allowed_models=["sim/small"], task="coding"),
        tags={"team": "red"},
        end_user="ada",
    )
    assert answer.model == "sim/small"
    assert answer.savings is not None
    assert answer.savings.premium_model == PREMIUM
    saved = answer.savings.saved_nanousd
    assert answer.savings.premium_nanousd == answer.cost_nanousd + (saved or 0)

    def reported() -> UsageRecord | None:
        records = list(caller.usage_records())
        return records[0] if records and records[0].report is not None else None

    record = eventually(reported)
    assert isinstance(record, UsageRecord)
    assert record.report is not None
    assert (record.call_id, record.cost_nanousd) == (answer.call_id, answer.cost_nanousd)
    assert (record.report.task, record.report.saved_nanousd) == ("coding", saved)
    assert (record.report.tags, record.report.end_user) == ({"team": "red"}, "ada")
    assert list(caller.usage_records(where='model = "sim/vision"')) == []
    with pytest.raises(NoCapableModel):
        caller.chat("omni/cheap", "Hi.", routing=Routing(denied_providers=["sim"]))
    with pytest.raises(FieldInvalid):
        caller.chat("omni/cheap", "Hi.", routing=Routing(max_cost_nanousd=0))


def test_usage_adds_up_to_what_was_charged(caller: Omni) -> None:
    costs = {
        model: caller.chat(model, "Say hello.").cost_nanousd
        for model in ("sim/small", "sim/vision")
    }
    rows = {row.model: row for row in caller.usage_summaries(group_by="model", bucket="hour")}
    assert {model: row.sums.cost_nanousd for model, row in rows.items()} == costs
    row = rows["sim/small"]
    assert row.start_time is not None
    assert row.end_time == row.start_time + timedelta(hours=1)
    total = caller.usage_total()
    assert (total.calls, total.cost_nanousd) == (2, sum(costs.values()))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    later = caller.usage_total(start_time=tomorrow, end_time=tomorrow + timedelta(days=1))
    assert (later.calls, later.cost_nanousd) == (0, 0)


def test_a_policy_is_made_changed_and_deleted_and_decides_meanwhile(
    admin: Omni, caller: Omni, tenant: Tenant
) -> None:
    made = admin.create_routing_policy(
        "vision",
        DeterministicRule(["sim/vision"]),
        scope=f"orgs/{tenant.org}",
        description="What sees",
        when=PolicyCondition(tags={"team": "red"}),
    )
    assert (made.rule, made.source) == (DeterministicRule(("sim/vision",)), "database")
    assert admin.routing_policy(made.name).etag == made.etag
    assert caller.chat("omni/cheap", "Hi.", tags={"team": "red"}).model == "sim/vision"
    assert caller.chat("omni/cheap", "Hi.", tags={"team": "blue"}).model != "sim/vision"
    changed = admin.update_routing_policy(
        made, rule=CostRule(0.0), limits=PolicyLimits(allow_models=["sim/small"])
    )
    assert (changed.rule, changed.description) == (CostRule(0.0), "What sees")
    assert caller.chat("omni/best", "Hi.", tags={"team": "red"}).model == "sim/small"
    assert caller.explain_route("omni/best", "Hi.", tags={"team": "red"}).policy == made.name
    with pytest.raises(EtagMismatch, match="Read it again"):
        admin.update_routing_policy(made, order=7)
    with pytest.raises(EtagMismatch):
        admin.delete_routing_policy(made)
    assert admin.routing_policy(made.name) == changed
    assert admin.update_routing_policy(made.name, limits=None, when=None).limits == PolicyLimits()
    assert [one.name for one in admin.routing_policies(f"orgs/{tenant.org}")] == [made.name]
    with pytest.raises(ScopeMissing):
        caller.delete_routing_policy(made.name)
    admin.delete_routing_policy(made.name)
    with pytest.raises(NotFound):
        admin.routing_policy(made.name)


def test_an_experiment_assigns_end_users_and_reports_its_arms(
    admin: Omni, caller: Omni, tenant: Tenant
) -> None:
    made = admin.create_experiment(
        "see-or-not",
        [ExperimentArm(name="vision", share_ppm=1_000_000, models=["sim/vision"])],
        scope=f"orgs/{tenant.org}",
    )
    assert caller.chat("omni/cheap", "Hi.", end_user="ada").model == "sim/vision"
    ended = admin.update_experiment(made, end_time=datetime.now(UTC))
    assert caller.chat("omni/cheap", "Hi.", end_user="ada").model != "sim/vision"

    def counted() -> bool:
        return bool(admin.experiment_report(ended).arms[0].calls)

    eventually(counted)
    (arm,) = admin.experiment_report(made.name).arms
    assert (arm.arm, arm.calls, arm.units) == ("vision", 1, 1)
    assert arm.metrics["cost_nanousd_per_call"].value == arm.cost_nanousd
    assert [one.name for one in admin.experiments(f"orgs/{tenant.org}")] == [made.name]
    admin.delete_experiment(ended)


def test_a_sync_brings_what_the_operators_list_says(admin: Omni, caller: Omni) -> None:
    with admin.sync_catalog(dry_run=True) as sync:
        steps = [(step.source, step.stage) for step in sync]
    assert steps[-1] == ("own", "read")
    assert (sync.report.dry_run, sync.report.added) == (True, 1)
    with pytest.raises(NotFound):
        caller.model("vllm/house-7b")
    with admin.sync_catalog(["own"]) as sync:
        report = sync.result()
    assert (report.dry_run, report.added, [one.source for one in report.sources]) == (
        False, 1, ["own"],
    )  # fmt: skip
    assert caller.model("vllm/house-7b").pricing is not None
    with admin.sync_catalog(["elsewhere"]) as sync, pytest.raises(FieldInvalid, match="elsewhere"):
        sync.result()
    with caller.sync_catalog() as sync, pytest.raises(ScopeMissing):
        sync.result()
