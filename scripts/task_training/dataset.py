"""Rows as the arrays that are fitted: features, vocabulary, weights of rows, targets of heads."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni_grpc.core.task import Task
from omni_grpc.routing.analysis.features import dense_features, terms_of
from omni_grpc.routing.analysis.structure import CONVERSATION_COUNT, STRUCTURE_COUNT
from omni_grpc.routing.analysis.vocabulary import TERMS, Terms, Vocabulary
from omni_grpc.routing.learned import DIMENSIONS, FORM_COUNT, read_features, shared_encoder
from task_training.fit import Sparse, Targets
from task_training.rows import UNKNOWN, Row

TASKS = tuple(task.value for task in Task)
NEEDS = ("reasoning", "code", "creativity")
TERMS_MAX = 9_000
"""Terms that are kept: more change nothing that can be measured."""

ROWS_MIN = 3
HANDS_MIN = 2
_SMOOTHING = 0.6
ZONE_SCALES = (1.3, 1.3, 1.3, 1.0)
"""The user's terms, the first of them, the system prompt's, those of earlier turns."""

Array = NDArray[np.float64]

DENSE_SCALES: Array = np.repeat(
    [0.7, 0.18, 1.5, 1.0],
    [
        DIMENSIONS,
        FORM_COUNT + STRUCTURE_COUNT - CONVERSATION_COUNT,
        CONVERSATION_COUNT,
        1,
    ],
)
"""What a prompt is about and how it looks differ from source to source more than what its words
ask for, so both count less at one and the same penalty; tools and parts are plain facts."""


@dataclass(frozen=True)
class Read:
    """A row with its features."""

    row: Row
    dense: NDArray[np.float32]
    terms: Terms


def read(rows: Sequence[Row]) -> list[Read]:
    """Features of rows."""
    encoder = shared_encoder()
    found = []
    for row in rows:
        one = read_features(row.view.text, encoder)
        terms = terms_of(row.view, one, encoder)
        found.append(Read(row, dense_features(row.view, one), terms))
    return found


@dataclass(frozen=True)
class Telling:
    """The terms that are kept, by their places, and how much the term of each place tells."""

    vocabulary: Vocabulary
    scales: Array


def telling_terms(items: Sequence[Read]) -> Telling:
    """Terms that several hands used, with how much they tell of the task.

    A hand is a template or a recorded source: a term that one source alone has tells the source,
    and not the task, however often it stands there. How much a term tells is the divergence of
    its classes, counted by hands, from all classes alike; terms of any content tell nothing.
    """
    hands: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    counts: Counter[int] = Counter()
    all_hands: dict[str, set[str]] = defaultdict(set)
    for item in items:
        task = item.row.task
        if task is None:
            continue
        hand = item.row.template or item.row.source
        all_hands[task].add(hand)
        for term in {*(item.terms % TERMS).tolist()} - {0}:
            hands[term][task].add(hand)
            counts[term] += 1
    told: list[tuple[float, int]] = []
    scales: dict[int, float] = {}
    for term, by_task in hands.items():
        users = sum(map(len, by_task.values()))
        if users < HANDS_MIN or counts[term] < ROWS_MIN:
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
        scales[term] = scale
        told.append((-round(scale * math.sqrt(users), 9), term))
    kept = sorted(term for _, term in sorted(told)[:TERMS_MAX])
    places = np.zeros(TERMS, dtype=np.uint16)
    places[kept] = np.arange(1, 1 + len(kept))
    return Telling(
        Vocabulary(places, width=1 + len(kept)),
        np.array([0.0, *[scales[term] for term in kept]]),
    )


def arrays(items: Sequence[Read], telling: Telling) -> tuple[Array, Sparse]:
    """The features of all rows."""
    dense = np.stack([item.dense for item in items]) * DENSE_SCALES
    width, place_of = telling.vocabulary.width, telling.vocabulary.in_all_zones()
    places = [place_of.take(item.terms) for item in items]
    rows = [one[one % width > 0].tolist() for one in places]  # what is not known weighs nothing
    scales = term_scales(telling)
    return dense, Sparse(rows, [[scales[at] for at in row] for row in rows], len(scales))


def term_scales(telling: Telling) -> Array:
    """What a term in a zone counts at one and the same penalty."""
    return np.concatenate([telling.scales * scale for scale in ZONE_SCALES])


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
