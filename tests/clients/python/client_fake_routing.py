"""The fake service's answers about routing, usage and the catalog; parts of its servicers."""

import asyncio

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from omni.admin.v1 import admin_service_pb2 as admin_pb
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni.router.v1 import router_service_pb2 as router_pb

SECONDS = 1_750_000_000


def page_of(number_of: int, request) -> tuple[range, str]:
    """The numbers of a page, and the token of the next."""
    first = int(request.page_token or 0)
    last = min(first + (request.page_size or 50), number_of)
    return range(first, last), str(last) if last < number_of else ""


# --- estimates and explanations ---------------------------------------------------------------
ANALYSIS = router_pb.TaskAnalysis(
    task="coding",
    task_probability_ppm=900_000,
    complexity="hard",
    complexity_ppm=800_000,
    needs_code=True,
    source="local",
)


def offer(number: int) -> router_pb.ConsideredOffer:
    if number == 2:
        return router_pb.ConsideredOffer(
            model="a/2",
            excluded_reason="It calls no tools.",
            breaker=router_pb.OpenBreaker(cause="it broke", open_time=Timestamp(seconds=60)),
        )
    return router_pb.ConsideredOffer(
        model=f"a/{number}",
        score=1.0 - number,
        parts=[router_pb.ScorePart(name="cost", value=0.5, weight=0.4)],
        quality=0.9,
        cost_nanousd=0,
        latency_ms=800 if number == 0 else None,
    )


