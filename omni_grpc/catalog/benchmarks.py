"""What a benchmark's score says of a model: a rating from 0 to 100 at the tasks it measures.

Each benchmark has a few anchors, read off models that have both a published score and a rating of
the package; between two anchors runs a straight line. Such ratings are right to about ten points.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from omni_grpc.catalog.model import Rating
from omni_grpc.core.task import Task

Tasks = tuple[Task | None, ...]


class Benchmark(msgspec.Struct, frozen=True):
    """The tasks that a benchmark measures (None: everything), and (score, rating) anchors."""

    tasks: Tasks
    anchors: tuple[tuple[float, float], ...]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says of a model in a benchmark, in the benchmark's own unit."""

    model: str
    benchmark: str
    score: float
    source: str
    date: dt.date | None = None


_PERCENT: Final = ((0.0, 0.0), (100.0, 100.0))

BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "livebench": Benchmark((None,), _PERCENT),
    "livebench_coding": Benchmark((Task.CODING,), _PERCENT),
    "livebench_reasoning": Benchmark((Task.REASONING,), _PERCENT),
    "livebench_agentic_coding": Benchmark((Task.AGENT_STEP,), _PERCENT),
    "lmarena_elo": Benchmark(
        (None, Task.CHAT),
        ((900, 0), (1000, 8), (1150, 17), (1285, 30), (1350, 45), (1450, 68), (1550, 85)),
    ),
    "mmlu_pro": Benchmark(
        (None,),
        ((10, 0), (31, 8), (46, 13), (63, 21), (74, 30), (84, 50), (87, 65), (90, 75), (100, 95)),
    ),
    "gpqa_diamond": Benchmark(
        (Task.REASONING,),
        ((25, 5), (40, 20), (51, 25), (65, 35), (78, 53), (85, 66), (92, 78), (100, 95)),
    ),
    "aime_2025": Benchmark((Task.REASONING,), ((0, 12), (12, 24), (50, 42), (80, 55), (95, 72))),
    "math_500": Benchmark((Task.REASONING,), ((0, 0), (50, 14), (75, 24), (90, 38), (97, 55))),
    "humaneval": Benchmark((Task.CODING,), ((0, 0), (40, 8), (72, 18), (87, 36), (92, 58))),
    "livecodebench": Benchmark(
        (Task.CODING,), ((0, 5), (10, 18), (30, 45), (60, 56), (80, 64), (100, 90))
    ),
    "swe_bench_verified": Benchmark(
        (Task.AGENT_STEP,), ((0, 5), (33, 35), (63, 56), (73, 63), (81, 76), (100, 95))
    ),
    "bfcl": Benchmark((Task.AGENT_STEP,), ((0, 5), (50, 30), (60, 45), (70, 60), (77, 70))),
    "ifeval": Benchmark((Task.CHAT,), ((0, 0), (75, 16), (85, 30), (90, 45), (95, 65))),
    "mmmu": Benchmark((Task.IMAGE,), ((25, 5), (60, 24), (69, 36), (80, 60), (85, 72), (100, 95))),
}
"""By the name that sources must use; docs/models.md lists them."""


def rating_of(benchmark: str, score: float) -> float:
    """What a score is worth, 0 to 100; beyond the outermost anchors it is theirs.

    Raises:
        KeyError: there is no such benchmark.
    """
    anchors = BENCHMARKS[benchmark].anchors
    if score <= anchors[0][0]:
        return anchors[0][1]
    for (below, low), (above, high) in pairwise(anchors):
        if score <= above:
            return low + (score - below) * (high - low) / (above - below)
    return anchors[-1][1]


def ratings_of(scores: Iterable[Score]) -> dict[str, dict[Task | None, Rating]]:
    """Ratings by model and task: the mean of what the benchmarks of a task say."""
    said: dict[str, dict[Task | None, list[Score]]] = {}
    for one in scores:
        if one.benchmark in BENCHMARKS:
            for task in BENCHMARKS[one.benchmark].tasks:
                said.setdefault(one.model, {}).setdefault(task, []).append(one)
    return {
        model: {task: _mean(task, held) for task, held in tasks.items()}
        for model, tasks in said.items()
    }


def _mean(task: Task | None, scores: list[Score]) -> Rating:
    dates = [one.date for one in scores if one.date is not None]
    names = sorted({f"{one.benchmark} ({one.source})" for one in scores})
    value = sum(rating_of(one.benchmark, one.score) for one in scores) / len(scores)
    return Rating(
        value=round(value, 1), source=", ".join(names), date=max(dates, default=None), task=task
    )
