"""The offers that may be chosen for somebody who did not name one, as columns.

Made once for each version of the catalog, so that a request looks at hundreds of offers with a few
array operations. The columns say nothing that the offers do not; explanations read the offers.
"""

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer, Rating
from omni_grpc.catalog.model import NEUTRAL_QUALITY_PPM
from omni_grpc.catalog.ratings import ESTIMATE, RATING_MAX
from omni_grpc.core.limits import OUTPUT_TOKENS_DEFAULT
from omni_grpc.core.money import UNITS_PER_PRICE, Price, Unit
from omni_grpc.core.task import Task
from omni_grpc.routing.learned.ratings import odds_of_rating
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.reasoning import unasked_growth

Mask = NDArray[np.bool_]
Amounts = NDArray[np.float64]

UNLIMITED: Final = 2**62
"""Stands for a limit that the catalog does not know: it is not held against an offer."""


class Ability(IntEnum):
    """What an offer can do beyond text, a bit for each; a request's needs are the same bits."""

    IMAGE = 1
    AUDIO = 2
    """Audio input, and a price for it."""
    VIDEO = 4
    PDF = 8
    TOOLS = 16
    STRUCTURED_OUTPUT = 32
    REASONING = 64
    KEEPS_AN_HOUR = 128
    """It has a price for keeping a prompt in the cache for an hour."""


_MODALITIES: Final = {
    Modality.IMAGE: Ability.IMAGE,
    Modality.AUDIO: Ability.AUDIO,
    Modality.VIDEO: Ability.VIDEO,
    Modality.PDF: Ability.PDF,
}


def needed(needs: Needs) -> int:
    """The abilities that a request needs, as bits."""
    bits = 0
    for modality in needs.modalities:
        bits |= _MODALITIES.get(modality, 0)
    if needs.tools:
        bits |= Ability.TOOLS
    if needs.structured_output:
        bits |= Ability.STRUCTURED_OUTPUT
    if needs.reasoning:
        bits |= Ability.REASONING
    if needs.keeps_an_hour:
        bits |= Ability.KEEPS_AN_HOUR
    return bits


def electable(offer: Offer) -> bool:
    """Whether an offer may be chosen for somebody who did not name it."""
    return offer.enabled and not (offer.deprecated or offer.free or offer.by_name_only)


