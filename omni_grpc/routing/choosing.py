"""Looks at a request, predicts for each offer how well it would do and for how much, and ranks.

The prediction is of models, the cost and the speed are of offers. What is wished decides what each
of the terms weighs.
"""

from collections.abc import Mapping
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
from omni_grpc.core.task import Analysis
from omni_grpc.routing.judging import Judge, Look, Predicted
from omni_grpc.routing.lengths import Lengths, length, lengths
from omni_grpc.routing.offer_table import Amounts, Mask, OfferTable
from omni_grpc.routing.policy import Hybrid, Ready
from omni_grpc.routing.ranked import Ranked, ranked
from omni_grpc.routing.scoring import (
    Weights,
    balanced,
    best,
    cheap,
    fast,
    ranking,
    reference_cost,
    score_parts,
    shortlist,
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
            is_plain = bool(table.measured(look.analysis.task)[rows[place]])
        is_blind = premium is None and self._judge.is_blind(table)
        if is_plain:
            wish, escalates = PLAIN_WISH, False
            predicted = self._judge.predicted_by_ratings(look, table)
        elif is_blind:
            predicted = Predicted(np.full(len(table), UNKNOWN_QUALITY), np.zeros(len(table)))
        else:
            predicted = self._judge.predicted(look, table, model)
        weights = wish.terms(self._judge.quality.cost_weight(model))
        left = slice(None) if len(rows) == len(table) else rows  # of all of them, nothing is copied
        row_costs, quality = costs[left], predicted.quality[left]
        parts = score_parts(
            weights,
            cost_nanousd=row_costs,
            reference_nanousd=reference_cost(
                row_costs.max() if place is None else row_costs[place],
                0.0
                if place is None or is_plain  # short prompts cost little beside a typical one
                else self._typical_nanousd(table, int(rows[place]), model, growth),
            ),
            quality=quality,
            doubt=predicted.doubt[left],
            latency_ms=_latencies_of(rows, latencies) if latencies else None,
            quality_weight=None if table.quality_weights is None else table.quality_weights[rows],
            task_match=None
            if wish.weights is None or is_blind
            else table.ratings(look.analysis.task)[rows],
            premium=place,
        )
        escalate_to = place if escalates else None
        shown = (
            ranking(parts, escalate_to=escalate_to)
            if whole
            else shortlist(parts, row_costs, SHORTLIST, escalate_to=escalate_to)
        )
        return ranked(
            table,
            rows,
            shown,
            parts,
            weights,
            costs=row_costs,
            quality=quality,
            latencies=latencies,
            escalated=escalate_to,
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


def _latencies_of(rows: NDArray[np.intp], latencies: Mapping[int, float]) -> Amounts | None:
    """Milliseconds of each row, NaN where nobody measured; None where that is everywhere."""
    known = [latencies.get(row) for row in rows.tolist()]
    if all(one is None for one in known):
        return None
    return np.array([np.nan if one is None else one for one in known], dtype=np.float64)
