"""What a chat would be routed to and cost, and why. No provider is called, and nothing held."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, count_of, time_of
from omni_grpc_client.encoding import chat_prompt
from omni_grpc_client.prompt import ChatOptions, Messages


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAnalysis:
    """What a request is about, and how hard it is.

    Attributes:
        task: `chat`, `coding`, `reasoning`, `summarization`, `translation`, `image` or
            `agent_step`; more may come.
        task_probability_ppm: how likely, in millionths.
        complexity: `simple`, `medium` or `hard`.
        complexity_ppm: from 0, any model does it, to 1000000, the best may fail.
        needs_reasoning: whether several steps lead to the answer.
        needs_code: whether code is read or written.
        needs_creativity: whether there is no one right answer.
        source: who found it: `local`, `caller`, or `model:{offer}`.
    """

    task: str
    task_probability_ppm: int
    complexity: str
    complexity_ppm: int
    needs_reasoning: bool
    needs_code: bool
    needs_creativity: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEstimate:
    """What a chat would cost.

    Attributes:
        analysis: what was found about it; None where a model was named.
        model: the offer that would be asked first, `provider/model`.
        reason: why.
        prompt_tokens: tokens of the prompt, by the service's own count.
        completion_tokens: tokens that the answer will probably have.
        max_output_tokens: the output limit that would be held for.
        cost_nanousd: what it would probably cost.
        cost_max_nanousd: what would be held: its worst case.
        cost_credits: `cost_nanousd` in credits, a decimal text.
        credits_suffice: whether the available credits cover the worst case; None while the ledger
            does not answer.
        available_nanousd: what can be spent; None while the ledger does not answer.
        premium_cost_nanousd: what the same would cost with the premium model; None without one.
    """

    analysis: TaskAnalysis | None
    model: str
    reason: str
    prompt_tokens: int
    completion_tokens: int
    max_output_tokens: int
    cost_nanousd: int
    cost_max_nanousd: int
    cost_credits: str
    credits_suffice: bool | None
    available_nanousd: int | None
    premium_cost_nanousd: int | None
    raw: pb.ChatEstimate = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """An offer that would be tried, and why it stands there."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScorePart:
    """A term of a score, `weight` times `value`: `cost`, `latency`, `task` or `quality`."""

    name: str
    value: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaker:
    """A breaker that keeps calls from an offer, after failures.

    Attributes:
        cause: what the last failure was.
        open_time: since when, with all trials that failed in between.
        retry_time: when a call may try it; None while one does.
    """

    cause: str
    open_time: datetime
    retry_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsideredOffer:
    """An offer that was considered. What was left out has its reason and no score.

    Attributes:
        model: the offer, `provider/model`.
        excluded_reason: why it was left out; empty if it was not.
        score: the higher the better.
        parts: what the score is made of.
        quality: how likely it does the request well, 0 to 1.
        cost_nanousd: what it would probably cost.
        latency_ms: how long it would probably take; None also where nothing was measured.
        breaker: its breaker where that is open, also of an offer that is tried all the same.
    """

    model: str
    excluded_reason: str
    score: float | None
    parts: tuple[ScorePart, ...]
    quality: float | None
    cost_nanousd: int | None
    latency_ms: int | None
    breaker: OpenBreaker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteExplanation:
    """How a chat would be routed.

    Attributes:
        analysis: what was found about it; None where nothing had to be found.
        attempts: the offers that would be tried, first to last.
        reason: why the first of them, with the runner-up and the deciding term.
        policy: the policy that decided; empty for none.
        experiment: the experiment that the call would be part of; empty for none.
        arm: its arm there.
        offers: the offers considered, the best first, then those left out by name; a page of them.
        offer_count: how many were considered in all.
        next_page_token: another explanation goes on from there; empty if `offers` has the last.
        warnings: what you should know, such as a deprecated model that was replaced.
    """

    analysis: TaskAnalysis | None
    attempts: tuple[PlannedAttempt, ...]
    reason: str
    policy: str
    experiment: str
    arm: str
    offers: tuple[ConsideredOffer, ...]
    offer_count: int
    next_page_token: str
    warnings: tuple[str, ...]
    raw: pb.ExplainRouteResponse = field(repr=False, compare=False)


