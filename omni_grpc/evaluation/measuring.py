"""The measurement of one pool: nested cross-validation, sources left out, and everything beside.

Whatever is chosen, the weight of cost too, is chosen without the prompts that it is judged on.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation import baselines
from omni_grpc.evaluation.basis_training import Places, Seen
from omni_grpc.evaluation.data import PREMIUM, Flags, PoolData
from omni_grpc.evaluation.deciding import (
    COST_WEIGHTS,
    SHIPPED_MARGIN,
    Chosen,
    Predicted,
    choose,
    choose_weight,
    non_inferior,
    outcome,
)
from omni_grpc.evaluation.held_out import Trainer, crossed
from omni_grpc.evaluation.reading import Library
from omni_grpc.evaluation.statistics import Point, area, cost_at, hull, interval
from omni_grpc.evaluation.training import FOLDS
from omni_grpc.routing.scoring import CHEAP_FLOOR, QUALITY_FLOOR, Weights, balanced

Progress = Callable[[str], None]

OMNI: Final = "omni"
OMNI_GUARDED: Final = "omni with its guard"

RULES: Final = {
    "NI0": (0.0, QUALITY_FLOOR),
    "NI1": (0.01, CHEAP_FLOOR),
    "as shipped": (-SHIPPED_MARGIN, QUALITY_FLOOR),
}
"""By name: how far below the premium model the bound may be, and the floor of quality."""


class BySource(msgspec.Struct, frozen=True):
    """The quality difference on one source, in points, with its 95 % interval."""

    source: str
    prompts: int
    difference: float
    low: float
    high: float
    saved: float


class Line(msgspec.Struct, frozen=True):
    """One way to choose, on prompts it was not trained on.

    Quality in points (hundredths), beside always the premium model; saved in percent of its cost.
    """

    name: str
    saved: float
    quality: float
    difference: float
    low: float
    high: float
    sources: tuple[BySource, ...]

    @property
    def worst(self) -> BySource:
        """The source with the lowest difference."""
        return min(self.sources, key=lambda one: one.difference)


class Gap(msgspec.Struct, frozen=True):
    """How near a way to choose comes to the oracle, over all weights of cost.

    Attributes:
        aiq: mean quality in points over the costs from the cheapest model's to the premium's.
        closed: percent of the area between the hull of single models and the oracle.
        closed_best: percent of the way from the best single model to the oracle, at the curve's
            best quality.
    """

    aiq: float
    closed: float
    closed_best: float


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one pool.

    Attributes:
        pool, parts, prompts: what it was measured on.
        lines: nested cross-validation, and what needs no training.
        left_out: by source: trained without it, judged on it; none where there is one source.
        gaps: by name: `OMNI`, `OMNI_GUARDED`, and what others do.
        hull_aiq, oracle_aiq: `Gap.aiq` of random mixes of single models, and of the oracle.
        curve, singles, hull_points, oracle_curve: for the plot: dollars a prompt, quality.
    """

    pool: str
    parts: tuple[str, ...]
    prompts: int
    premium: str
    lines: tuple[Line, ...]
    left_out: tuple[BySource, ...]
    gaps: dict[str, Gap]
    hull_aiq: float
    oracle_aiq: float
    curve: tuple[Point, ...]
    singles: dict[str, Point]
    hull_points: tuple[Point, ...]
    oracle_curve: tuple[Point, ...]


