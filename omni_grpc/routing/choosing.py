"""Looks at a request, predicts for each offer how well it would do and for how much, and ranks.

The prediction is of models, the cost and the speed are of offers. What is wished decides what each
of the terms weighs.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.core.chat import ChatRequest, LatencyPreference, Preferences, Priority
from omni_grpc.core.money import usd_text
from omni_grpc.core.task import Analysis
from omni_grpc.routing.offer_table import Amounts, Mask, OfferTable
from omni_grpc.routing.plan import Considered, ScorePart
from omni_grpc.routing.policy import Hybrid, Ready

AUTO: Final = "omni/auto"

ROUTED: Final[Mapping[str, Preferences]] = {
    AUTO: Preferences(),
    "omni/balanced": Preferences(priority=Priority.BALANCED),
    "omni/cheap": Preferences(priority=Priority.CHEAP),
    "omni/best": Preferences(priority=Priority.BEST),
    "omni/fast": Preferences(latency=LatencyPreference.FAST),
}
"""The names that leave the choice to the router, and what each wishes."""

BALANCED: Final = Hybrid(cost=0.4, latency=0.1, task=0.2, quality=0.3)
CHEAP: Final = Hybrid(cost=0.8, latency=0.05, task=0.05, quality=0.1)
BEST: Final = Hybrid(cost=0.02, latency=0.01, task=0.17, quality=0.8)
FAST: Final = Hybrid(cost=0.15, latency=0.6, task=0.1, quality=0.15)

_WEIGHTS: Final = {Priority.BALANCED: BALANCED, Priority.CHEAP: CHEAP, Priority.BEST: BEST}


class Look(msgspec.Struct, frozen=True):
    """What was found about a request: once, however many offers are scored by it."""

    analysis: Analysis
    text: str
    vector: object


class Judge(Protocol):
    """Who finds what a request is about, and predicts how well models do it."""

    def look(self, request: ChatRequest) -> Look:
        """Looks at a request."""
        ...

    def qualities(self, look: Look, table: OfferTable) -> Amounts:
        """How likely each row's model does the request well, 0 to 1."""
        ...

    def output_tokens(self, look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with."""
        ...


class Wish(msgspec.Struct, frozen=True):
    """What a request wants of the choice. `weights` are those of the score's terms."""

    weights: Hybrid

    @classmethod
    def of(cls, request: ChatRequest, policy: Ready | None) -> "Wish":
        """A policy's weights; else those of the request's own preferences, else its name's."""
        if policy is not None and policy.weights is not None:
            return cls(policy.weights)
        named = ROUTED.get(request.model, Preferences())
        wished = request.preferences
        if (wished.latency or named.latency) is LatencyPreference.FAST:
            return cls(FAST)
        return cls(_WEIGHTS[wished.priority or named.priority or Priority.BALANCED])


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

    def look(self, request: ChatRequest) -> Look:
        """What a request is about."""
        return self._judge.look(request)

    def output_tokens(self, look: Look, table: OfferTable, request: ChatRequest) -> Amounts:
        """How many tokens each row will probably answer with, within the request's limit."""
        tokens = self._judge.output_tokens(look, table)
        if request.output_tokens_max is not None:
            return np.minimum(tokens, request.output_tokens_max)
        return tokens

    def rank(
        self,
        look: Look,
        table: OfferTable,
        rows: NDArray[np.intp],
        *,
        costs: Amounts,
        latencies: Mapping[int, float],
        wish: Wish,
        whole: bool,
    ) -> list[Ranked]:
        """The offers of some rows, the best first.

        Args:
            look: what the request is about.
            table: the offers.
            rows: those that can do the request.
            costs: what each row of the table would cost, in nano-USD.
            latencies: milliseconds by row, where a speed was measured.
            wish: what the terms weigh.
            whole: also the offers of a model that others sell for less and as fast.
        """
        if not whole:
            rows = _undominated(table, rows, costs, latencies)
        quality = np.minimum(1.0, self._judge.qualities(look, table)[rows])
        task = table.ratings(look.analysis.task)[rows]
        cost = _cheapness(costs[rows])
        latency = _quickness([latencies.get(int(row)) for row in rows])
        weights = wish.weights
        total = weights.cost + weights.latency + weights.task + weights.quality
        terms = (
            ("cost", cost, weights.cost / total),
            ("latency", latency, weights.latency / total),
            ("task", task, weights.task / total),
            ("quality", quality, weights.quality / total),
        )
        scores: Amounts = np.sum([values * weight for _, values, weight in terms], axis=0)
        ranked = []
        for place in np.lexsort((costs[rows], -scores)):
            row = int(rows[place])
            offer = table.offers[row]
            ranked.append(
                Ranked(
                    row=row,
                    offer_id=offer.id,
                    model=offer.model,
                    provider=offer.provider,
                    regions=offer.regions,
                    cost_nanousd=max(0, round(float(costs[row]))),
                    quality=float(quality[place]),
                    latency_ms=latencies.get(row),
                    score=float(scores[place]),
                    parts=tuple(
                        ScorePart(name, float(values[place]), weight)
                        for name, values, weight in terms
                    ),
                )
            )
        return ranked

    def best_single(self, look: Look, table: OfferTable, mask: Mask) -> int | None:
        """The row that one would choose for the task without looking at the prompt.

        It is the best rated for the task, and of its sellers the cheapest.
        """
        rows = np.flatnonzero(mask)
        if not len(rows):
            return None
        ratings = table.ratings(look.analysis.task)[rows]
        prices = table.costs(1_000, 1_000)[rows]
        return int(rows[np.lexsort((prices, -ratings))[0]])


def reason_of(ordered: Sequence[Ranked], policy: str | None) -> str:
    """Why the first, with the runner-up and the deciding term, each with its number."""
    first = ordered[0]
    by = f"the policy {policy} puts it first: " if policy else ""
    if len(ordered) == 1:
        return f"{by}{first.offer_id} is the only offer that can do it (score {first.score:.3f})"
    second = next((one for one in ordered[1:] if one.model != first.model), ordered[1])
    gains = {
        mine.name: mine.weight * (mine.value - other.value)
        for mine, other in zip(first.parts, second.parts, strict=True)
    }
    term = max(gains, key=lambda name: gains[name])
    mine = next(part for part in first.parts if part.name == term)
    other = next(part for part in second.parts if part.name == term)
    return (
        f"{by}{first.offer_id} (score {first.score:.3f}) before {second.offer_id} "
        f"({second.score:.3f}); {term} decides: {mine.value:.3f} against {other.value:.3f} at "
        f"weight {mine.weight:.2f}; predicted cost {usd_text(first.cost_nanousd)} against "
        f"{usd_text(second.cost_nanousd)} USD"
    )


def _undominated(
    table: OfferTable,
    rows: NDArray[np.intp],
    costs: Amounts,
    latencies: Mapping[int, float],
) -> NDArray[np.intp]:
    """Of each model's sellers the cheapest, and the fastest where a speed is known."""
    kept: list[int] = []
    cheapest: set[int] = set()
    for row in rows[np.argsort(costs[rows], kind="stable")].tolist():
        model = int(table.model_of[row])
        if model not in cheapest:
            cheapest.add(model)
            kept.append(row)
        elif row in latencies:
            kept.append(row)
    return np.array(kept, dtype=np.intp)


def _cheapness(costs: Amounts) -> Amounts:
    """1 for the cheapest, 0 for the dearest, even steps of proportion between."""
    logs = np.log(np.maximum(costs, 1.0))
    low, high = float(logs.min()), float(logs.max())
    if high <= low:
        return np.ones_like(logs)
    return np.asarray((high - logs) / (high - low))


def _quickness(latencies: Sequence[float | None]) -> Amounts:
    """1 for the fastest, 0 for the slowest, as costs; what was never measured is in the middle."""
    known = [value for value in latencies if value is not None]
    if not known:
        return np.full(len(latencies), 0.5)
    middle = float(np.median(known))
    filled = np.array([middle if value is None else value for value in latencies])
    return _cheapness(filled)
