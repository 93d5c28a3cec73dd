"""What an experiment found: each arm's numbers, and its difference to the control."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, count_of
from omni_grpc_client.experiments import Experiment


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """An estimate and its 95 % interval; a bound is None where the calls give none."""

    value: int
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmReport:
    """One arm.

    Attributes:
        arm: its name.
        calls: its calls.
        units: the units that made them.
        cost_nanousd: what they cost.
        saved_nanousd: what was saved by those that were compared with a premium model.
        metrics: its numbers, by name: `cost_nanousd_per_call`, `error_rate_ppm`, `latency_p50_ms`,
            `latency_p95_ms`, `token_count_per_kcall`, `saved_nanousd_per_call`; more may come.
            What nothing is known of is not there.
    """

    arm: str
    calls: int
    units: int
    cost_nanousd: int
    saved_nanousd: int
    metrics: Mapping[str, IntervalEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDifference:
    """An arm less the control, by one metric.

    Attributes:
        arm: the arm.
        metric: the metric, as in `ArmReport.metrics`.
        absolute: the difference, in the metric's unit; None where nothing is known.
        relative_ppm: as a share of the control's number, in millionths; None where that makes no
            sense.
        shown: whether a difference is shown: the interval leaves out zero, and both arms have at
            least 20 units.
        sentence: what that says, in plain words.
    """

    arm: str
    metric: str
    absolute: IntervalEstimate | None
    relative_ppm: IntervalEstimate | None
    shown: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport:
    """What an experiment found so far, from its newest 200000 calls.

    Attributes:
        experiment: `{scope}/experiments/{experiment}`.
        control: the arm that the others are compared with.
        arms: the arms, the control first.
        differences: by arm, then by metric.
        warnings: what makes the numbers doubtful, such as units that changed their arms.
    """

    experiment: str
    control: str
    arms: tuple[ArmReport, ...]
    differences: tuple[ArmDifference, ...]
    warnings: tuple[str, ...]
    raw: pb.ExperimentReport = field(repr=False, compare=False)


def get_experiment_report(
    experiment: Experiment | str,
) -> Call[pb.GetExperimentReportRequest, pb.GetExperimentReportResponse, ExperimentReport]:
    """GetExperimentReport."""
    name = experiment if isinstance(experiment, str) else experiment.name
    return Call(
        request=pb.GetExperimentReportRequest(name=name),
        parse=lambda response: _report(response.report),
        kind=Kind.READ,
    )


def _report(raw: pb.ExperimentReport) -> ExperimentReport:
    return ExperimentReport(
        experiment=raw.experiment,
        control=raw.control,
        arms=tuple(map(_arm, raw.arms)),
        differences=tuple(map(_difference, raw.differences)),
        warnings=tuple(raw.warnings),
        raw=raw,
    )


def _arm(raw: pb.ArmReport) -> ArmReport:
    return ArmReport(
        arm=raw.arm,
        calls=raw.call_count,
        units=raw.unit_count,
        cost_nanousd=raw.cost_nanousd,
        saved_nanousd=raw.saved_nanousd,
        metrics={
            one.metric: _estimate(one.estimate) for one in raw.metrics if one.HasField("estimate")
        },
    )


def _difference(raw: pb.ArmDifference) -> ArmDifference:
    return ArmDifference(
        arm=raw.arm,
        metric=raw.metric,
        absolute=_estimate(raw.absolute) if raw.HasField("absolute") else None,
        relative_ppm=_estimate(raw.relative_ppm) if raw.HasField("relative_ppm") else None,
        shown=raw.shown,
        sentence=raw.sentence,
    )


def _estimate(raw: pb.IntervalEstimate) -> IntervalEstimate:
    return IntervalEstimate(raw.value, count_of(raw, "low"), count_of(raw, "high"))