def judge(
    data: PoolData,
    parts: tuple[str, ...],
    library: Library,
    trainer: Trainer,
    progress: Progress,
    *,
    beside: Mapping[str, baselines.Method] = baselines.METHODS,
) -> Judged:
    """Measures one pool, beside what others do."""
    places = library.places(data)
    seen, folds = library.seen.rows(places), library.folds[places]
    nested = _Nested(data, len(data.rows), beside)
    for fold in range(FOLDS):
        progress(f"pool {data.meta.pool}: nested cross-validation, fold {fold + 1} of {FOLDS}")
        nested.fold(seen, folds, fold, trainer)
    lines = [line_of(f"omni {rule}", data, nested.chosen[f"omni {rule}"]) for rule in RULES]
    lines += [
        line_of(f"{name} {rule}", data, nested.chosen[f"{name} {rule}"])
        for name in beside
        for rule in ("NI0", "NI1")
    ]
    lines += _fixed_lines(data)
    curves = {OMNI: _curve(data, nested.predicted, guarded=False)}
    curves[OMNI_GUARDED] = _curve(data, nested.predicted, guarded=True)
    for name, theirs in nested.theirs.items():
        curves[name] = _curve(data, theirs, guarded=False)
    singles, oracle = _singles(data), oracle_curve(data)
    low = min(cost for cost, _ in singles.values())
    high = singles[data.meta.models[PREMIUM]][0]
    hull_aiq = area(list(singles.values()), low, high)
    oracle_aiq = area(oracle, low, high)
    best_single = max(quality for _, quality in singles.values())
    best = float(data.quality.max(axis=1).mean())
    gaps = {}
    for name, curve in curves.items():
        aiq = area([*curve, *singles.values()], low, high)
        top = max(quality for _, quality in curve)
        gaps[name] = Gap(
            100 * aiq,
            _percent(aiq - hull_aiq, oracle_aiq - hull_aiq),
            _percent(top - best_single, best - best_single),
        )
    return Judged(
        pool=data.meta.pool,
        parts=parts,
        prompts=len(data.rows),
        premium=data.meta.models[PREMIUM],
        lines=tuple(lines),
        left_out=_all_left_out(data, seen, folds, trainer, progress),
        gaps=gaps,
        hull_aiq=100 * hull_aiq,
        oracle_aiq=100 * oracle_aiq,
        curve=tuple(curves[OMNI]),
        singles=singles,
        hull_points=tuple(hull(list(singles.values()))),
        oracle_curve=tuple(oracle),
    )


def _percent(part: float, whole: float) -> float:
    """Nothing can be closed where there is no gap."""
    return 100 * part / whole if whole > 0 else 0.0


class _Nested:
    """Gathers, fold by fold, what is chosen for prompts that no part of the choice has seen."""

    def __init__(self, data: PoolData, count: int, beside: Mapping[str, baselines.Method]) -> None:
        self._data = data
        self._beside = beside
        models = data.quality.shape[1]
        self.predicted = _nothing(count, models)
        self.theirs = {name: _nothing(count, models) for name in beside}
        names = [f"omni {rule}" for rule in RULES]
        names += [f"{name} {rule}" for name in beside for rule in ("NI0", "NI1")]
        self.chosen = {name: np.zeros(count, dtype=np.intp) for name in names}

    def fold(self, seen: Seen, folds: Places, fold: int, trainer: Trainer) -> None:
        """Trains and chooses without one fold, and decides on it."""
        asked: Flags = folds % FOLDS == fold
        data = self._data.take(~asked)
        held, found = trainer.predict(self._data, seen, folds, asked)
        for all_of, part in (
            (self.predicted.quality, found.quality),
            (self.predicted.cost_usd, found.cost_usd),
            (self.predicted.unlike, found.unlike),
            (self.predicted.caution, found.caution),
        ):
            all_of[asked] = part
        self.predicted = msgspec.structs.replace(self.predicted, typical_usd=found.typical_usd)
        recipe = trainer.recipe
        for rule, (margin, floor) in RULES.items():
            weights = choose_weight(data, held, non_inferior(margin), floor, recipe)
            self.chosen[f"omni {rule}"][asked] = _decided(found, weights)
        theirs = msgspec.structs.replace(recipe, source_loss_max=None)
        for name, method in self._beside.items():
            held, found = crossed(method, self._data, seen, folds, asked)
            self.theirs[name].quality[asked] = found.quality
            self.theirs[name].cost_usd[asked] = found.cost_usd
            for rule in ("NI0", "NI1"):
                weights = choose_weight(data, held, non_inferior(RULES[rule][0]), None, theirs)
                self.chosen[f"{name} {rule}"][asked] = _decided(found, weights)


def _nothing(count: int, models: int) -> Predicted:
    return Predicted.sure(np.zeros((count, models)), np.zeros((count, models)))


