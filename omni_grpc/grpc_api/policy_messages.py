"""Policies, experiments and their reports: between the contract's messages and the domain's values.

A message's fields have the names of the domain's, so that one walk reads any of them, and faults
are told as those of a file are.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf import field_mask_pb2, timestamp_pb2
from google.protobuf.message import Message
from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.routing import (
    Entry,
    Experiment,
    ExperimentReport,
    Fault,
    Interval,
    Metric,
    Policy,
    Source,
    read,
)

RULE: Final = "rule"
"""In an update mask: whichever rule is set."""

_OUTPUT_ONLY: Final = frozenset(
    {"name", "etag", "create_time", "update_time", "update_by", "source", "hidden", "fault"}
)
_RULES: Final[Mapping[str, Callable[..., Message]]] = {
    "score": pb.ScoreRule,
    "deterministic": pb.DeterministicRule,
    "weighted": pb.WeightedRule,
    "cost": pb.CostRule,
    "performance": pb.PerformanceRule,
    "hybrid": pb.HybridRule,
    "region": pb.RegionRule,
}
_PREFER: Final = {
    pb.PERFORMANCE_PREFERENCE_UNSPECIFIED: "quality",
    pb.PERFORMANCE_PREFERENCE_QUALITY: "quality",
    pb.PERFORMANCE_PREFERENCE_SPEED: "speed",
}
_SOURCES: Final = {
    Source.DATABASE: pb.RULE_SOURCE_DATABASE,
    Source.FILE: pb.RULE_SOURCE_FILE,
}
_METRICS: Final = {
    Metric.COST: ("cost_nanousd_per_call", 1),
    Metric.ERRORS: ("error_rate_ppm", 1_000_000),
    Metric.LATENCY_P50: ("latency_p50_ms", 1),
    Metric.LATENCY_P95: ("latency_p95_ms", 1),
    Metric.TOKENS: ("token_count_per_kcall", 1_000),
    Metric.SAVED: ("saved_nanousd_per_call", 1),
}
"""A metric's name on the wire, and what its value is multiplied by."""

_Item = TypeVar("_Item", Policy, Experiment)
_Message = TypeVar("_Message", pb.RoutingPolicy, pb.Experiment)


def policy_of(message: pb.RoutingPolicy, scope: str, policy_id: str) -> Policy:
    """A policy, whose `name` is not looked at.

    Raises:
        FieldInvalid: with every value that cannot be.
    """
    values = _values(message)
    rule = message.WhichOneof(RULE)
    if rule is not None:
        values[RULE] = {**values.pop(rule), "kind": rule}
    return _read(values | {"scope": scope, "name": policy_id}, Policy)


def experiment_of(message: pb.Experiment, scope: str, experiment_id: str) -> Experiment:
    """An experiment, whose `name` is not looked at.

    Raises:
        FieldInvalid: with every value that cannot be.
    """
    return _read(_values(message) | {"scope": scope, "name": experiment_id}, Experiment)


def merged(old: _Message, new: _Message, mask: field_mask_pb2.FieldMask) -> _Message:
    """`old` with the fields of a mask from `new`; `new` alone without a mask.

    Raises:
        FieldInvalid: the mask names what is not there.
    """
    if not mask.paths:
        return new
    descriptor = old.DESCRIPTOR
    paths = list(mask.paths)
    found = copy.deepcopy(old)
    if RULE in paths and RULE in descriptor.oneofs_by_name:
        paths = [path for path in paths if path != RULE]
        found.ClearField(RULE)
        paths += [name for name in _RULES if new.HasField(name)]
    mask = field_mask_pb2.FieldMask(paths=paths)
    # The stubs know only the pure Python descriptors.
    if not mask.IsValidForDescriptor(descriptor):  # type: ignore[arg-type]
        known = [field.name for field in descriptor.fields if field.name not in _OUTPUT_ONLY]
        raise FieldInvalid(
            f"`update_mask` may name {', '.join(known)} and what is in them.", field="update_mask"
        )
    mask.MergeMessage(new, found, replace_message_field=True, replace_repeated_field=True)
    for path in paths:
        field = descriptor.fields_by_name.get(path)
        if field is not None and field.has_presence and not new.HasField(path):
            found.ClearField(path)
    return found


