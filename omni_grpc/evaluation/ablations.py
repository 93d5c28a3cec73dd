"""What helped and what did not: one thing turned at a time, nested on the dev files alone."""

from collections.abc import Iterator
from typing import Final

import msgspec

from omni_grpc.evaluation import baselines
from omni_grpc.evaluation.basis_training import Wider
from omni_grpc.evaluation.data import PoolData
from omni_grpc.evaluation.held_out import Trainer
from omni_grpc.evaluation.measuring import OMNI, judge
from omni_grpc.evaluation.reading import Library
from omni_grpc.evaluation.recipe import RECIPE, RECIPES, Recipe
from omni_grpc.routing.learned import DIMENSIONS, FORM_COUNT

CHANGES: Final[dict[str, dict[str, float | None]]] = {
    "as shipped": {},
    "trained without other wrappers": {"rewritten": False},
    "other wrappers may change a prediction (steadiness 0)": {"steadiness": 0.0},
    "steadiness 10": {"steadiness": 10.0},
    "steadiness 40": {"steadiness": 40.0},
    "2 habits of form": {"form_habits": 2},
    "4 habits of form": {"form_habits": 4},
    "6 habits of form": {"form_habits": 6},
    "habits are not taken off": {"habits": 0, "form_habits": 0},
    "24 axes": {"axes": 24},
    "32 axes": {"axes": 32},
    "64 axes": {"axes": 64},
    "every direction is an axis": {"axes": 2 * DIMENSIONS + FORM_COUNT},
    "8 regions": {"regions": 8},
    "100 landmarks": {"landmarks": 100},
    "200 landmarks": {"landmarks": 200},
    "300 landmarks": {"landmarks": 300},
    "400 landmarks": {"landmarks": 400},
    "600 landmarks": {"landmarks": 600},
    "1,000 landmarks": {"landmarks": 1_000},
    "models differ as freely as prompts (penalty 10)": {"difference_penalty": 10.0},
    "the same, penalty 50": {"difference_penalty": 50.0},
    "the same, penalty 100": {"difference_penalty": 100.0},
    "the same, penalty 300": {"difference_penalty": 300.0},
    "the same, penalty 1,000": {"difference_penalty": 1000.0},
    "no guard": {"likeness_share": 0.0, "form_share": 0.0},
    "guard by meaning alone": {"form_share": 0.0},
    "guard by form alone": {"likeness_share": 0.0},
    "wider guard (6 % and 12 %)": {"likeness_share": 0.06, "form_share": 0.12},
    "narrower guard (1 % and 2 %)": {"likeness_share": 0.01, "form_share": 0.02},
    "200 known forms": {"forms": 200},
    "400 known forms": {"forms": 400},
    "no caution": {"caution": 0.0},
    "caution 0.04": {"caution": 0.04},
    "caution 0.16": {"caution": 0.16},
    "caution 0.08 for nine of ten prompts": {"caution": 0.08, "known_share": 0.9},
    "calibrated heads": {"calibrated": True},
    "the weight may lose anything on one source": {"source_loss_max": None},
    "the weight may lose 1.5 points on one source": {"source_loss_max": 0.015},
    "the weight may lose 1 point on one source": {"source_loss_max": 0.01},
    "the weight of cost that saves most": {"spared": 0.0},
    "the weight may cost 1 point of savings": {"spared": 0.01},
    "the weight may cost 3 points of savings": {"spared": 0.03},
    "the weight may cost 4 points of savings": {"spared": 0.04},
}

WIDER: Final[dict[str, dict[str, float | None]]] = {
    "wider data: regions and landmarks among its prompts too": {"wider_landmarks": True},
    "wider data: models differ more freely along what is hard in it": {"freed": 0.9},
}
"""Changes that need `Wider`."""

ENSEMBLE: Final = "an ensemble: the mean of our heads, kNN-60 and k-means-60"


class Ablation(msgspec.Struct, frozen=True):
    """One row of the table; savings in percent, quality in points."""

    pool: str
    change: str
    saved_ni0: float
    worst_source_ni0: float
    saved_shipped: float
    difference_shipped: float
    worst_source: float
    left_out_worst: float
    gap_closed: float


def ablations(data: PoolData, library: Library, wider: Wider | None) -> Iterator[Ablation]:
    """The rows of one pool; those of wider data only where there is any."""
    start = RECIPES.get(data.meta.pool, RECIPE)
    for change, fields in CHANGES.items():
        recipe: Recipe = msgspec.structs.replace(start, **fields)
        if not fields or recipe != start:
            yield _row(change, data, library, Trainer(recipe))
    others = (baselines.METHODS["kNN-60"], baselines.METHODS["k-means-60"])
    yield _row(ENSEMBLE, data, library, Trainer(start, blended=others))
    for change, fields in WIDER.items() if wider is not None else ():
        recipe = msgspec.structs.replace(start, **fields)
        yield _row(change, data, library, Trainer(recipe, wider=wider))


def _row(change: str, data: PoolData, library: Library, trainer: Trainer) -> Ablation:
    found = judge(data, ("dev",), library, trainer, lambda _: None, beside={})
    lines = {line.name: line for line in found.lines}
    shipped = lines["omni as shipped"]
    return Ablation(
        found.pool,
        change,
        lines["omni NI0"].saved,
        lines["omni NI0"].worst.difference,
        shipped.saved,
        shipped.difference,
        shipped.worst.difference,
        min((one.difference for one in found.left_out), default=0.0),
        found.gaps[OMNI].closed,
    )
