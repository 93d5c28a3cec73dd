"""Experiments in routing: parts of the callers are served differently, to see what that changes.

An experiment that is given as a value is changed or deleted only if it still is as that value
says; named by its name, whatever it is by now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from google.protobuf.field_mask_pb2 import FieldMask
from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc_client.calls import (
    Call,
    Kind,
    Page,
    check_options,
    listed,
    stamp_of,
    time_of,
    word_of,
)
from omni_grpc_client.rules import PolicyCondition, condition_of, raw_condition


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentArm:
    """A part of the units, and how they are served; as without the experiment if neither is set.

    Attributes:
        name: `[a-z][a-z0-9-]{0,62}`, not `control`.
        share_ppm: its part of all units, in millionths; those of all arms are at most 1000000.
        policy: by a policy: its id, or its whole name.
        models: or by these models in this order.
    """

    name: str
    share_ppm: int
    policy: str = ""
    models: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Serves parts of the units (end users, or keys) differently. A unit keeps its arm.

    Attributes:
        name: `{scope}/experiments/{experiment}`.
        arms: the arms; the units that they leave are in the arm `control`.
        description: what it is for, for people.
        when: for which calls.
        salt: what the assignment depends on beside the unit.
        start_time: from when on.
        end_time: until when; None: without end.
        etag: changes with every change.
        create_time: when it was created; None for one of the operator's file.
        update_time: when it was changed last; None for one of the operator's file.
        update_by: who changed it last: a key's prefix, or a tool's name.
        source: where it stands: `database`, or `file`, which the operator alone can change.
        hidden: whether it is the file's, and one of the same name in the database hides it.
        fault: why it cannot be used; empty if it can.
        warnings: what should be known of the change that was just made; empty where it was read.
    """

    name: str
    arms: tuple[ExperimentArm, ...]
    description: str
    when: PolicyCondition
    salt: str
    start_time: datetime | None
    end_time: datetime | None
    etag: str
    create_time: datetime | None
    update_time: datetime | None
    update_by: str
    source: str | None
    hidden: bool
    fault: str
    warnings: tuple[str, ...]
    raw: pb.Experiment = field(repr=False, compare=False)


class ExperimentOptions(TypedDict, total=False):
    """What an experiment may have beside its arms. None is as unset; in a change, it takes it back.

    Moments have a time zone.
    """

    description: str | None
    """What it is for, for people; at most 512 characters."""
    when: PolicyCondition | None
    """For which calls; for every name below `omni/` if unset."""
    salt: str | None
    """What the assignment depends on beside the unit; the name if unset."""
    start_time: datetime | None
    """From when on; from its creation if unset."""
    end_time: datetime | None
    """Until when; without end if unset."""


class ExperimentChanges(ExperimentOptions, total=False):
    """What of an experiment changes; the rest stays. To end it, set `end_time`."""

    arms: Sequence[ExperimentArm]
    """The arms."""


_OPTIONS = ExperimentOptions.__annotations__
_CHANGES = _OPTIONS | ExperimentChanges.__annotations__


def create_experiment(
    experiment_id: str, arms: Sequence[ExperimentArm], scope: str, options: ExperimentOptions
) -> Call[pb.CreateExperimentRequest, pb.CreateExperimentResponse, Experiment]:
    """CreateExperiment.

    Raises:
        TypeError: an option that there is not, or a value of another type.
        ValueError: a moment without a time zone.
    """
    check_options(options, _OPTIONS, "an experiment")
    return Call(
        request=pb.CreateExperimentRequest(
            parent=scope, experiment_id=experiment_id, experiment=_raw_experiment(arms, options)
        ),
        parse=lambda response: _experiment(response.experiment, response.warnings),
        kind=Kind.WRITE,
    )


def update_experiment(
    experiment: Experiment | str, changes: ExperimentChanges
) -> Call[pb.UpdateExperimentRequest, pb.UpdateExperimentResponse, Experiment]:
    """UpdateExperiment, with a mask of what `changes` names.

    Raises:
        TypeError: nothing to change, an option that there is not, or a value of another type.
        ValueError: a moment without a time zone.
    """
    check_options(changes, _CHANGES, "an experiment")
    if not changes:
        raise TypeError("name what of the experiment shall change")
    raw = _raw_experiment(changes.get("arms") or (), changes)
    raw.name, raw.etag = _named(experiment)
    return Call(
        request=pb.UpdateExperimentRequest(
            experiment=raw, update_mask=FieldMask(paths=list(changes))
        ),
        parse=lambda response: _experiment(response.experiment, response.warnings),
        kind=Kind.WRITE,
    )


def delete_experiment(
    experiment: Experiment | str,
) -> Call[pb.DeleteExperimentRequest, pb.DeleteExperimentResponse, None]:
    """DeleteExperiment."""
    name, etag = _named(experiment)
    return Call(
        request=pb.DeleteExperimentRequest(name=name, etag=etag),
        parse=lambda _: None,
        kind=Kind.WRITE,
    )


def get_experiment(
    name: str,
) -> Call[pb.GetExperimentRequest, pb.GetExperimentResponse, Experiment]:
    """GetExperiment."""
    return Call(
        request=pb.GetExperimentRequest(name=name),
        parse=lambda response: _experiment(response.experiment),
        kind=Kind.READ,
    )


def list_experiments(
    scope: str, page_size: int | None, page_token: str
) -> Call[pb.ListExperimentsRequest, pb.ListExperimentsResponse, Page[Experiment]]:
    """ListExperiments, one page."""
    return Call(
        request=pb.ListExperimentsRequest(parent=scope, page_size=page_size, page_token=page_token),
        parse=lambda response: Page(
            [_experiment(raw) for raw in response.experiments], response.next_page_token
        ),
        kind=Kind.READ,
    )


def _named(experiment: Experiment | str) -> tuple[str, str]:
    """The name, and the etag that guards it; none for a name alone."""
    if isinstance(experiment, str):
        return experiment, ""
    return experiment.name, experiment.etag


def _raw_experiment(
    arms: Sequence[ExperimentArm], options: ExperimentOptions | ExperimentChanges
) -> pb.Experiment:
    return pb.Experiment(
        description=options.get("description"),
        when=raw_condition(options.get("when")),
        arms=[
            pb.ExperimentArm(
                name=arm.name,
                share_ppm=arm.share_ppm,
                policy=arm.policy,
                models=listed(arm.models, f"the models of arm {arm.name}"),
            )
            for arm in arms
        ],
        salt=options.get("salt"),
        start_time=stamp_of(options.get("start_time"), "start_time"),
        end_time=stamp_of(options.get("end_time"), "end_time"),
    )


def _experiment(raw: pb.Experiment, warnings: Sequence[str] = ()) -> Experiment:
    return Experiment(
        name=raw.name,
        arms=tuple(
            ExperimentArm(
                name=arm.name,
                share_ppm=arm.share_ppm,
                policy=arm.policy,
                models=tuple(arm.models),
            )
            for arm in raw.arms
        ),
        description=raw.description,
        when=condition_of(raw.when),
        salt=raw.salt,
        start_time=time_of(raw, "start_time"),
        end_time=time_of(raw, "end_time"),
        etag=raw.etag,
        create_time=time_of(raw, "create_time"),
        update_time=time_of(raw, "update_time"),
        update_by=raw.update_by,
        source=word_of(pb.RuleSource, "RULE_SOURCE_", raw.source),
        hidden=raw.hidden,
        fault=raw.fault,
        warnings=tuple(warnings),
        raw=raw,
    )