class OfferTable:
    """The electable offers of the configured providers at one version of the catalog.

    Attributes:
        version: the catalog's.
        offers: the rows; every array has one value for each.
        provider_rows: the rows of each provider.
        models: the canonical ids, each once; `model_of` is the row's index into it.
        windows: most tokens of a prompt; `window_min` is the smallest.
        outputs: most tokens of an answer; `outputs_default` where the request sets no limit.
        unasked_growth: how many times longer than an answer the output is, by reasoning that
            nobody asked for.
        quality_weights: what the operator multiplies a model's rating by; None if by nothing.
        is_rated: whether somebody said of any of the models how good it is; where nobody did, all
            ratings are guessed from prices and ages.
    """

    def __init__(self, snapshot: CatalogSnapshot, providers: frozenset[str]) -> None:
        self.version = snapshot.version
        self.offers: tuple[Offer, ...] = tuple(
            offer
            for provider in sorted(providers)
            for offer in snapshot.offers_of(provider)
            if electable(offer)
            and offer.price is not None
            and offer.mode is Mode.CHAT
            and Modality.TEXT in offer.output_modalities
        )
        offers = self.offers
        self.models: tuple[str, ...] = tuple(dict.fromkeys(offer.model for offer in offers))
        places = {model: place for place, model in enumerate(self.models)}
        self.model_of = np.array([places[offer.model] for offer in offers], dtype=np.intp)
        self.provider_rows = _rows(offers, lambda offer: offer.provider)
        self.row_of = {offer.id: row for row, offer in enumerate(offers)}
        self._able: dict[int, Mask] = {}
        self._abilities = np.array([_abilities(offer) for offer in offers], dtype=np.int32)
        self.windows = _limits(offers, window_of)
        self.window_min = int(self.windows.min()) if offers else UNLIMITED
        self.outputs = _limits(offers, lambda offer: offer.output_tokens_max)
        self.outputs_default = np.minimum(self.outputs, OUTPUT_TOKENS_DEFAULT).astype(np.float64)
        self.unasked_growth = np.array([unasked_growth(one) for one in offers], dtype=np.float64)
        prices = [offer.price for offer in offers if offer.price is not None]
        self._prompt_price = _base(prices, Unit.PROMPT)
        self._completion_price = _base(prices, Unit.COMPLETION)
        weights = np.array(
            [offer.quality_weight_ppm / NEUTRAL_QUALITY_PPM for offer in offers], dtype=np.float64
        )
        self.quality_weights = None if (weights == 1.0).all() else weights
        self._place_of = places
        self._is_of: dict[str, Mask] = {}
        """By model, which rows offer it; of premium models, of which few are."""
        self._ratings: dict[Task | None, Amounts] = {}
        self._measured: dict[Task | None, Mask] = {}
        self._odds: dict[Task | None, Amounts] = {}
        self._by_rating: dict[Task | None, NDArray[np.intp]] = {}
        self._rated = snapshot.rating
        self.is_rated = any(
            one.source != ESTIMATE for model in self.models for one in snapshot.rated_tasks(model)
        )
        self._tier_starts = np.array([_first_tier(price) for price in prices], dtype=np.int64)
        self._tier_start_min = int(self._tier_starts.min(initial=UNLIMITED))
        self._prices = prices

    def __len__(self) -> int:
        return len(self.offers)

    def able(self, bits: int) -> Mask:
        """Which offers have all of some abilities."""
        found = self._able.get(bits)
        if found is None:
            found = self._able[bits] = (self._abilities & bits) == bits
        return found

    def capable(self, needs: Needs) -> Mask:
        """Which offers can do what a request needs, however long its prompt is."""
        mask = self.able(needed(needs))
        if needs.output_tokens is None:
            return mask.copy()
        return mask & (self.outputs >= needs.output_tokens)

    def ratings(self, task: Task | None) -> Amounts:
        """How good each row's model is at a task by the catalog's ratings, 0 to 1."""
        found = self._ratings.get(task)
        if found is None:
            shares = [rating_share(self._rated(offer.model, task)) for offer in self.offers]
            found = self._ratings[task] = np.array(shares, dtype=np.float64)
        return found

    def rating_odds(self, task: Task | None) -> Amounts:
        """`ratings` as the log-odds that predictions start from."""
        found = self._odds.get(task)
        if found is None:
            ratings = self.ratings(task).tolist()
            found = self._odds[task] = np.array([odds_of_rating(one) for one in ratings])
        return found

    def measured(self, task: Task | None) -> Mask:
        """Which rows' ratings at a task were measured, and not estimated from price and age."""
        found = self._measured.get(task)
        if found is None:
            ratings = (self._rated(offer.model, task) for offer in self.offers)
            known = [one is not None and not one.estimated for one in ratings]
            found = self._measured[task] = np.array(known, dtype=np.bool_)
        return found

    def by_rating(self, task: Task | None) -> NDArray[np.intp]:
        """All rows, the best rated for a task first, and of one model's the cheapest."""
        found = self._by_rating.get(task)
        if found is None:
            order = np.lexsort((self.costs(1_000, 1_000), -self.ratings(task)))
            found = self._by_rating[task] = order
        return found

    @property
    def best_rated(self) -> Offer | None:
        """The offer of the best model by its overall rating, at whoever sells it for least."""
        return self.offers[int(self.by_rating(None)[0])] if self.offers else None

    def cheapest_of(self, model: str, rows: NDArray[np.intp], costs: Amounts) -> int | None:
        """Where among the rows the cheapest offer of a model stands; None if it is not there."""
        sellers = self._is_of.get(model)
        if sellers is None:
            place = self._place_of.get(model)
            if place is None:
                return None
            sellers = self._is_of[model] = self.model_of == place
        places = sellers[rows].nonzero()[0]
        if len(places) > 1:
            return int(places[costs[rows[places]].argmin()])
        return int(places[0]) if len(places) else None

    def undominated(
        self, rows: NDArray[np.intp], costs: Amounts, latencies: Collection[int]
    ) -> NDArray[np.intp]:
        """Of each model's sellers the cheapest, and those whose speed is known, in table order."""
        if len(self.models) == len(self):
            return rows
        rows = rows[np.argsort(costs[rows], kind="stable")]
        models = self.model_of[rows]
        first = np.empty(len(self.models), dtype=np.intp)
        first[models[::-1]] = np.arange(len(rows) - 1, -1, -1)  # the last one written stays
        kept = first[models] == np.arange(len(rows))
        if latencies:
            kept |= np.isin(rows, list(latencies))
        left: NDArray[np.intp] = rows[kept]
        left.sort()
        return left

    def costs(self, prompt_tokens: int, output_tokens: int | Amounts) -> Amounts:
        """What a prompt and an answer of these sizes cost at each offer, in nano-USD.

        An estimate for choosing, in floats; what is held and charged is computed exactly.
        """
        costs: Amounts = prompt_tokens * self._prompt_price + output_tokens * self._completion_price
        if prompt_tokens >= self._tier_start_min:
            for row in np.flatnonzero(self._tier_starts <= prompt_tokens).tolist():
                out = output_tokens if isinstance(output_tokens, int) else output_tokens[row]
                costs[row] = self.cost_of(row, prompt_tokens, float(out))
        return costs

    def cost_of(self, row: int, prompt_tokens: int, output_tokens: float) -> float:
        """What `costs` says of one row."""
        if prompt_tokens < self._tier_start_min:
            base = float(self._prompt_price[row]), float(self._completion_price[row])
            return prompt_tokens * base[0] + output_tokens * base[1]
        price = self._prices[row]
        prompt = prompt_tokens * price.rate(Unit.PROMPT, prompt_tokens)
        output = output_tokens * price.rate(Unit.COMPLETION, prompt_tokens)
        return (prompt + output) / UNITS_PER_PRICE


