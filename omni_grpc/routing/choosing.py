"""Looks at a request, predicts for each offer how well it would do and for how much, and ranks.

The prediction is of models, the cost and the speed are of offers. What is wished decides what each
of the terms weighs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.catalog import Offer
from omni_grpc.core.chat import (
    NO_PREFERENCES,
    ChatRequest,
    LatencyPreference,
    Preferences,
    Priority,
)
from omni_grpc.core.money import usd_text
from omni_grpc.core.task import Analysis
from omni_grpc.routing.judging import Judge, Look, Predicted
from omni_grpc.routing.lengths import Lengths, length, lengths
from omni_grpc.routing.offer_table import Amounts, Mask, OfferTable
from omni_grpc.routing.plan import Considered, ScorePart
from omni_grpc.routing.policy import Hybrid, Ready
from omni_grpc.routing.scoring import (
    Parts,
    Weights,
    balanced,
    best,
    cheap,
    fast,
    ranking,
    reference_cost,
    score_parts,
)
from omni_grpc.routing.speeds import SpeedMeter

AUTO: Final = "omni/auto"

ROUTED: Final[Mapping[str, Preferences]] = {
    AUTO: Preferences(),
    "omni/balanced": Preferences(priority=Priority.BALANCED),
    "omni/cheap": Preferences(priority=Priority.CHEAP),
    "omni/best": Preferences(priority=Priority.BEST),
    "omni/fast": Preferences(latency=LatencyPreference.FAST),
}
"""The names that leave the choice to the router, and what each wishes."""


SHORTLIST: Final = 8
"""Offers that are looked at for a plan's first and second choice; explanations have them all."""


UNKNOWN_QUALITY: Final = 0.5
"""Of every model alike where nothing is known of any."""


class Wish(msgspec.Struct, frozen=True):
    """What a request wants of the choice.

    `weights` are a policy's own; without them `priority` and `latency` decide what the terms weigh.
    """

    priority: Priority = Priority.BALANCED
    latency: LatencyPreference = LatencyPreference.NORMAL
    weights: Hybrid | None = None

    @classmethod
    def of(cls, request: ChatRequest, policy: Ready | None) -> "Wish":
        """A policy's weights; else the request's own preferences, else those of its name."""
        named = ROUTED.get(request.model, NO_PREFERENCES)
        wished = request.preferences
        return cls(
            wished.priority or named.priority or Priority.BALANCED,
            wished.latency or named.latency or LatencyPreference.NORMAL,
            None if policy is None else policy.weights,
        )

    @property
    def is_careful(self) -> bool:
        """Whether a prompt unlike anything known goes to the premium model."""
        return (
            self.weights is None
            and self.priority is Priority.BALANCED
            and self.latency is LatencyPreference.NORMAL
        )

    def terms(self, cost_weight: float) -> Weights:
        """What the terms of the score weigh; `cost_weight` is the trained one."""
        if self.weights is not None:
            given = self.weights
            total = given.cost + given.latency + given.task + given.quality
            return Weights(
                cost=given.cost / total,
                latency=given.latency / total,
                task=given.task / total,
                quality=given.quality / total,
                quality_floor=None,
            )
        if self.latency is LatencyPreference.FAST:
            return fast(cost_weight)
        if self.priority is Priority.BEST:
            return best()
        return cheap(cost_weight) if self.priority is Priority.CHEAP else balanced(cost_weight)


