"""Writes estimates and explanations of routes as messages."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.completion import Estimate
from omni_grpc.core.money import credits_text
from omni_grpc.core.task import Analysis
from omni_grpc.routing import Considered, Explanation, OpenBreaker

_PPM = 1_000_000


def estimate(found: Estimate, *, credits_per_usd: int) -> pb.ChatEstimate:
    """What a chat would cost."""
    cost = found.cost
    return pb.ChatEstimate(
        analysis=None if cost.analysis is None else analysis(cost.analysis),
        model=cost.model,
        reason=cost.reason,
        prompt_token_count=cost.prompt_tokens,
        completion_token_count=cost.output_tokens,
        max_output_token_count=cost.output_tokens_max,
        cost_nanousd=cost.cost_nanousd,
        cost_max_nanousd=cost.cost_max_nanousd,
        cost_credits=credits_text(cost.cost_nanousd, credits_per_usd),
        credits_suffice=found.suffices,
        available_nanousd=found.available_nanousd,
        premium_cost_nanousd=cost.premium_nanousd,
    )


def explanation(
    found: Explanation, first: int, count: int, next_page_token: str
) -> pb.ExplainRouteResponse:
    """How a chat would be routed, with a page of the offers that were considered."""
    plan = found.plan
    return pb.ExplainRouteResponse(
        analysis=None if plan.analysis is None else analysis(plan.analysis),
        attempts=[
            pb.PlannedAttempt(model=one.offer.id, reason=one.reason) for one in plan.attempts
        ],
        reason=found.reason,
        policy=plan.policy,
        experiment=plan.experiment,
        arm=plan.arm,
        offers=[considered(one) for one in found.considered[first : first + count]],
        next_page_token=next_page_token,
        offer_count=len(found.considered),
        warnings=plan.warnings,
    )


def analysis(found: Analysis) -> pb.TaskAnalysis:
    """What a request is about."""
    return pb.TaskAnalysis(
        task=found.task,
        task_probability_ppm=round(found.task_probability * _PPM),
        complexity=found.complexity,
        complexity_ppm=round(found.complexity_score * _PPM),
        needs_reasoning=found.needs_reasoning,
        needs_code=found.needs_code,
        needs_creativity=found.needs_creativity,
        source=found.source,
    )


def considered(found: Considered) -> pb.ConsideredOffer:
    """One offer that was looked at."""
    return pb.ConsideredOffer(
        model=found.offer,
        excluded_reason=found.excluded,
        score=found.score,
        parts=[
            pb.ScorePart(name=part.name, value=part.value, weight=part.weight)
            for part in found.parts
        ],
        quality=found.quality,
        cost_nanousd=found.cost_nanousd,
        latency_ms=found.latency_ms,
        breaker=None if found.breaker is None else _breaker(found.breaker),
    )


def _breaker(found: OpenBreaker) -> pb.OpenBreaker:
    retry = found.retry_time
    return pb.OpenBreaker(
        cause=found.cause,
        open_time=_moment(found.open_time),
        retry_time=None if retry is None else _moment(retry),
    )


def _moment(time: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(time)
    return found