def policy_message(entry: Entry) -> pb.RoutingPolicy:
    """A policy with what is known about it."""
    policy = entry.item
    if not isinstance(policy, Policy):
        raise TypeError("no policy")
    plain = _plain(policy.rule)
    kind = plain.pop("kind")
    if kind == "performance":
        preferences = {word: number for number, word in _PREFER.items()}
        plain = {"prefer": preferences[plain["prefer"]]}
    rule: dict[str, Any] = {kind: _RULES[kind](**plain)}  # as messages take them
    return pb.RoutingPolicy(
        name=policy.full_name,
        description=policy.description,
        order=policy.order,
        active=policy.active,
        when=pb.PolicyCondition(**_plain(policy.when)),
        limits=pb.PolicyLimits(**_plain(policy.limits)),
        fallbacks=policy.fallbacks,
        **rule,
        **_about(entry),
    )


def experiment_message(entry: Entry) -> pb.Experiment:
    """An experiment with what is known about it."""
    experiment = entry.item
    if not isinstance(experiment, Experiment):
        raise TypeError("no experiment")
    return pb.Experiment(
        name=experiment.full_name,
        description=experiment.description,
        when=pb.PolicyCondition(**_plain(experiment.when)),
        arms=[pb.ExperimentArm(**_plain(arm)) for arm in experiment.arms],
        salt=experiment.salt,
        start_time=_timestamp(experiment.start_time),
        end_time=_timestamp(experiment.end_time),
        **_about(entry),
    )


def report_message(report: ExperimentReport) -> pb.ExperimentReport:
    """A report, in whole numbers."""
    return pb.ExperimentReport(
        experiment=report.experiment,
        control=report.control,
        arms=[
            pb.ArmReport(
                arm=arm.arm,
                call_count=arm.calls,
                unit_count=arm.units,
                cost_nanousd=arm.cost_nanousd,
                saved_nanousd=arm.saved_nanousd,
                metrics=[
                    pb.ArmMetric(
                        metric=_METRICS[metric][0],
                        estimate=_estimate(interval, _METRICS[metric][1]),
                    )
                    for metric, interval in arm.metrics.items()
                ],
            )
            for arm in report.arms
        ],
        differences=[
            pb.ArmDifference(
                arm=one.arm,
                metric=_METRICS[one.metric][0],
                absolute=_estimate(one.absolute, _METRICS[one.metric][1]),
                relative_ppm=None if one.relative is None else _estimate(one.relative, 1_000_000),
                shown=one.shown,
                sentence=one.sentence,
            )
            for one in report.differences
        ],
        warnings=report.warnings,
    )


def _read(values: Mapping[str, object], kind: type[_Item]) -> _Item:
    faults: list[Fault] = []
    item = read(values, kind, "", faults)
    if item is None:
        raise FieldInvalid("; ".join(map(str, faults)) + ".", field=faults[0].path)
    return item


def _values(message: Message) -> dict[str, Any]:  # as YAML would give them
    """What was set in a message, and every scalar that cannot be unset."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        if message.DESCRIPTOR.name in ("RoutingPolicy", "Experiment") and (
            field.name in _OUTPUT_ONLY
        ):
            continue
        value = getattr(message, field.name)
        if isinstance(value, timestamp_pb2.Timestamp):
            found[field.name] = _moment(value, field.name)
        elif isinstance(value, Message):
            found[field.name] = _values(value)
        elif isinstance(value, Mapping):
            found[field.name] = dict(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found[field.name] = [_values(one) if isinstance(one, Message) else one for one in value]
        elif field.name == "prefer":
            found[field.name] = _PREFER.get(value, str(value))
        else:
            found[field.name] = value
    return found


def _plain(value: msgspec.Struct) -> dict[str, Any]:  # as messages take them
    """A struct's fields, sets in order."""
    plain: dict[str, Any] = msgspec.to_builtins(value, order="deterministic")
    return plain


def _about(entry: Entry) -> dict[str, Any]:  # as messages take them
    return {
        "etag": entry.etag,
        "create_time": _timestamp(entry.create_time),
        "update_time": _timestamp(entry.update_time),
        "update_by": entry.update_by,
        "source": _SOURCES[entry.source],
        "hidden": entry.hidden,
        "fault": entry.fault,
    }


def _moment(message: timestamp_pb2.Timestamp, field: str) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(f"`{field}` is no moment that there is.", field=field) from None


def _timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    if moment is None:
        return None
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment)
    return found


_INT64_MAX: Final = 2**63 - 1


def _estimate(interval: Interval, scale: int) -> pb.IntervalEstimate:
    def whole(value: float | None) -> int | None:
        if value is None:
            return None
        return max(-_INT64_MAX, min(_INT64_MAX, round(value * scale)))

    return pb.IntervalEstimate(
        value=whole(interval.value) or 0, low=whole(interval.low), high=whole(interval.high)
    )
