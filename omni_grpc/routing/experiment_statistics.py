"""Intervals for an experiment whose units were drawn, and whose calls are what is measured.

Calls of one unit resemble each other, so a unit counts as one observation, however many calls it
made: every variance is taken over units (the jackknife of a ratio of sums). All intervals are 95 %,
two-sided, and use Student's t with as many degrees of freedom as the units are worth.
Pure; amounts are floats here, since they are estimates and never charged.
"""

import math
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95

LOG_MAX: Final = 700.0
"""Above it the exponential is no float."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Interval(msgspec.Struct, frozen=True):
    """An estimate and its 95 % interval; a bound that the calls do not give is None."""

    value: float
    low: float | None
    high: float | None

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside."""
        return (self.low is not None and self.low > value) or (
            self.high is not None and self.high < value
        )


class Estimate(msgspec.Struct, frozen=True):
    """A mean over calls with its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float

    @property
    def positive(self) -> Interval:
        """The interval of what cannot be below 0, taken on the logarithm."""
        if self.value <= 0:
            return self.interval
        found = Estimate(math.log(self.value), self.error / self.value, self.freedom).interval
        low, high = found.low, found.high
        return Interval(
            self.value,
            None if low is None else math.exp(low),
            None if high is None else math.exp(min(high, LOG_MAX)),
        )

    @property
    def interval(self) -> Interval:
        """Symmetric about the value."""
        reach = t_quantile(self.freedom) * self.error
        if not math.isfinite(reach):
            return Interval(self.value, None, None)
        return Interval(self.value, self.value - reach, self.value + reach)


def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """The two-sided quantile of Student's t; infinite below one degree of freedom.

    Exact for 1 and 2 degrees, else by the expansion of Cornish and Fisher, which is within 0.5 %.
    """
    if freedom < 1:
        return math.inf
    upper = (1 + level) / 2
    if freedom < 2:  # noqa: PLR2004 - between 1 and 2 the wider of the two
        return math.tan(math.pi * (upper - 0.5))
    if freedom < 3:  # noqa: PLR2004 - likewise
        return (2 * upper - 1) * math.sqrt(2 / (4 * upper * (1 - upper)))
    z, n = NormalDist().inv_cdf(upper), freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def mean_per_call(sums: Floats, counts: Floats) -> Estimate:
    """The mean over calls of what was summed by unit.

    Args:
        sums: by unit; the same shape as `counts`.
        counts: calls by unit; all above 0.
    """
    calls = float(counts.sum())
    value = float(sums.sum()) / calls
    units = len(counts)
    if units < 2:  # noqa: PLR2004 - one unit says nothing of others
        return Estimate(value, math.inf, 0.0)
    without = (sums.sum() - sums) / (calls - counts)  # each unit left out in turn
    rest = without - without.mean()
    error = math.sqrt((units - 1) / units * float(rest @ rest))
    # Few units that make most of the calls are worth no more than their number.
    worth = calls**2 / float(counts @ counts)
    return Estimate(value, error, max(1.0, min(units, worth) - 1))


def difference(one: Estimate, other: Estimate) -> Interval:
    """`one` less `other`, as Welch has it."""
    return _welch(one, other).interval


def relative(one: Estimate, other: Estimate) -> Interval | None:
    """How much `one` is above `other`, as a share of it; None unless both are above 0.

    Taken on the logarithm, where the ratio of two means is nearer to normal.
    """
    if one.value <= 0 or other.value <= 0:
        return None
    logs = [
        Estimate(math.log(each.value), each.error / each.value, each.freedom)
        for each in (one, other)
    ]
    return _unlogged(_welch(*logs).interval)


def share(hits: Floats, counts: Floats, design: float) -> Interval:
    """A share of calls, by Wilson's interval on as many calls as the units are worth.

    Args:
        hits: by unit.
        counts: calls by unit.
        design: how many calls say as much as one independent one, as `design_effect` finds.
    """
    calls = float(counts.sum())
    p, n = float(hits.sum()) / calls, calls / design
    z = t_quantile(mean_per_call(hits, counts).freedom)
    if not math.isfinite(z):
        return Interval(p, 0.0, 1.0)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, middle - reach), min(1.0, middle + reach))


def design_effect(arms: list[tuple[Floats, Floats]]) -> float:
    """By how much the variance of a share over units exceeds that of independent calls.

    Over all arms together, since one arm alone may have hardly any hit; at least 1.

    Args:
        arms: hits and calls by unit, of each arm.
    """
    over_units = of_calls = 0.0
    for hits, counts in arms:
        calls, units = float(counts.sum()), len(counts)
        if units < 2:  # noqa: PLR2004 - one unit says nothing of others
            continue
        p = float(hits.sum()) / calls
        rest = hits - p * counts
        over_units += units / (units - 1) * float(rest @ rest)
        of_calls += calls * p * (1 - p)
    return max(1.0, over_units / of_calls) if of_calls > 0 else 1.0


def quantile(values: Floats, units: Whole, p: float) -> Interval:
    """A quantile of the calls, by Woodruff's interval: the quantiles at the bounds of its share.

    Args:
        values: by call; at least one.
        units: the number of each call's unit; the same shape.
        p: which quantile, 0 to 1.
    """
    ranked = np.sort(values)
    value = _at(ranked, p)
    below = np.bincount(units, weights=(values <= value)).astype(np.float64)
    counts = np.bincount(units).astype(np.float64)
    there = counts > 0
    found = mean_per_call(below[there], counts[there])
    # Never narrower than if calls were independent: few units may agree by chance.
    error = max(found.error, math.sqrt(p * (1 - p) / len(values)))
    reach = t_quantile(found.freedom) * error
    low = _at(ranked, p - reach) if p - reach > 0 else None
    high = _at(ranked, p + reach) if p + reach < 1 else None
    return Interval(value, low, high)


def recovered(one: Interval, other: Interval) -> Interval:
    """`one` less `other`, from their intervals alone (MOVER)."""
    value = one.value - other.value
    low = high = None
    if one.low is not None and other.high is not None:
        low = value - math.hypot(one.value - one.low, other.high - other.value)
    if one.high is not None and other.low is not None:
        high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, low, high)


def recovered_relative(one: Interval, other: Interval) -> Interval | None:
    """How much `one` is above `other`, as a share of it, likewise; None unless both are above 0."""
    if one.value <= 0 or other.value <= 0:
        return None
    return _unlogged(recovered(_logged(one), _logged(other)))


def _welch(one: Estimate, other: Estimate) -> Estimate:
    first, second = one.error**2, other.error**2
    error = math.sqrt(first + second)
    value = one.value - other.value
    if not math.isfinite(error):
        return Estimate(value, math.inf, 0.0)
    if error == 0:
        return Estimate(value, 0.0, min(one.freedom, other.freedom))
    freedom = (first + second) ** 2 / (first**2 / one.freedom + second**2 / other.freedom)
    return Estimate(value, error, freedom)


def _at(ranked: Floats, p: float) -> float:
    """The smallest value that at least a share `p` of all does not exceed."""
    place = math.ceil(p * len(ranked) - 1e-9) - 1
    return float(ranked[min(len(ranked) - 1, max(0, place))])


def _logged(interval: Interval) -> Interval:
    low, high = interval.low, interval.high
    return Interval(
        math.log(interval.value),
        math.log(low) if low is not None and low > 0 else None,
        math.log(high) if high is not None and high > 0 else None,
    )


def _unlogged(interval: Interval) -> Interval:
    low, high = interval.low, interval.high
    return Interval(
        math.expm1(interval.value),
        None if low is None else math.expm1(low),
        None if high is None else math.expm1(min(high, LOG_MAX)),
    )
