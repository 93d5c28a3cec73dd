"""Rows as the arrays that are fitted: features, vocabulary, weights of rows, targets of heads."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni_grpc.core.task import Task
from omni_grpc.routing.analysis.features import (
    Zones,
    dense_features,
    word_features,
    word_places,
)
from omni_grpc.routing.learned import shared_encoder
from task_training.fit import Sparse, Targets
from task_training.rows import UNKNOWN, Row

TASKS = tuple(task.value for task in Task)
NEEDS = ("reasoning", "code", "creativity")
WORDS_MAX = 6_000
"""Words that are kept: more change nothing that can be measured."""

ROWS_MIN = 3
HANDS_MIN = 2
_SMOOTHING = 0.6
ZONE_SCALES = (1.3, 1.3, 1.3, 1.0)
"""The user's words, the first of them, the system prompt's, those of earlier turns."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Read:
    """A row with its features."""

    row: Row
    dense: NDArray[np.float32]
    zones: Zones


def read(rows: Sequence[Row]) -> list[Read]:
    """Features of rows."""
    encoder = shared_encoder()
    return [
        Read(row, dense_features(row.view, encoder.encode(row.view.text)), word_features(row.view))
        for row in rows
    ]


@dataclass(frozen=True)
class Vocabulary:
    """Words by their places, and how much each tells."""

    places: dict[str, int]
    scales: Array


def vocabulary_of(items: Sequence[Read]) -> Vocabulary:
    """Words that several hands used, with how much they tell of the task.

    A hand is a template or a recorded source: a word that one source alone has tells the source,
    and not the task, however often it stands there. How much a word tells is the divergence of
    its classes, counted by hands, from all classes alike; words of any content tell nothing.
    """
    hands: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    counts: Counter[str] = Counter()
    all_hands: dict[str, set[str]] = defaultdict(set)
    for item in items:
        task = item.row.task
        if task is None:
            continue
        hand = item.row.template or item.row.source
        all_hands[task].add(hand)
        for word in set().union(*item.zones):
            hands[word][task].add(hand)
            counts[word] += 1
    told: list[tuple[float, str]] = []
    scales: dict[str, float] = {}
    for word, by_task in hands.items():
        users = sum(map(len, by_task.values()))
        if users < HANDS_MIN or counts[word] < ROWS_MIN:
            continue
        shares = np.array(
            [
                (len(by_task.get(task, ())) + _SMOOTHING / len(TASKS))
                / (len(all_hands[task]) + _SMOOTHING)
                for task in TASKS
            ]
        )
        shares /= shares.sum()
        telling = float((shares * np.log(shares * len(TASKS))).sum()) / math.log(len(TASKS))
        scale = telling * min(1.0, math.log(1 + users) / math.log(8))
        scales[word] = scale
        told.append((-round(scale * math.sqrt(users), 9), word))
    kept = sorted(word for _, word in sorted(told)[:WORDS_MAX])
    return Vocabulary(
        {word: place for place, word in enumerate(kept)},
        np.array([scales[word] for word in kept]),
    )


def arrays(items: Sequence[Read], vocabulary: Vocabulary) -> tuple[Array, Sparse]:
    """The features of all rows."""
    dense = np.stack([item.dense for item in items]).astype(np.float64)
    rows = [word_places(item.zones, vocabulary.places) for item in items]
    scales = word_scales(vocabulary)
    return dense, Sparse(rows, [[scales[at] for at in row] for row in rows], len(scales))


def word_scales(vocabulary: Vocabulary) -> Array:
    """What a word in a zone counts at one and the same penalty."""
    return np.concatenate([vocabulary.scales * scale for scale in ZONE_SCALES])


def targets_of(items: Sequence[Read]) -> Targets:
    """What the heads shall say, each class and each side of a head with one and the same weight.

    Within a class, sources weigh by the root of their size: a large one does not drown others.
    """
    count = len(items)
    classes = np.zeros((count, len(TASKS)))
    class_weights = np.zeros(count)
    shares = np.zeros((count, len(NEEDS) + 1))
    share_weights = np.zeros((count, len(NEEDS) + 1))
    by_class: dict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        row = item.row
        if row.task is not None:
            classes[at, TASKS.index(row.task)] = 1.0
            by_class[row.task].append(at)
        for head, label in enumerate((row.reasoning, row.code, row.creativity)):
            if label != UNKNOWN:
                shares[at, head] = label
        if row.hardness is not None:
            shares[at, -1] = row.hardness
    for members in by_class.values():
        _weigh(items, members, class_weights, total=1.0)
    for head, name in enumerate(NEEDS):
        for label in (0, 1):
            members = [at for at in range(count) if getattr(items[at].row, name) == label]
            _weigh(items, members, share_weights[:, head], total=1.0)
    members = [at for at in range(count) if items[at].row.hardness is not None]
    _weigh(items, members, share_weights[:, -1], total=2.0)
    return Targets(classes, class_weights * 1000, shares, share_weights * 1000)


def _weigh(items: Sequence[Read], members: list[int], weights: Array, *, total: float) -> None:
    groups = [_group(items[at].row) for at in members]
    sizes = Counter(groups)
    shares = {group: _share(group, size) for group, size in sizes.items()}
    whole = sum(shares.values())
    for at, group in zip(members, groups, strict=True):
        weights[at] = total * shares[group] / whole / sizes[group]


def _group(row: Row) -> str:
    """A source, or one language of our own: each language weighs the same in every class."""
    return f"own {row.language}" if row.own else row.source


def _share(group: str, size: int) -> float:
    """Our own English prompts weigh most: they are the only ones that have all classes."""
    if group == "own en":
        return 60.0
    return 5.0 if group.startswith("own") else RECORDED_SHARE * min(size, 400.0) ** 0.5


RECORDED_SHARE = 0.6
"""Recorded sources are each of one class, so that too much of them teaches their subjects."""