PLAIN_WISH: Final = Wish(priority=Priority.CHEAP)
"""For a plain prompt unlike anything known: what a rating tells of hard tests counts for less on
it, so that cost and the floor are those of `omni/cheap`."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """One offer with its score; the row is its place in the table."""

    row: int
    offer_id: str
    model: str
    provider: str
    regions: frozenset[str]
    cost_nanousd: int
    quality: float
    latency_ms: float | None
    score: float
    parts: tuple[ScorePart, ...]
    is_escalated: bool = False
    """It stands first because the prompt is unlike anything known."""
    is_poor: bool = False
    """It is predicted to be too much worse than the premium model."""
    is_plain: bool = False
    """The prompt is unlike anything known, but plain: ratings by task decided."""
    is_blind: bool = False
    """Nothing is known of how good any model is: all count as equally good."""

    def considered(self) -> Considered:
        """As explanations show it."""
        return Considered(
            offer=self.offer_id,
            score=self.score,
            parts=self.parts,
            quality=self.quality,
            cost_nanousd=self.cost_nanousd,
            latency_ms=None if self.latency_ms is None else round(self.latency_ms),
        )


class Chooser:
    """Scores offers. One instance serves all calls of a worker."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def is_blind(self, table: OfferTable) -> bool:
        """Whether nothing is known of how good any of the models is."""
        return self._judge.is_blind(table)

    def look(self, request: ChatRequest, said: Analysis | None = None) -> Look:
        """What a request is about; `said` is what somebody else found."""
        return self._judge.look(request, said)

    def lengths(
        self,
        look: Look,
        table: OfferTable,
        request: ChatRequest,
        speeds: Mapping[str, SpeedMeter],
    ) -> Lengths:
        """How long each row's output will probably be; `speeds` are what calls measured."""
        return lengths(table, request, self._judge.answer_tokens(look, table), speeds)

    def length(
        self, look: Look, offer: Offer, request: ChatRequest, speeds: Mapping[str, SpeedMeter]
    ) -> float:
        """The same of one offer."""
        answer = self._judge.answer_tokens_of(look, offer.model)
        return length(offer, request, answer, speeds.get(offer.id))

    def rank(
        self,
        look: Look,
        table: OfferTable,
        rows: NDArray[np.intp],
        *,
        costs: Amounts,
        growth: Amounts,
        latencies: Mapping[int, float],
        wish: Wish,
        premium: Offer | None,
        whole: bool,
    ) -> list[Ranked]:
        """The offers of some rows, the best first.

        Args:
            look: what the request is about.
            table: the offers.
            rows: those that can do the request.
            costs: what each row of the table would cost, in nano-USD.
            growth: by row, how many times longer than its answer its output is.
            latencies: milliseconds by row, where a speed was measured.
            wish: what the terms weigh.
            premium: the operator's premium model; None if there is none. Where nothing is known of
                any model either, all count as equally good, so that the cheapest is the first.
            whole: also the offers of a model that others sell for less and as fast.
        """
        if not whole:
            rows = table.undominated(rows, costs, latencies)
        model = "" if premium is None else premium.model
        place = table.cheapest_of(model, rows, costs)
        escalates = place is not None and wish.is_careful and self._judge.escalates(look, model)
        is_plain = False
        if escalates and place is not None and look.is_plain:
            premium_model = table.model_of[rows[place]]
            is_plain = bool(table.measured(look.analysis.task)[premium_model])
        is_blind = premium is None and self._judge.is_blind(table)
        if is_plain:
            wish, escalates = PLAIN_WISH, False
            predicted = self._judge.predicted_by_ratings(look, table)
        elif is_blind:
            predicted = Predicted(np.full(len(table), UNKNOWN_QUALITY), np.zeros(len(table)))
        else:
            predicted = self._judge.predicted(look, table, model)
        weights = wish.terms(self._judge.quality.cost_weight(model))
        row_costs = costs[rows]
        parts = score_parts(
            weights,
            cost_nanousd=row_costs,
            reference_nanousd=reference_cost(
                row_costs.max() if place is None else row_costs[place],
                0.0
                if place is None or is_plain  # short prompts cost little beside a typical one
                else self._typical_nanousd(table, int(rows[place]), model, growth),
            ),
            quality=predicted.quality[rows],
            doubt=predicted.doubt[rows],
            latency_ms=_latencies_of(rows, latencies) if latencies else None,
            quality_weight=table.quality_weights[rows],
            task_match=None
            if wish.weights is None or is_blind
            else table.ratings(look.analysis.task)[rows],
            premium=place,
        )
        order = ranking(parts, escalate_to=place if escalates else None)
        shown = order if whole else _shortlist(order, row_costs)
        return _ranked(
            table,
            rows,
            shown,
            parts,
            weights,
            costs=row_costs,
            quality=predicted.quality[rows],
            latencies=latencies,
            escalated=place if escalates else None,
            is_plain=is_plain,
            is_blind=is_blind,
        )

    def _typical_nanousd(self, table: OfferTable, row: int, model: str, growth: Amounts) -> float:
        """What a typical prompt costs at the premium model's offer."""
        prompt, answer = self._judge.quality.typical_tokens(model)
        return table.cost_of(row, round(prompt), round(answer * float(growth[row])))

    def best_single(self, look: Look, table: OfferTable, mask: Mask) -> int | None:
        """The row that one would choose for the task without looking at the prompt.

        It is the best rated for the task, and of its sellers the cheapest.
        """
        order = table.by_rating(look.analysis.task)
        allowed = mask[order]
        first = int(allowed.argmax()) if len(order) else 0
        return int(order[first]) if len(order) and allowed[first] else None


