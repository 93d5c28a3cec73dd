"""Reports: intervals that hold what they say, by simulation with a fixed seed, and plain words."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from omni_grpc.routing.experiment import Arm, Experiment
from omni_grpc.routing.experiment_report import ArmCall, Difference, ExperimentReport, report
from omni_grpc.routing.experiment_statistics import (
    Estimate,
    Interval,
    design_effect,
    mean_per_call,
    quantile,
    recovered,
    recovered_relative,
    relative,
    share,
    t_quantile,
)
from omni_grpc.routing.experiment_words import Metric

HALF = Experiment(name="x", arms=(Arm(name="b", share_ppm=500_000),))

UNITS = 40
ROUNDS = 2_000
LOWEST, HIGHEST = 0.93, 0.98
"""Where the coverage of a 95 % interval may lie: 2,000 rounds leave a deviation of 0.5 points."""


class Sample:
    """One arm's calls: few or many a unit, which resemble each other; costs are skewed."""

    def __init__(self, random: np.random.Generator, dearer: float, errors: float) -> None:
        self.counts = (1 + random.geometric(0.2, UNITS)).astype(np.float64)
        self.units = np.repeat(np.arange(UNITS), self.counts.astype(np.int64))
        calls = len(self.units)
        of_unit = random.lognormal(0, 0.7, UNITS)[self.units]
        self.cost = dearer * of_unit * random.lognormal(0, 1.0, calls)
        slow = np.exp(random.normal(0, 0.4, UNITS))[self.units]
        self.latency = dearer * 500 * slow * random.lognormal(0, 0.8, calls)
        risk = random.beta(8 * errors, 8 * (1 - errors), UNITS)[self.units]
        self.error = (random.random(calls) < risk).astype(np.float64)

    def sums(self, values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.bincount(self.units, weights=values, minlength=UNITS)


def holds(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return (interval.low is None or interval.low <= truth) and (
        interval.high is None or truth <= interval.high
    )


def test_95_percent_intervals_hold_the_truth_in_about_95_percent_of_simulations() -> None:
    random = np.random.default_rng(20300101)
    spread = math.sqrt(0.4**2 + 0.8**2)
    truths = {"p50": 500.0, "p95": 500.0 * math.exp(1.6449 * spread)}
    held = dict.fromkeys(
        ("cost", "errors", "errors_difference", "p50", "p50_ratio", "p95", "p95_ratio"), 0
    )
    for _ in range(ROUNDS):
        one, other = Sample(random, 1.3, 0.08), Sample(random, 1.0, 0.05)
        held["cost"] += holds(
            relative(
                mean_per_call(one.sums(one.cost), one.counts),
                mean_per_call(other.sums(other.cost), other.counts),
            ),
            0.3,
        )
        hits = [(each.sums(each.error), each.counts) for each in (one, other)]
        design = design_effect(hits)
        shares = [share(*each, design) for each in hits]
        held["errors"] += holds(shares[0], 0.08)
        held["errors_difference"] += holds(recovered(shares[0], shares[1]), 0.03)
        for name, p in (("p50", 0.5), ("p95", 0.95)):
            found = [quantile(each.latency, each.units, p) for each in (one, other)]
            held[name] += holds(found[1], truths[name])
            held[f"{name}_ratio"] += holds(recovered_relative(found[0], found[1]), 0.3)
    coverage = {name: count / ROUNDS for name, count in held.items()}
    assert all(LOWEST <= part <= HIGHEST for part in coverage.values()), coverage


def test_calls_that_are_taken_for_units_would_be_too_sure() -> None:
    """The reason for units: the same data, each call by itself, miss far too often."""
    random = np.random.default_rng(7)
    held = {"units": 0, "calls": 0}
    for _ in range(200):
        one, other = Sample(random, 1.0, 0.05), Sample(random, 1.0, 0.05)
        by_unit = [mean_per_call(each.sums(each.cost), each.counts) for each in (one, other)]
        by_call = [mean_per_call(each.cost, np.ones(len(each.cost))) for each in (one, other)]
        held["units"] += holds(relative(*by_unit), 0.0)
        held["calls"] += holds(relative(*by_call), 0.0)
    assert held["calls"] < 175 < held["units"]


@pytest.mark.parametrize(
    ("freedom", "known"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1e9, 1.960)],
)
def test_students_t_is_that_of_the_tables(freedom: float, known: float) -> None:
    assert t_quantile(freedom) == pytest.approx(known, rel=0.005)


def test_one_unit_says_nothing_of_others() -> None:
    found = mean_per_call(np.array([30.0]), np.array([3.0]))
    assert found.interval == Interval(10.0, None, None)
    assert Estimate(0.0, 0.0, 5.0).positive == Interval(0.0, 0.0, 0.0)


def calls(
    arm: str,
    units: int,
    each: int = 4,
    cost: float = 1_000.0,
    reason: str = "OK",
    seed: int = 1,
    latency: float = 100.0,
) -> list[ArmCall]:
    random = np.random.default_rng(seed)
    return [
        ArmCall(
            arm=arm,
            unit=f"{arm}-{unit}",
            cost_nanousd=int(cost * random.lognormal(0, 0.2)),
            reason=reason,
            latency_ms=int(latency * random.lognormal(0, 0.2)),
            tokens=int(100 * random.lognormal(0, 0.2)),
            saved_nanousd=500,
        )
        for unit in range(units)
        for _ in range(each)
    ]


def found(made: Sequence[ArmCall], metric: Metric, of: Experiment = HALF) -> Difference:
    return next(one for one in report(of, made).differences if one.metric is metric)


def test_a_cheaper_arm_is_told_with_its_interval() -> None:
    made = calls("control", 200) + calls("b", 200, cost=880, seed=2)
    cost = found(made, Metric.COST)
    assert cost.shown
    assert cost.relative is not None
    assert cost.relative.low is not None
    assert cost.relative.high is not None
    assert -0.15 < cost.relative.low < -0.12 < cost.relative.high < -0.09
    assert cost.sentence.startswith("cost per call: b is 1")
    assert "% lower than control (" in cost.sentence


def test_no_difference_is_told_as_none_shown() -> None:
    made = calls("control", 200) + calls("b", 200, seed=2)
    for metric in (Metric.COST, Metric.ERRORS, Metric.LATENCY_P50, Metric.TOKENS):
        one = found(made, metric)
        assert not one.shown, one
        assert "no difference is shown (b: " in one.sentence
        assert "lower to" in one.sentence


def test_errors_and_latency_are_compared_and_only_answers_are_timed() -> None:
    made = calls("control", 100, latency=100) + calls("b", 100, latency=300, seed=2)
    made += calls("b", 30, reason="PROVIDER_UNAVAILABLE", latency=1, seed=3)
    made += calls("control", 30, reason="CANCELLED", latency=1, seed=4)
    errors = found(made, Metric.ERRORS)
    assert errors.shown
    assert "points higher than control" in errors.sentence
    slower = found(made, Metric.LATENCY_P95)
    assert slower.relative is not None
    assert slower.relative.value == pytest.approx(2.0, abs=0.3)
    control = report(HALF, made).arms[0]
    assert control.metrics[Metric.ERRORS].value == 0.0
    assert control.metrics[Metric.LATENCY_P50].value == pytest.approx(100, rel=0.1)


def test_too_few_units_are_too_few_however_many_their_calls() -> None:
    one = found(calls("control", 50) + calls("b", 7, each=500, cost=10), Metric.COST)
    assert not one.shown
    assert one.sentence == (
        "cost per call: too few to tell; b has 7 units (end users, or keys) of at least 20."
    )


def test_an_arm_without_calls_is_listed_and_nothing_is_said_of_it() -> None:
    empty: ExperimentReport = report(HALF, [])
    assert [(arm.arm, arm.calls, arm.metrics) for arm in empty.arms] == [
        ("control", 0, {}),
        ("b", 0, {}),
    ]
    assert empty.differences == ()
    assert empty.warnings == ()
    assert report(HALF, calls("b", 30)).differences == ()


def test_the_first_arm_is_the_control_where_no_unit_is_left() -> None:
    full = Experiment(
        name="x", arms=(Arm(name="a", share_ppm=500_000), Arm(name="b", share_ppm=500_000))
    )
    made = calls("a", 60) + calls("b", 60, cost=2_000)
    assert report(full, made).control == "a"
    assert found(made, Metric.COST, full).shown


def test_what_makes_a_report_doubtful_is_told() -> None:
    skewed = report(HALF, calls("control", 400) + calls("b", 200)).warnings
    assert len(skewed) == 2
    assert "control has 400 of 600 units where its share would give 300" in skewed[0]
    both = [
        ArmCall(arm=arm, unit=f"u{n}", cost_nanousd=1, reason="OK", latency_ms=None, tokens=1,
                saved_nanousd=None)
        for arm in ("control", "b", "dropped") for n in range(30)
    ]  # fmt: skip
    told = report(HALF, both, warnings=("said before",)).warnings
    assert told[0] == "said before"
    assert told[1].startswith("30 calls are of arms that the experiment no longer has")
    assert told[2].startswith("30 units were in more than one arm")


def test_calls_that_cost_nothing_make_no_ratio_and_no_error() -> None:
    free = calls("control", 30, cost=0) + calls("b", 30, cost=0)
    one = found(free, Metric.COST)
    assert one.relative is None
    assert not one.shown
    dearer = found(calls("control", 30, cost=0) + calls("b", 30, cost=5_000), Metric.COST)
    assert dearer.shown
    assert "USD higher than control" in dearer.sentence
