"""What an experiment found: each arm's numbers with intervals, and its difference to the control.

Pure: from the calls, which the store reads. A difference is told only where its 95 % interval
leaves out zero, and not before enough units were seen. Each interval is for itself: who looks at
many of them, or every day until one pleases, will meet some that are wrong.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from omni_grpc.core.money import PPM
from omni_grpc.routing.experiment import CONTROL, Experiment
from omni_grpc.routing.experiment_statistics import (
    Estimate,
    Floats,
    Interval,
    Whole,
    design_effect,
    difference,
    mean_per_call,
    quantile,
    recovered,
    recovered_relative,
    relative,
    share,
)
from omni_grpc.routing.experiment_words import METRIC_WORDS, Metric, sentence

UNITS_MIN: Final = 20
"""Units of an arm before anything is said of it: with fewer, 95 % intervals of skewed costs held
the truth in 93 % of simulations or less."""

ASSIGNMENT_DEVIATIONS_MAX: Final = 4.0
"""An arm whose units are further from its share, in standard deviations, was not drawn so: by
chance that happens once in 16,000."""

OK: Final = "OK"
CANCELLED: Final = "CANCELLED"


class ArmCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an experiment.

    Attributes:
        arm: its arm.
        unit: what was assigned: the end user, or the key.
        cost_nanousd: what was charged.
        reason: `OK`, `CANCELLED`, or an error's reason.
        latency_ms: from its arrival to its end; None if not known.
        tokens: of prompt and answer.
        saved_nanousd: against the premium model; None where it was compared with none.
    """

    arm: str
    unit: str
    cost_nanousd: int
    reason: str
    latency_ms: int | None
    tokens: int
    saved_nanousd: int | None


class ArmReport(msgspec.Struct, frozen=True, kw_only=True):
    """One arm. A metric of which nothing is known is not among `metrics`.

    Attributes:
        arm: its name.
        calls: all of its calls.
        units: how many made them.
        cost_nanousd: of all its calls.
        saved_nanousd: of those that were compared with a premium model.
        metrics: by name.
    """

    arm: str
    calls: int
    units: int
    cost_nanousd: int
    saved_nanousd: int
    metrics: Mapping[Metric, Interval]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """An arm less the control, by one metric.

    Attributes:
        arm: its name.
        metric: by what.
        absolute: in the metric's unit.
        relative: as a share of the control's; None where that makes no sense.
        shown: whether the interval leaves out zero, and enough units were seen.
        sentence: what that says, in plain words.
    """

    arm: str
    metric: Metric
    absolute: Interval
    relative: Interval | None
    shown: bool
    sentence: str


class ExperimentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment found so far.

    Attributes:
        experiment: its full name.
        control: the arm that the others are compared with.
        arms: the control first.
        differences: by arm, then by metric.
        warnings: what makes the numbers doubtful.
    """

    experiment: str
    control: str
    arms: tuple[ArmReport, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]


class _Arm:
    """One arm's calls, summed by unit.

    Attributes:
        estimates: the means over calls, by metric.
        intervals: all metrics.
    """

    def __init__(self, name: str, calls: list[ArmCall]) -> None:
        self.name = name
        numbers: dict[str, int] = {}
        self._units: Whole = np.array(
            [numbers.setdefault(call.unit, len(numbers)) for call in calls], dtype=np.int64
        )
        self._calls = calls
        self.units = len(numbers)
        self.counts = self._sums(np.ones(len(calls)))
        self.errors = self._sums(
            np.array([call.reason not in (OK, CANCELLED) for call in calls], dtype=np.float64)
        )
        self.estimates: dict[Metric, Estimate] = {}
        self.intervals: dict[Metric, Interval] = {}
        if not calls:
            return
        costs = np.array([call.cost_nanousd for call in calls], dtype=np.float64)
        tokens = np.array([call.tokens for call in calls], dtype=np.float64)
        for metric, values in ((Metric.COST, costs), (Metric.TOKENS, tokens)):
            self.estimates[metric] = mean_per_call(self._sums(values), self.counts)
            self.intervals[metric] = self.estimates[metric].positive
        self._saved()
        self._latencies()

    def measure_errors(self, design: float) -> None:
        """The error rate, once the design effect of all arms is known."""
        if self._calls:
            self.intervals[Metric.ERRORS] = share(self.errors, self.counts, design)

    def report(self) -> ArmReport:
        """The arm's numbers."""
        return ArmReport(
            arm=self.name,
            calls=len(self._calls),
            units=self.units,
            cost_nanousd=sum(call.cost_nanousd for call in self._calls),
            saved_nanousd=sum(call.saved_nanousd or 0 for call in self._calls),
            metrics={
                metric: self.intervals[metric] for metric in Metric if metric in self.intervals
            },
        )

    def _saved(self) -> None:
        compared = [n for n, call in enumerate(self._calls) if call.saved_nanousd is not None]
        if not compared:
            return
        values = np.array([self._calls[n].saved_nanousd for n in compared], dtype=np.float64)
        units = self._units[compared]
        counts = np.bincount(units).astype(np.float64)
        sums = np.bincount(units, weights=values).astype(np.float64)
        there = counts > 0
        found = mean_per_call(sums[there], counts[there])
        self.estimates[Metric.SAVED], self.intervals[Metric.SAVED] = found, found.interval

    def _latencies(self) -> None:
        """Of answered calls: a refusal is quick, and a cancelled call took what its caller gave."""
        timed = [
            n
            for n, call in enumerate(self._calls)
            if call.reason == OK and call.latency_ms is not None
        ]
        if not timed:
            return
        values = np.array([self._calls[n].latency_ms for n in timed], dtype=np.float64)
        units = self._units[timed]
        self.intervals[Metric.LATENCY_P50] = quantile(values, units, 0.5)
        self.intervals[Metric.LATENCY_P95] = quantile(values, units, 0.95)

    def _sums(self, values: Floats) -> Floats:
        return np.bincount(self._units, weights=values, minlength=self.units).astype(np.float64)


