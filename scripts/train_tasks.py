#!/usr/bin/env python3
"""Trains the task analysis and says how good it is on sources that it has not seen.

`scripts/train_tasks.py --data DIR` writes the weights of the package, the same bytes every time;
`--report` also prints the tables of docs/task-analysis.md; `--validate FILE` asks the model that
ships about prompts of a JSON Lines file (`source`, `task`, `prompt`, `system`, `tools`).
"""

# ruff: noqa: E402 - threads are set before numpy is imported

import argparse
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # one order of additions: same bytes
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from numpy.typing import NDArray
from task_training.dataset import NEEDS, TASKS, Read, read
from task_training.fit import minimise
from task_training.measure import (
    best_threshold,
    f1_by_class,
    macro_f1,
    precision_recall,
    rank_correlation,
    table,
    temperature,
)
from task_training.model import Calibration, Model, trained
from task_training.prompts import written_rows
from task_training.recorded import passages, recorded_rows
from task_training.rows import UNKNOWN, Row, chance, request_of

from omni_grpc.routing.analysis.view import view_of
from omni_grpc.routing.analysis.weights import FILE

Array = NDArray[np.float64]

SOURCE_ROWS_MAX = 1_200
"""Rows of a recorded source that are read: more of the same hand teach nothing."""

FOLDS = (
    {"gsm", "mbpp", "trivia_qa"},
    {"mmlu_pro", "commongen", "human_eval"},
    {"math", "crux", "natural_qa"},
    {"mmlu", "semantic", "parti_prompts"},
    {"gpqa", "logicgrid", "wmt24", "arc", "commonsense"},
    {"mt_bench", "bfcl", "openbook"},
)
"""Recorded sources that are held out together, no class losing all of them; families and
languages of our own prompts are dealt onto the same folds whole."""


