"""How good each model is, by task: what was measured where it was, else a marked estimate.

The nearest word wins: the operator's, then scores that a source brought, then the facts that the
package ships. A dated release without facts of its own has those of its model. What nobody
measured gets an estimate from price and age, which never exceeds ESTIMATE_MAX.
"""

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from omni_grpc.catalog.benchmarks import Score, ratings_of
from omni_grpc.catalog.model import Offer, Rating
from omni_grpc.catalog.rating_facts import (
    RATING_FACTS,
    RATING_FACTS_DATE,
    RATING_FACTS_SOURCE,
    RATING_TASKS,
)
from omni_grpc.catalog.words import LAYER_NAMES, OVERALL, RATING, Expanded
from omni_grpc.core.money import NANO_PER_USD, Unit
from omni_grpc.core.task import Task

RATING_MAX: Final = 100

ESTIMATE: Final = "estimate"
ESTIMATE_MAX: Final = 60.0
"""No estimate is above it: whoever chooses by rating shall prefer what was measured."""

ESTIMATE_MIN: Final = 5.0

_EPOCH: Final = dt.date(2024, 1, 1)
_AT_EPOCH: Final = 13.0
_PER_YEAR: Final = 22.0
_PER_TENFOLD_PRICE: Final = 8.5
"""Least squares over 241 models with facts: off by 7.5 on average, 9.5 root mean square."""
_UNKNOWN_USD: Final = 0.3
_PROMPTS_PER_COMPLETION: Final = 3
_DAYS_PER_YEAR: Final = 365.25

_RELEASE: Final = re.compile(r"([-@]20\d{2}-?\d{2}-?\d{2}|@default|-latest|:free)$")


class ModelRatings(msgspec.Struct, frozen=True):
    """What is known of one model: its rating at everything, and at single tasks."""

    overall: Rating
    tasks: Mapping[Task, Rating]

    def rating(self, task: Task | None) -> Rating:
        """The rating at a task; the overall one where the task was not measured."""
        return self.overall if task is None else self.tasks.get(task, self.overall)


Stated = Mapping[str, Mapping[Task | None, Rating]]
"""Ratings by the model's canonical id and the task; None is overall."""


def stated_ratings(words: Expanded, scores: Iterable[Score]) -> Stated:
    """What operators say of models, over what the scores of sources say."""
    found = ratings_of(scores)
    for (subject, field), word in words.items():
        if field.startswith(RATING):
            name = field.removeprefix(RATING)
            task = None if name == OVERALL else Task(name)
            found.setdefault(subject, {})[task] = Rating(
                value=float(msgspec.json.decode(word.value, type=int)),
                source=LAYER_NAMES[word.layer],
                task=task,
            )
    return found


def rate_models(offers: Iterable[Offer], stated: Stated) -> dict[str, ModelRatings]:
    """The ratings of every model that is offered.

    Args:
        offers: all offers, of any model.
        stated: what operators and sources said, by canonical id; it lies over the package's facts.
    """
    own = {_folded(model): ratings for model, ratings in stated.items()}
    sold: dict[str, list[Offer]] = {}
    for offer in offers:
        sold.setdefault(offer.model, []).append(offer)
    return {model: _ratings(model, held, own) for model, held in sold.items()}


def estimate(offers: Iterable[Offer]) -> Rating:
    """What a model is likely worth by its age and by what its sellers ask: dearer is better.

    Of its sellers' dates and prices the middle one counts, for some are wrong; three tokens of
    prompt to one of completion. Free offers do not count.
    """
    held = tuple(offers)
    dates = sorted(offer.release_date for offer in held if offer.release_date is not None)
    middle = dates[len(dates) // 2] if dates else _EPOCH
    years = (middle - _EPOCH).days / _DAYS_PER_YEAR
    asked = sorted(usd for offer in held if (usd := _usd_per_mtok(offer)) > 0)
    usd = asked[len(asked) // 2] if asked else _UNKNOWN_USD
    value = _AT_EPOCH + _PER_YEAR * years + _PER_TENFOLD_PRICE * math.log10(usd)
    value = min(ESTIMATE_MAX, max(ESTIMATE_MIN, value))
    return Rating(value=round(value, 1), source=ESTIMATE, estimated=True)


def _ratings(
    model: str, offers: list[Offer], stated: Mapping[str, Mapping[Task | None, Rating]]
) -> ModelRatings:
    found: dict[Task | None, Rating] = {}
    for name in _names(model):
        # The nearer name and the nearer word win.
        found = {**_FACTS.get(name, {}), **stated.get(name, {}), **found}
    overall = found.pop(None, None)
    tasks = {task: rating for task, rating in found.items() if task is not None}
    if overall is None and tasks:
        mean = sum(rating.value for rating in tasks.values()) / len(tasks)
        overall = Rating(value=round(mean, 1), source="mean of its tasks", estimated=True)
    return ModelRatings(overall or estimate(offers), tasks)


def _names(model: str) -> tuple[str, ...]:
    """A model's own name, then the one without its release."""
    name = _folded(model)
    base = _RELEASE.sub("", name)
    return (name,) if base == name else (name, base)


def _folded(model: str) -> str:
    return model.lower().replace(".", "-")


def _usd_per_mtok(offer: Offer) -> float:
    price = offer.price
    if price is None or offer.free or not (price.priced(Unit.PROMPT)):
        return 0.0
    prompt, completion = price.rate(Unit.PROMPT, 0), price.rate(Unit.COMPLETION, 0)
    total = _PROMPTS_PER_COMPLETION * prompt + completion
    return total / (_PROMPTS_PER_COMPLETION + 1) / NANO_PER_USD


def _packaged() -> dict[str, dict[Task | None, Rating]]:
    """The facts of the package."""
    return {
        _folded(model): {
            task: Rating(
                value=float(value), source=RATING_FACTS_SOURCE, date=RATING_FACTS_DATE, task=task
            )
            for task, value in zip(RATING_TASKS, values, strict=True)
            if value is not None
        }
        for model, values in RATING_FACTS
    }


_FACTS: Final = _packaged()