def rating_share(rating: Rating | None) -> float:
    """A rating as a share of 1; a model that nobody rates has none."""
    return 0.0 if rating is None else rating.value / RATING_MAX


def window_of(offer: Offer) -> int | None:
    """Most tokens of a prompt; None where the catalog does not know."""
    return offer.prompt_tokens_max or offer.context_tokens_max


def _abilities(offer: Offer) -> int:
    bits = 0
    for modality in offer.input_modalities:
        bits |= _MODALITIES.get(modality, 0)
    price = offer.price
    if price is None or not price.priced(Unit.PROMPT_AUDIO):
        bits &= ~Ability.AUDIO
    if offer.tools:
        bits |= Ability.TOOLS
    if offer.structured_output is not False:  # what is not known is not held against it
        bits |= Ability.STRUCTURED_OUTPUT
    if offer.reasoning:
        bits |= Ability.REASONING
    if price is not None and price.priced(Unit.CACHED_WRITE_1H):
        bits |= Ability.KEEPS_AN_HOUR
    return bits


def _rows(offers: tuple[Offer, ...], key: Callable[[Offer], str]) -> dict[str, NDArray[np.intp]]:
    rows: dict[str, list[int]] = {}
    for row, offer in enumerate(offers):
        rows.setdefault(key(offer), []).append(row)
    return {name: np.array(held, dtype=np.intp) for name, held in rows.items()}


def _limits(offers: tuple[Offer, ...], limit: Callable[[Offer], int | None]) -> NDArray[np.int64]:
    return np.array([limit(offer) or UNLIMITED for offer in offers], dtype=np.int64)


def _base(prices: list[Price], unit: Unit) -> Amounts:
    return np.array([price.rate(unit, 0) / UNITS_PER_PRICE for price in prices], dtype=np.float64)


def _first_tier(price: Price) -> int:
    starts = [rate.prompt_tokens_min for rate in price.rates if rate.prompt_tokens_min]
    return min(starts, default=UNLIMITED)
