"""What helped and what did not: one thing turned at a time, nested on the dev files alone."""

from collections.abc import Iterator
from typing import Final

import msgspec

from omni_grpc.evaluation.data import PoolData
from omni_grpc.evaluation.measuring import OMNI, Judged, judge
from omni_grpc.evaluation.reading import Library
from omni_grpc.evaluation.training import RECIPE, RECIPES, Recipe

CHANGES: Final[dict[str, dict[str, float | bool]]] = {
    "as shipped": {},
    "trained without other wrappers": {"rewritten": False},
    "other wrappers may change a prediction (steadiness 0)": {"steadiness": 0.0},
    "habits are not taken off": {"habits": 0, "form_habits": 0},
    "8 regions": {"regions": 8},
    "100 landmarks": {"landmarks": 100},
    "200 landmarks": {"landmarks": 200},
    "300 landmarks": {"landmarks": 300},
    "600 landmarks": {"landmarks": 600},
    "1,000 landmarks": {"landmarks": 1_000},
    "models differ as freely as prompts (penalty 10)": {"difference_penalty": 10.0},
    "the same, penalty 50": {"difference_penalty": 50.0},
    "the same, penalty 100": {"difference_penalty": 100.0},
    "the same, penalty 400": {"difference_penalty": 400.0},
    "the same, penalty 1,000": {"difference_penalty": 1000.0},
    "no guard": {"likeness_share": 0.0, "form_share": 0.0},
    "guard by meaning alone": {"form_share": 0.0},
    "guard by form alone": {"likeness_share": 0.0},
    "wider guard (6 % and 12 %)": {"likeness_share": 0.06, "form_share": 0.12},
    "narrower guard (1 % and 2 %)": {"likeness_share": 0.01, "form_share": 0.02},
    "no caution": {"caution": 0.0},
    "caution 0.04": {"caution": 0.04},
    "caution 0.16": {"caution": 0.16},
    "caution 0.08 for nine of ten prompts": {"caution": 0.08, "known_share": 0.9},
    "the weight of cost that saves most": {"spared": 0.0},
    "the weight may cost 4 points of savings": {"spared": 0.04},
}


class Ablation(msgspec.Struct, frozen=True):
    """One row of the table; savings in percent, quality in points."""

    pool: str
    change: str
    saved_ni0: float
    saved_shipped: float
    difference_shipped: float
    worst_source: float
    left_out_worst: float
    gap_closed: float


def ablations(data: PoolData, library: Library) -> Iterator[Ablation]:
    """The rows of one pool."""
    start = RECIPES.get(data.meta.pool, RECIPE)
    for change, fields in CHANGES.items():
        recipe: Recipe = msgspec.structs.replace(start, **fields)
        if fields and recipe == start:
            continue
        found = judge(data, ("dev",), library, recipe, lambda _: None, beside={})
        yield _row(change, found)


def _row(change: str, found: Judged) -> Ablation:
    lines = {line.name: line for line in found.lines}
    shipped = lines["omni as shipped"]
    return Ablation(
        found.pool,
        change,
        lines["omni NI0"].saved,
        shipped.saved,
        shipped.difference,
        shipped.worst.difference,
        min((one.difference for one in found.left_out), default=0.0),
        found.gaps[OMNI].closed,
    )