def report(
    experiment: Experiment, calls: Iterable[ArmCall], *, warnings: Iterable[str] = ()
) -> ExperimentReport:
    """What the calls of an experiment show. Takes CPU: about a second for 200,000 calls.

    Args:
        experiment: as it is now.
        calls: of whatever arms; those of no arm of the experiment are told in a warning.
        warnings: what is known to be doubtful already.
    """
    by_arm: dict[str, list[ArmCall]] = {name: [] for name in experiment.arm_names}
    strange = 0
    for call in calls:
        if call.arm in by_arm:
            by_arm[call.arm].append(call)
        else:
            strange += 1
    arms = [_Arm(name, made) for name, made in by_arm.items()]
    design = design_effect([(arm.errors, arm.counts) for arm in arms if arm.units])
    for arm in arms:
        arm.measure_errors(design)
    control = arms[0]
    return ExperimentReport(
        experiment=experiment.full_name,
        control=control.name,
        arms=tuple(arm.report() for arm in arms),
        differences=tuple(
            _difference(arm, control, metric)
            for arm in arms[1:]
            for metric in Metric
            if metric in arm.intervals and metric in control.intervals
        ),
        warnings=(*warnings, *_doubts(experiment, by_arm, strange)),
    )


def _difference(arm: _Arm, control: _Arm, metric: Metric) -> Difference:
    if metric in arm.estimates:
        absolute = difference(arm.estimates[metric], control.estimates[metric])
        share_of = relative(arm.estimates[metric], control.estimates[metric])
    else:
        absolute = recovered(arm.intervals[metric], control.intervals[metric])
        share_of = recovered_relative(arm.intervals[metric], control.intervals[metric])
    if metric in (Metric.ERRORS, Metric.SAVED):
        share_of = None  # both may be near 0, or below it
    few = min((arm.units, arm.name), (control.units, control.name))
    enough = few[0] >= UNITS_MIN
    shown = enough and (absolute if share_of is None else share_of).excludes(0.0)
    if not enough:
        words = (
            f"{METRIC_WORDS[metric]}: too few to tell; {few[1]} has {few[0]} units (end users, or "
            f"keys) of at least {UNITS_MIN}."
        )
    else:
        words = sentence(arm.name, control.name, metric, absolute, share_of, shown=shown)
    return Difference(
        arm=arm.name,
        metric=metric,
        absolute=absolute,
        relative=share_of,
        shown=shown,
        sentence=words,
    )


def _doubts(
    experiment: Experiment, by_arm: Mapping[str, list[ArmCall]], strange: int
) -> Iterable[str]:
    """What makes the numbers doubtful."""
    if strange:
        yield (
            f"{strange:,} calls are of arms that the experiment no longer has, and are left out: "
            "arms were changed while it ran."
        )
    units = {name: {call.unit for call in made} for name, made in by_arm.items()}
    everyone: set[str] = set().union(*units.values())
    moved = sum(map(len, units.values())) - len(everyone)
    if moved:
        yield (
            f"{moved:,} units were in more than one arm: shares or the salt were changed while it "
            "ran. Begin a new experiment to compare the arms as they are now."
        )
    shares = {arm.name: arm.share_ppm / PPM for arm in experiment.arms}
    shares.setdefault(CONTROL, 1 - sum(shares.values()))
    for name, seen in units.items():
        expected = shares[name] * len(everyone)
        deviation = (expected * (1 - shares[name])) ** 0.5
        if abs(len(seen) - expected) > ASSIGNMENT_DEVIATIONS_MAX * max(deviation, 1.0):
            yield (
                f"{name} has {len(seen):,} of {len(everyone):,} units where its share would give "
                f"{expected:,.0f}: something keeps calls out of an arm, so the arms cannot be "
                "compared."
            )