def main() -> None:
    """Trains, writes, reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of recorded prompts")
    parser.add_argument("--out", type=Path, default=FILE, help="where the weights go")
    parser.add_argument("--report", action="store_true", help="print tables of held-out sources")
    parser.add_argument("--validate", type=Path, help="prompts to ask the shipped model about")
    chosen = parser.parse_args()
    recorded = read(_capped(recorded_rows(chosen.data)))
    written = read(written_rows(passages(chosen.data)))
    everything = [*recorded, *written]
    held_out = _held_out(everything)
    calibration = _calibrated(everything, held_out)
    model = trained(everything)
    model.write(chosen.out, calibration)
    size = chosen.out.stat().st_size
    print(f"{chosen.out}: {size} bytes from {len(everything)} prompts; {calibration}")
    if chosen.report:
        _report(recorded, written, held_out, calibration)
    if chosen.validate:
        _validate(model, chosen.validate)


def _capped(rows: Sequence[Row]) -> list[Row]:
    shuffled = list(rows)
    chance("order").shuffle(shuffled)
    seen: Counter[str] = Counter()
    kept = []
    for row in shuffled:
        seen[row.source] += 1
        if seen[row.source] <= SOURCE_ROWS_MAX:
            kept.append(row)
    return kept


def _fold(row: Row) -> int:
    if not row.own:
        return next(at for at, names in enumerate(FOLDS) if row.source in names)
    held = row.language if row.language != "en" else row.source
    return chance("fold", held).randrange(len(FOLDS))


def _held_out(items: Sequence[Read]) -> Array:
    """Logits of each row by a model that has seen neither its source nor its family."""
    folds = np.array([_fold(item.row) for item in items])
    logits = np.zeros((len(items), len(TASKS) + len(NEEDS) + 1))
    for fold in range(len(FOLDS)):
        model = trained([item for item, at in zip(items, folds, strict=True) if at != fold])
        places = np.flatnonzero(folds == fold)
        logits[places] = model.logits([items[int(at)] for at in places])
        print(f"fold {fold + 1} of {len(FOLDS)} done", file=sys.stderr)
    return logits


def _calibrated(items: Sequence[Read], logits: Array) -> Calibration:
    known = np.array([at for at, item in enumerate(items) if item.row.task is not None])
    truth = np.array([TASKS.index(items[at].row.task or "") for at in known])
    thresholds = []
    for head, name in enumerate(NEEDS):
        labelled = np.array(
            [at for at, item in enumerate(items) if getattr(item.row, name) != UNKNOWN]
        )
        labels = np.array([float(getattr(items[at].row, name)) for at in labelled])
        thresholds.append(best_threshold(labels, _sigmoid(logits[labelled, len(TASKS) + head])))
    hard = np.array([at for at, item in enumerate(items) if item.row.hardness is not None])
    hardness = np.array([items[at].row.hardness or 0.0 for at in hard])
    scale, shift = _line(logits[hard, -1], hardness, [items[at].row.source for at in hard])
    return Calibration(
        temperature=temperature(logits[known, : len(TASKS)], truth),
        need_thresholds=tuple(thresholds),
        complexity_scale=round(scale, 4),
        complexity_shift=round(shift, 4),
    )


def _line(logits: Array, hardness: Array, sources: list[str]) -> tuple[float, float]:
    """Scale and shift by which held-out logits of hardness come true, each source alike."""
    sizes = Counter(sources)
    weights = np.array([1.0 / sizes[source] for source in sources])

    def loss(line: Array) -> tuple[float, Array]:
        moved = line[0] * logits + line[1]
        value = float((weights * (np.logaddexp(0.0, moved) - hardness * moved)).sum())
        slope = weights * (_sigmoid(moved) - hardness)
        return value, np.array([float((slope * logits).sum()), float(slope.sum())])

    scale, shift = minimise(loss, np.array([1.0, 0.0]), steps=100)
    return float(scale), float(shift)


def _sigmoid(logits: Array) -> Array:
    shares: Array = 1.0 / (1.0 + np.exp(-logits))
    return shares


def _report(
    recorded: list[Read], written: list[Read], held_out: Array, calibration: Calibration
) -> None:
    labelled = [item for item in recorded if item.row.task is not None]
    rows: dict[str, list[object]] = {}
    _task_row(rows, "written, asked recorded", labelled, trained(written).tasks(labelled))
    items = [*recorded, *written]
    said = [TASKS[best] for best in held_out[:, : len(TASKS)].argmax(axis=1)]
    pairs = [(item, task) for item, task in zip(items, said, strict=True) if item.row.task]
    for name, own, foreign in (
        ("held-out recorded sources", False, False),
        ("held-out written families, English", True, False),
        ("held-out languages", True, True),
    ):
        chosen = [
            (item, task)
            for item, task in pairs
            if item.row.own == own and (item.row.language != "en") == foreign
        ]
        _task_row(rows, name, [item for item, _ in chosen], [task for _, task in chosen])
    print("\n" + table(rows, ("prompts", "macro-F1", "accuracy", *TASKS)))
    print("\n" + table(_by_source(pairs), ("task", "prompts", "right", "mostly said instead")))
    print("\n" + table(_needs(items, held_out, calibration), ("prompts", "precision", "recall")))
    print(
        "\n" + table(_hardness(items, held_out, calibration), ("prompts", "rank", "mean", "said"))
    )


def _task_row(rows: dict[str, list[object]], name: str, items: list[Read], said: list[str]) -> None:
    truth = [item.row.task or "" for item in items]
    scores = f1_by_class(truth, said)
    right = float(np.mean([a == b for a, b in zip(truth, said, strict=True)]))
    cells: list[object] = [len(items), macro_f1(truth, said), right]
    rows[name] = cells + [scores.get(task, "") for task in TASKS]


def _by_source(pairs: list[tuple[Read, str]]) -> dict[str, list[object]]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for item, said in pairs:
        if not item.row.own:
            counts[item.row.source, item.row.task or ""][said] += 1
    rows: dict[str, list[object]] = {}
    for (source, task), said_counts in sorted(counts.items()):
        total = sum(said_counts.values())
        others = [(name, n) for name, n in said_counts.most_common() if name != task]
        instead = f"{others[0][0]} ({others[0][1]})" if others else ""
        rows[f"{source}, {task}"] = [task, total, said_counts[task] / total, instead]
    return rows


def _needs(items: list[Read], logits: Array, calibration: Calibration) -> dict[str, list[object]]:
    rows: dict[str, list[object]] = {}
    for head, name in enumerate(NEEDS):
        for own in (False, True):
            chosen = [
                at
                for at, item in enumerate(items)
                if getattr(item.row, name) != UNKNOWN and item.row.own == own
            ]
            truth = np.array([float(getattr(items[at].row, name)) for at in chosen])
            chances = _sigmoid(logits[chosen, len(TASKS) + head])
            said = (chances >= calibration.need_thresholds[head]).astype(float)
            label = f"{name}, {'written' if own else 'recorded'}"
            rows[label] = [len(chosen), *precision_recall(truth, said)]
    return rows


def _hardness(
    items: list[Read], logits: Array, calibration: Calibration
) -> dict[str, list[object]]:
    sources: dict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        if item.row.hardness is not None and not item.row.own:
            sources[item.row.source].append(at)
    moved = calibration.complexity_scale * logits[:, -1] + calibration.complexity_shift
    scores = _sigmoid(moved)
    rows: dict[str, list[object]] = {}
    whole = [at for places in sources.values() for at in places]
    for name, places in (("all held-out sources", whole), *sorted(sources.items())):
        truth = np.array([items[at].row.hardness or 0.0 for at in places])
        rank = rank_correlation(scores[places], truth)
        rows[name] = [len(places), rank, float(truth.mean()), float(scores[places].mean())]
    means = {name: float(rows[name][2]) for name in sources}  # type: ignore[arg-type]  # a mean
    said = {name: float(rows[name][3]) for name in sources}  # type: ignore[arg-type]  # a mean
    between = rank_correlation(np.array(list(means.values())), np.array(list(said.values())))
    rows["means of the sources"] = [len(means), between, "", ""]
    return rows


def _validate(model: Model, path: Path) -> None:
    rows = []
    for line in path.read_text("utf-8").split("\n"):
        if line:
            record = json.loads(line)
            tools = [(name, about) for name, about in record.get("tools") or ()]
            request = request_of(record["prompt"], system=record.get("system"), tools=tools)
            rows.append(Row(view_of(request), record["task"], record["source"]))
    items = read(rows)
    said = model.tasks(items)
    cells: dict[str, list[object]] = {}
    _task_row(cells, path.name, items, said)
    print("\n" + table(cells, ("prompts", "macro-F1", "accuracy", *TASKS)))
    pairs = list(zip(items, said, strict=True))
    print("\n" + table(_by_source(pairs), ("task", "prompts", "right", "mostly said instead")))


if __name__ == "__main__":
    main()