class RoutesFake:
    async def EstimateChat(self, request, context):
        def answer(_: Message) -> Message:
            estimate = router_pb.ChatEstimate(
                analysis=ANALYSIS,
                model="openai/gpt-4o-mini",
                reason="It is the cheapest that is good enough.",
                prompt_token_count=9,
                completion_token_count=120,
                max_output_token_count=4096,
                cost_nanousd=1_000,
                cost_max_nanousd=9_000,
                cost_credits="0.000001",
                credits_suffice=True,
                available_nanousd=4_500_000_000,
                premium_cost_nanousd=7_000,
            )
            return router_pb.EstimateChatResponse(estimate=estimate)

        return await self.fake.unary(request, context, "EstimateChat", answer)

    async def ExplainRoute(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            return router_pb.ExplainRouteResponse(
                analysis=ANALYSIS,
                attempts=[router_pb.PlannedAttempt(model="a/0", reason="the best score")],
                reason="a/0 before a/1 by cost.",
                policy="global/routingPolicies/cheap",
                offers=map(offer, numbers),
                next_page_token=token,
                offer_count=3,
                warnings=["a/9 is deprecated."],
            )

        return await self.fake.unary(request, context, "ExplainRoute", answer)


# --- usage --------------------------------------------------------------------------------------
def usage_record(number: int) -> billing_pb.UsageRecord:
    record = billing_pb.UsageRecord(
        call_id=f"call_{number}",
        account="accounts/acme",
        cost_nanousd=7,
        attempts=[billing_pb.AttemptRecord(attempt_number=1, outcome="answered")],
        key="0123456789ab",
    )
    record.create_time.FromSeconds(SECONDS)
    if number == 0:
        record.call_report.CopyFrom(
            billing_pb.CallReport(
                requested_model="omni/auto",
                task="coding",
                complexity="hard",
                premium_model="openai/gpt-4o",
                premium_price_version=3,
                premium_nanousd=70,
                saved_nanousd=63,
                duration_ms=900,
                reason="OK",
                tags={"team": "red"},
                end_user="ada",
            )
        )
    return record


def usage_summary(number: int) -> billing_pb.UsageSummary:
    summary = billing_pb.UsageSummary(
        model=f"a/{number}",
        sums=billing_pb.UsageSums(call_count=2, cost_nanousd=number, saved_nanousd=-number),
    )
    summary.start_time.FromSeconds(SECONDS)
    summary.end_time.FromSeconds(SECONDS + 86_400)
    return summary


class UsageFake:
    async def SummarizeUsage(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            return billing_pb.SummarizeUsageResponse(
                usage_summaries=map(usage_summary, numbers),
                next_page_token=token,
                total=billing_pb.UsageSums(
                    call_count=6, cost_nanousd=2_500_000, saved_nanousd=-500_000
                ),
            )

        return await self.fake.unary(request, context, "SummarizeUsage", answer)

    async def ListUsageRecords(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            return billing_pb.ListUsageRecordsResponse(
                usage_records=map(usage_record, numbers), next_page_token=token
            )

        return await self.fake.unary(request, context, "ListUsageRecords", answer)


# --- the catalog --------------------------------------------------------------------------------
def progress(source: str, stage: int, **fields: object) -> catalog_pb.SyncCatalogResponse:
    step = catalog_pb.SyncProgress(source=source, stage=stage, **fields)
    return catalog_pb.SyncCatalogResponse(progress=step)


def sync_report(*, dry_run: bool) -> catalog_pb.SyncCatalogResponse:
    return catalog_pb.SyncCatalogResponse(
        report=catalog_pb.SyncReport(
            version=8,
            dry_run=dry_run,
            sources=[
                catalog_pb.SourceOutcome(
                    source="models.dev",
                    stage=catalog_pb.SYNC_STAGE_READ,
                    offer_count=5,
                    unpriced_count=1,
                    faults=["a/b: no price"],
                )
            ],
            added_count=1,
            updated_count=2,
            changes=[
                catalog_pb.SyncedChange(
                    model="a/b", field="price", new_value="prompt=1", source="models.dev"
                )
            ],
            change_count=4,
            waiting_prices=[
                catalog_pb.WaitingPrice(
                    model="a/c",
                    source="models.dev",
                    old_value="prompt=1",
                    new_value="prompt=9",
                    change_ppm=8_000_000,
                )
            ],
            waiting_price_count=1,
            duration_ms=12,
        )
    )


class CatalogFake:
    async def UpdateModel(self, request, context):
        def answer(_: Message) -> Message:
            return catalog_pb.UpdateModelResponse(model=request.model)

        return await self.fake.unary(request, context, "UpdateModel", answer)

    async def ResolveModel(self, request, context):
        def answer(_: Message) -> Message:
            return catalog_pb.ResolveModelResponse(
                models=[catalog_pb.Model(model="openai/gpt-4o")],
                alias=catalog_pb.Alias(name=request.model, scope="global", targets=["gpt-4o"]),
            )

        return await self.fake.unary(request, context, "ResolveModel", answer)

    async def ListModelChanges(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            changes = [
                catalog_pb.ModelChange(subject="a/b", field="price", new_value=f"prompt={number}")
                for number in numbers
            ]
            return catalog_pb.ListModelChangesResponse(changes=changes, next_page_token=token)

        return await self.fake.unary(request, context, "ListModelChanges", answer)

    async def ListAliases(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            aliases = [
                catalog_pb.Alias(name=f"alias-{number}", scope=request.scope, targets=["a/b"])
                for number in numbers
            ]
            return catalog_pb.ListAliasesResponse(aliases=aliases, next_page_token=token)

        return await self.fake.unary(request, context, "ListAliases", answer)

    async def SetAlias(self, request, context):
        def answer(_: Message) -> Message:
            return catalog_pb.SetAliasResponse(alias=request.alias)

        return await self.fake.unary(request, context, "SetAlias", answer)

    async def DeleteAlias(self, request, context):
        def answer(_: Message) -> Message:
            return catalog_pb.DeleteAliasResponse()

        return await self.fake.unary(request, context, "DeleteAlias", answer)

    async def SyncCatalog(self, request, context):
        async def answer(_: Message, __) -> None:
            fetching, read = catalog_pb.SYNC_STAGE_FETCHING, catalog_pb.SYNC_STAGE_READ
            await context.write(progress("models.dev", fetching, received_byte_count=10))
            await context.write(catalog_pb.SyncCatalogResponse())  # of a kind that comes later
            await context.write(progress("models.dev", read, offer_count=5))
            await context.write(sync_report(dry_run=request.dry_run))

        behaviour = self.fake.scripted("SyncCatalog", request, context) or answer
        try:
            await behaviour(request, context)
        except asyncio.CancelledError:
            self.fake.cancelled.set()
            raise


# --- policies and experiments -------------------------------------------------------------------
def policy(raw: admin_pb.RoutingPolicy | None = None, name: str = "") -> admin_pb.RoutingPolicy:
    """`raw` as the service tells it."""
    found = admin_pb.RoutingPolicy()
    found.CopyFrom(raw or admin_pb.RoutingPolicy(score=admin_pb.ScoreRule()))
    found.name = name or found.name
    found.etag, found.update_by, found.source = "e1", "0123456789ab", admin_pb.RULE_SOURCE_DATABASE
    found.active = found.active if found.HasField("active") else True
    found.create_time.FromSeconds(SECONDS)
    return found


def experiment(raw: admin_pb.Experiment | None = None, name: str = "") -> admin_pb.Experiment:
    """`raw` as the service tells it."""
    found = admin_pb.Experiment()
    found.CopyFrom(raw or admin_pb.Experiment())
    found.name = name or found.name
    found.etag, found.source = "e1", admin_pb.RULE_SOURCE_FILE
    return found


REPORT = admin_pb.ExperimentReport(
    experiment="global/experiments/x",
    control="control",
    arms=[
        admin_pb.ArmReport(
            arm="control",
            call_count=40,
            unit_count=20,
            cost_nanousd=4_000,
            saved_nanousd=-5,
            metrics=[
                admin_pb.ArmMetric(
                    metric="cost_nanousd_per_call",
                    estimate=admin_pb.IntervalEstimate(value=100, low=90),
                ),
                admin_pb.ArmMetric(metric="latency_p50_ms"),
            ],
        )
    ],
    differences=[
        admin_pb.ArmDifference(
            arm="mini",
            metric="cost_nanousd_per_call",
            absolute=admin_pb.IntervalEstimate(value=-50, low=-60, high=-40),
            shown=True,
            sentence="mini costs less.",
        )
    ],
    warnings=["Some units changed their arms."],
)


class PoliciesFake:
    async def CreateRoutingPolicy(self, request, context):
        def answer(_: Message) -> Message:
            name = f"{request.parent}/routingPolicies/{request.routing_policy_id}"
            made = policy(request.routing_policy, name)
            warnings = ["The catalog does not have a/b."]
            return admin_pb.CreateRoutingPolicyResponse(routing_policy=made, warnings=warnings)

        return await self.fake.unary(request, context, "CreateRoutingPolicy", answer)

    async def UpdateRoutingPolicy(self, request, context):
        def answer(_: Message) -> Message:
            changed = policy(request.routing_policy)
            changed.etag = "e2"
            return admin_pb.UpdateRoutingPolicyResponse(routing_policy=changed)

        return await self.fake.unary(request, context, "UpdateRoutingPolicy", answer)

    async def DeleteRoutingPolicy(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.DeleteRoutingPolicyResponse()

        return await self.fake.unary(request, context, "DeleteRoutingPolicy", answer)

    async def GetRoutingPolicy(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.GetRoutingPolicyResponse(routing_policy=policy(name=request.name))

        return await self.fake.unary(request, context, "GetRoutingPolicy", answer)

    async def ListRoutingPolicies(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            found = [policy(name=f"global/routingPolicies/p{number}") for number in numbers]
            return admin_pb.ListRoutingPoliciesResponse(
                routing_policies=found, next_page_token=token
            )

        return await self.fake.unary(request, context, "ListRoutingPolicies", answer)

    async def CreateExperiment(self, request, context):
        def answer(_: Message) -> Message:
            name = f"{request.parent}/experiments/{request.experiment_id}"
            made = experiment(request.experiment, name)
            return admin_pb.CreateExperimentResponse(experiment=made, warnings=["It is small."])

        return await self.fake.unary(request, context, "CreateExperiment", answer)

    async def UpdateExperiment(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.UpdateExperimentResponse(experiment=experiment(request.experiment))

        return await self.fake.unary(request, context, "UpdateExperiment", answer)

    async def DeleteExperiment(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.DeleteExperimentResponse()

        return await self.fake.unary(request, context, "DeleteExperiment", answer)

    async def GetExperiment(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.GetExperimentResponse(experiment=experiment(name=request.name))

        return await self.fake.unary(request, context, "GetExperiment", answer)

    async def ListExperiments(self, request, context):
        def answer(_: Message) -> Message:
            numbers, token = page_of(3, request)
            found = [experiment(name=f"global/experiments/x{number}") for number in numbers]
            return admin_pb.ListExperimentsResponse(experiments=found, next_page_token=token)

        return await self.fake.unary(request, context, "ListExperiments", answer)

    async def GetExperimentReport(self, request, context):
        def answer(_: Message) -> Message:
            return admin_pb.GetExperimentReportResponse(report=REPORT)

        return await self.fake.unary(request, context, "GetExperimentReport", answer)
