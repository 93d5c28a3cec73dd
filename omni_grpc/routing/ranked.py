"""Offers in their order with what each was judged by, and why the first stands before the next.

A plan needs a few of them and an explanation all, so that what only people read is made when asked.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.catalog import Offer
from omni_grpc.core.money import usd_text
from omni_grpc.routing.offer_table import Amounts, OfferTable
from omni_grpc.routing.plan import Considered, ScorePart
from omni_grpc.routing.scoring import Parts, Weights


class Ranked(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One offer with its score; the row is its place in the table.

    `scored` are the terms of all that were scored with it, among which it stands at `place`.
    """

    row: int
    offer: Offer
    cost_nanousd: int
    quality: float
    latency_ms: float | None
    score: float
    scored: Parts
    place: int
    weights: Weights
    is_escalated: bool = False
    """It stands first because the prompt is unlike anything known."""
    is_poor: bool = False
    """It is predicted to be too much worse than the premium model."""
    is_plain: bool = False
    """The prompt is unlike anything known, but plain: ratings by task decided."""
    is_blind: bool = False
    """Nothing is known of how good any model is: all count as equally good."""

    @property
    def offer_id(self) -> str:
        """The offer's id."""
        return self.offer.id

    @property
    def model(self) -> str:
        """The offer's model."""
        return self.offer.model

    @property
    def provider(self) -> str:
        """Who sells it."""
        return self.offer.provider

    @property
    def regions(self) -> frozenset[str]:
        """Where it is known to keep data."""
        return self.offer.regions

    @property
    def parts(self) -> tuple[ScorePart, ...]:
        """The terms of the score, each with its name; made for who wants to know why."""
        return tuple(
            ScorePart(name, value if weight else 0.0, weight)
            for (name, weight), value in zip(
                self.weights.named(), self.scored.at(self.place), strict=True
            )
        )

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
    mine, other = max(
        zip(first.parts, second.parts, strict=True),
        key=lambda pair: pair[0].weight * (pair[0].value - pair[1].value),
    )
    if first.is_plain and not policy:
        by = "the prompt is unlike anything that predictions rest on, but plain: ratings decide: "
    if first.is_blind and not policy:
        by = "nobody said how good any of the models is, so all count as equally good: "
    return (
        f"{by}{first.offer_id} (score {first.score:.3f}) before {second.offer_id} "
        f"({second.score:.3f}); {mine.name} decides: {mine.value:.3f} against {other.value:.3f} at "
        f"weight {mine.weight:.2f}; predicted cost {usd_text(first.cost_nanousd)} against "
        f"{usd_text(second.cost_nanousd)} USD"
    )


def ranked(
    table: OfferTable,
    rows: NDArray[np.intp],
    shown: Sequence[int],
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
    found = []
    places = np.array(shown)
    for at, row, cost, good, score, is_poor in zip(
        shown,
        rows[places].tolist(),
        costs[places].tolist(),
        quality[places].tolist(),
        parts.total[places].tolist(),
        parts.too_poor[places].tolist(),
        strict=True,
    ):
        found.append(
            Ranked(
                row=row,
                offer=table.offers[row],
                cost_nanousd=max(0, round(cost)),
                quality=good,
                latency_ms=latencies.get(row),
                score=score,
                scored=parts,
                place=at,
                weights=weights,
                is_escalated=at == escalated,
                is_poor=is_poor,
                is_plain=is_plain,
                is_blind=is_blind,
            )
        )
    return found
