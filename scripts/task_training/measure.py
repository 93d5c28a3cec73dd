"""Numbers that say how good the analysis is on sources that it was not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def f1_by_class(truth: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """F1 of each class that occurs in the truth; their mean is the macro-F1."""
    scores: dict[str, float] = {}
    for name in sorted(set(truth)):
        hits = sum(a == name == b for a, b in zip(truth, said, strict=True))
        wrong = sum((a == name) != (b == name) for a, b in zip(truth, said, strict=True))
        scores[name] = 2 * hits / (2 * hits + wrong)
    return scores


def macro_f1(truth: Sequence[str], said: Sequence[str]) -> float:
    """The mean of the classes' F1."""
    scores = f1_by_class(truth, said)
    return sum(scores.values()) / len(scores)


def precision_recall(truth: Array, said: Array) -> tuple[float, float]:
    """Of a yes or no."""
    hits = float((truth * said).sum())
    return hits / max(1.0, float(said.sum())), hits / max(1.0, float(truth.sum()))


def rank_correlation(left: Array, right: Array) -> float:
    """Spearman's, ties by their mean rank; 0 where one side is constant."""
    one, two = _ranks(left), _ranks(right)
    spread = float(one.std() * two.std())
    return float(((one - one.mean()) * (two - two.mean())).mean() / spread) if spread else 0.0


def best_threshold(truth: Array, chances: Array) -> float:
    """The chance from which on a yes is said, by the best mean of precision and recall (F1)."""
    best, at = -1.0, 0.5
    for threshold in np.arange(0.3, 0.71, 0.05):
        precision, recall = precision_recall(truth, (chances >= threshold).astype(float))
        score = 2 * precision * recall / max(1e-9, precision + recall)
        if score > best + 1e-9:
            best, at = score, float(threshold)
    return round(at, 2)


def temperature(logits: Array, truth: Array) -> float:
    """What logits are divided by so that probabilities are as often right as they say."""
    best, at = np.inf, 1.0
    for tried in np.arange(0.5, 4.01, 0.05):
        shifted = logits / tried
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -float(logs[np.arange(len(truth)), truth].mean())
        if loss < best:
            best, at = loss, float(tried)
    return round(at, 2)


def table(rows: Mapping[str, Sequence[object]], head: Sequence[str]) -> str:
    """Rows as a table in Markdown."""
    lines = [" | ".join(("", *head)), "|".join(["---"] * (len(head) + 1))]
    for name, cells in rows.items():
        shown = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(" | ".join((name, *shown)))
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Array = ((ends - counts + ends - 1) / 2.0)[inverse]
    return ranks
