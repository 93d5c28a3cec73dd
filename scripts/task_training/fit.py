"""Fits all heads at once: one matrix from features to logits, by L-BFGS on the whole of the data.

Dense features are a matrix, terms are lists of places; both are scaled before, so that one ridge
penalty suits all. Float64 throughout and one thread, so that the result does not depend on chance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]


_STEP_MIN = 1e-10
_CURVE_MIN = 1e-12
_GAIN_MIN = 1e-7
"""Below these, L-BFGS stops, skips a pair, or is done."""


class Sparse:
    """Rows of weighted places: `values[i]` at column `columns[i]`, rows cut at `starts`."""

    def __init__(self, rows: list[list[int]], scales: list[list[float]], width: int) -> None:
        counts = np.array([len(row) for row in rows], dtype=np.int64)
        self.columns: Places = np.array([at for row in rows for at in row], dtype=np.int64)
        self.rows: Places = np.repeat(np.arange(len(rows)), counts)
        self.values: Array = np.array([one for row in scales for one in row], dtype=np.float64)
        self.height, self.width = len(rows), width
        self._by_column = np.argsort(self.columns, kind="stable")
        self._filled_rows = np.flatnonzero(counts)
        self._row_starts = np.concatenate([[0], np.cumsum(counts)])[self._filled_rows]
        ordered = self.columns[self._by_column]
        self._filled_columns, self._column_starts = np.unique(ordered, return_index=True)

    def times(self, weights: Array) -> Array:
        """`X @ weights`."""
        out = np.zeros((self.height, weights.shape[1]))
        if len(self.columns):
            gathered = weights[self.columns] * self.values[:, None]
            out[self._filled_rows] = np.add.reduceat(gathered, self._row_starts, axis=0)
        return out

    def transposed_times(self, other: Array) -> Array:
        """`X.T @ other`."""
        out = np.zeros((self.width, other.shape[1]))
        if len(self.columns):
            order = self._by_column
            gathered = other[self.rows[order]] * self.values[order][:, None]
            out[self._filled_columns] = np.add.reduceat(gathered, self._column_starts, axis=0)
        return out


@dataclass(frozen=True)
class Targets:
    """What the heads shall say.

    Attributes:
        classes: `float[N, K]`, one-hot; the first K outputs are a softmax.
        class_weights: `float[N]`, 0 where the class is not known.
        shares: `float[N, H]`, 0 to 1; the other H outputs are sigmoids.
        share_weights: `float[N, H]`, 0 where not known.
    """

    classes: Array
    class_weights: Array
    shares: Array
    share_weights: Array


def fit(
    dense: Array, sparse: Sparse, targets: Targets, *, penalty: float, steps: int
) -> tuple[Array, Array]:
    """Weights of the dense features (the last is the bias) and of the places."""
    kinds = targets.classes.shape[1]
    outputs = kinds + targets.shares.shape[1]
    wide = dense.shape[1]
    free = np.full((wide + sparse.width, 1), penalty)
    free[wide - 1] = 0.0

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(-1, outputs)
        logits = dense @ weights[:wide] + sparse.times(weights[wide:])
        one, of_classes = _softmax_loss(logits[:, :kinds], targets)
        two, of_shares = _sigmoid_loss(logits[:, kinds:], targets)
        slope = np.concatenate([of_classes, of_shares], axis=1)
        ridge = free * weights
        gradient = np.concatenate([dense.T @ slope, sparse.transposed_times(slope)]) + ridge
        return one + two + 0.5 * float((ridge * weights).sum()), gradient.ravel()

    start = np.zeros((wide + sparse.width) * outputs)
    weights = minimise(loss, start, steps=steps).reshape(-1, outputs)
    return weights[:wide], weights[wide:]


def _softmax_loss(logits: Array, targets: Targets) -> tuple[float, Array]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    logs = shifted - np.log(sums)
    weights = targets.class_weights[:, None]
    value = -float((weights * targets.classes * logs).sum())
    return value, weights * (powers / sums - targets.classes)


def _sigmoid_loss(logits: Array, targets: Targets) -> tuple[float, Array]:
    shares = targets.shares
    value = np.logaddexp(0.0, logits) - shares * logits
    chances = 1.0 / (1.0 + np.exp(-logits))
    return (
        float((targets.share_weights * value).sum()),
        targets.share_weights * (chances - shares),
    )


def minimise(
    loss: Callable[[Array], tuple[float, Array]], start: Array, *, steps: int, memory: int = 8
) -> Array:
    """L-BFGS with halving steps; stops after `steps`, or where nothing gets better."""
    point, (value, slope) = start, loss(start)
    pairs: list[tuple[Array, Array, float]] = []
    for _ in range(steps):
        direction = -_scaled(slope, pairs)
        descent = float(slope @ direction)
        step = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(slope).sum()))
        while True:
            tried = point + step * direction
            new_value, new_slope = loss(tried)
            if new_value <= value + 1e-4 * step * descent:
                break
            step *= 0.5
            if step < _STEP_MIN:
                return point
        moved, turned = tried - point, new_slope - slope
        curve = float(moved @ turned)
        if curve > _CURVE_MIN:
            pairs = [*pairs[-(memory - 1) :], (moved, turned, 1.0 / curve)]
        done = value - new_value < _GAIN_MIN * abs(value)
        point, value, slope = tried, new_value, new_slope
        if done:
            break
    return point


def _scaled(slope: Array, pairs: list[tuple[Array, Array, float]]) -> Array:
    """The two loops of L-BFGS: the slope times an estimate of the inverse curvature."""
    result = slope.copy()
    kept: list[float] = []
    for moved, turned, inverse in reversed(pairs):
        share = inverse * float(moved @ result)
        kept.append(share)
        result -= share * turned
    if pairs:
        moved, turned, inverse = pairs[-1]
        result *= 1.0 / (inverse * float(turned @ turned))
    for (moved, turned, inverse), share in zip(pairs, reversed(kept), strict=True):
        result += moved * (share - inverse * float(turned @ result))
    return result