def reason_of(ordered: Sequence[Ranked], policy: str | None) -> str:
    """Why the first, with the runner-up and the deciding term, each with its number."""
    first = ordered[0]
    by = f"the policy {policy} puts it first: " if policy else ""
    if len(ordered) == 1:
        return f"{by}{first.offer_id} is the only offer that can do it (score {first.score:.3f})"
    if first.is_escalated and not policy:
        return (
            f"{first.offer_id}, the premium model: the prompt is unlike anything that predictions "
            f"rest on, and not plain, so nothing cheaper is sure to do it (next "
            f"{ordered[1].offer_id}, score {ordered[1].score:.3f}, against {first.score:.3f})"
        )
    second = next((one for one in ordered[1:] if one.model != first.model), ordered[1])
    gains = {
        mine.name: mine.weight * (mine.value - other.value)
        for mine, other in zip(first.parts, second.parts, strict=True)
    }
    term = max(gains, key=lambda name: gains[name])
    mine = next(part for part in first.parts if part.name == term)
    other = next(part for part in second.parts if part.name == term)
    if first.is_plain and not policy:
        by = "the prompt is unlike anything that predictions rest on, but plain: ratings decide: "
    if first.is_blind and not policy:
        by = "nobody said how good any of the models is, so all count as equally good: "
    return (
        f"{by}{first.offer_id} (score {first.score:.3f}) before {second.offer_id} "
        f"({second.score:.3f}); {term} decides: {mine.value:.3f} against {other.value:.3f} at "
        f"weight {mine.weight:.2f}; predicted cost {usd_text(first.cost_nanousd)} against "
        f"{usd_text(second.cost_nanousd)} USD"
    )


def _ranked(
    table: OfferTable,
    rows: NDArray[np.intp],
    shown: NDArray[np.intp],
    parts: Parts,
    weights: Weights,
    *,
    costs: Amounts,
    quality: Amounts,
    latencies: Mapping[int, float],
    escalated: int | None,
    is_plain: bool,
    is_blind: bool,
) -> list[Ranked]:
    """Some places of the ranking, put into words; columns are read whole, since that is quicker."""
    named = (
        ("cost", parts.cost, weights.cost),
        ("latency", parts.latency, weights.latency),
        ("task", parts.task, weights.task),
        ("quality", parts.quality, weights.quality),
    )
    columns = []
    for name, values, weight in named:
        shares = (values[shown] / weight).tolist() if weight else [0.0] * len(shown)
        columns.append([ScorePart(name, share, weight) for share in shares])
    ranked = []
    for at, row, cost, good, score, is_poor, of_one in zip(
        shown.tolist(),
        rows[shown].tolist(),
        costs[shown].tolist(),
        quality[shown].tolist(),
        parts.total[shown].tolist(),
        parts.too_poor[shown].tolist(),
        zip(*columns, strict=True),
        strict=True,
    ):
        offer = table.offers[row]
        ranked.append(
            Ranked(
                row=row,
                offer_id=offer.id,
                model=offer.model,
                provider=offer.provider,
                regions=offer.regions,
                cost_nanousd=max(0, round(cost)),
                quality=good,
                latency_ms=latencies.get(row),
                score=score,
                parts=of_one,
                is_escalated=at == escalated,
                is_poor=is_poor,
                is_plain=is_plain,
                is_blind=is_blind,
            )
        )
    return ranked


def _latencies_of(rows: NDArray[np.intp], latencies: Mapping[int, float]) -> Amounts | None:
    """Milliseconds of each row, NaN where nobody measured; None where that is everywhere."""
    known = [latencies.get(row) for row in rows.tolist()]
    if all(one is None for one in known):
        return None
    return np.array([np.nan if one is None else one for one in known], dtype=np.float64)


def _shortlist(order: NDArray[np.intp], costs: Amounts) -> NDArray[np.intp]:
    """The places that a plan can need: the best, and of the others the cheapest, last."""
    rest = order[SHORTLIST:]
    if not len(rest):
        return order
    return np.append(order[:SHORTLIST], rest[costs[rest].argmin()])