def estimate_chat(
    model: str, messages: Messages, options: ChatOptions
) -> Call[pb.EstimateChatRequest, pb.EstimateChatResponse, ChatEstimate]:
    """EstimateChat."""
    return Call(
        request=pb.EstimateChatRequest(prompt=chat_prompt(model, messages, options)),
        parse=lambda response: _estimate(response.estimate),
        kind=Kind.READ,
    )


def explain_route(
    model: str, messages: Messages, options: ChatOptions, page_size: int | None, page_token: str
) -> Call[pb.ExplainRouteRequest, pb.ExplainRouteResponse, RouteExplanation]:
    """ExplainRoute, with one page of the offers."""
    return Call(
        request=pb.ExplainRouteRequest(
            prompt=chat_prompt(model, messages, options),
            page_size=page_size,
            page_token=page_token,
        ),
        parse=_explanation,
        kind=Kind.READ,
    )


def _estimate(raw: pb.ChatEstimate) -> ChatEstimate:
    return ChatEstimate(
        analysis=_analysis(raw.analysis) if raw.HasField("analysis") else None,
        model=raw.model,
        reason=raw.reason,
        prompt_tokens=raw.prompt_token_count,
        completion_tokens=raw.completion_token_count,
        max_output_tokens=raw.max_output_token_count,
        cost_nanousd=raw.cost_nanousd,
        cost_max_nanousd=raw.cost_max_nanousd,
        cost_credits=raw.cost_credits,
        credits_suffice=raw.credits_suffice if raw.HasField("credits_suffice") else None,
        available_nanousd=count_of(raw, "available_nanousd"),
        premium_cost_nanousd=count_of(raw, "premium_cost_nanousd"),
        raw=raw,
    )


def _explanation(raw: pb.ExplainRouteResponse) -> RouteExplanation:
    return RouteExplanation(
        analysis=_analysis(raw.analysis) if raw.HasField("analysis") else None,
        attempts=tuple(PlannedAttempt(one.model, one.reason) for one in raw.attempts),
        reason=raw.reason,
        policy=raw.policy,
        experiment=raw.experiment,
        arm=raw.arm,
        offers=tuple(map(_offer, raw.offers)),
        offer_count=raw.offer_count,
        next_page_token=raw.next_page_token,
        warnings=tuple(raw.warnings),
        raw=raw,
    )


def _analysis(raw: pb.TaskAnalysis) -> TaskAnalysis:
    return TaskAnalysis(
        task=raw.task,
        task_probability_ppm=raw.task_probability_ppm,
        complexity=raw.complexity,
        complexity_ppm=raw.complexity_ppm,
        needs_reasoning=raw.needs_reasoning,
        needs_code=raw.needs_code,
        needs_creativity=raw.needs_creativity,
        source=raw.source,
    )


def _offer(raw: pb.ConsideredOffer) -> ConsideredOffer:
    return ConsideredOffer(
        model=raw.model,
        excluded_reason=raw.excluded_reason,
        score=raw.score if raw.HasField("score") else None,
        parts=tuple(ScorePart(one.name, one.value, one.weight) for one in raw.parts),
        quality=raw.quality if raw.HasField("quality") else None,
        cost_nanousd=count_of(raw, "cost_nanousd"),
        latency_ms=count_of(raw, "latency_ms"),
        breaker=_breaker(raw.breaker) if raw.HasField("breaker") else None,
    )


def _breaker(raw: pb.OpenBreaker) -> OpenBreaker:
    return OpenBreaker(
        cause=raw.cause,
        open_time=raw.open_time.ToDatetime(UTC),
        retry_time=time_of(raw, "retry_time"),
    )