def _decided(found: Predicted, weights: Weights | None) -> Chosen:
    """The choices; always the premium model where no weight keeps the rule."""
    if weights is None:
        return np.full(len(found.quality), PREMIUM, dtype=np.intp)
    return choose(found, weights)


def line_of(name: str, data: PoolData, chosen: Chosen) -> Line:
    """What choices come to."""
    found = outcome(data, chosen)
    low, high = interval(found.difference)
    quality = float(data.quality[np.arange(len(chosen)), chosen].mean())
    return Line(
        name=name,
        saved=100 * found.saved,
        quality=100 * quality,
        difference=100 * float(found.difference.mean()),
        low=100 * low,
        high=100 * high,
        sources=tuple(
            _by_source(data.take(data.sources == source), chosen[data.sources == source], source)
            for source in sorted(set(data.sources.tolist()))
        ),
    )


def _by_source(data: PoolData, chosen: Chosen, source: str) -> BySource:
    found = outcome(data, chosen)
    low, high = interval(found.difference)
    return BySource(
        source,
        len(chosen),
        100 * float(found.difference.mean()),
        100 * low,
        100 * high,
        100 * found.saved,
    )


def _fixed_lines(data: PoolData) -> list[Line]:
    """The premium model, the cheapest, each single model, and the oracle."""
    count = len(data.rows)
    cheapest = int(data.cost_usd.mean(axis=0).argmin())
    lines = [
        line_of("always premium", data, np.full(count, PREMIUM, dtype=np.intp)),
        line_of("always cheapest", data, np.full(count, cheapest, dtype=np.intp)),
    ]
    lines += [
        line_of(f"single {model}", data, np.full(count, place, dtype=np.intp))
        for place, model in enumerate(data.meta.models)
    ]
    lines.append(line_of("oracle", data, (data.quality - 1e-6 * data.cost_usd).argmax(axis=1)))
    return lines


def _all_left_out(
    data: PoolData, seen: Seen, folds: Places, trainer: Trainer, progress: Progress
) -> tuple[BySource, ...]:
    sources = sorted(set(data.sources.tolist()))
    found = []
    for source in sources if len(sources) > 1 else ():
        progress(f"pool {data.meta.pool}: without {source}")
        found.append(_left_out(data, seen, folds, source, trainer))
    return tuple(found)


def _left_out(data: PoolData, seen: Seen, folds: Places, source: str, trainer: Trainer) -> BySource:
    """Trained and chosen without a source, as what is shipped is; judged on that source."""
    asked: Flags = data.sources == source
    held, found = trainer.predict(data, seen, folds, asked)
    margin, floor = RULES["as shipped"]
    weights = choose_weight(data.take(~asked), held, non_inferior(margin), floor, trainer.recipe)
    return _by_source(data.take(asked), _decided(found, weights), source)


def _singles(data: PoolData) -> dict[str, Point]:
    cost, quality = data.cost_usd.mean(axis=0), data.quality.mean(axis=0)
    return {
        model: (float(cost[place]), float(quality[place]))
        for place, model in enumerate(data.meta.models)
    }


def _curve(data: PoolData, found: Predicted, *, guarded: bool) -> list[Point]:
    points = []
    for weight in COST_WEIGHTS:
        weights = msgspec.structs.replace(balanced(weight), quality_floor=None)
        points.append(_point(data, choose(found, weights, guarded=guarded)))
    return points


def oracle_curve(data: PoolData) -> list[Point]:
    """Who knows each answer's grade and cost beforehand, at each weight of cost."""
    scale = float(data.cost_usd[:, PREMIUM].mean())
    return [
        _point(data, (data.quality - (weight + 1e-6) * data.cost_usd / scale).argmax(axis=1))
        for weight in COST_WEIGHTS
    ]


def _point(data: PoolData, chosen: Chosen) -> Point:
    rows = np.arange(len(chosen))
    return float(data.cost_usd[rows, chosen].mean()), float(data.quality[rows, chosen].mean())


def hull_saved(judged: Judged) -> float | None:
    """Percent saved by the best random mix of single models at the premium model's quality."""
    cost, quality = judged.singles[judged.premium]
    least = cost_at(judged.hull_points, quality)
    return None if least is None else 100 * (1 - least / cost)
