"""Routing policies: which models serve which calls, in which order, and what is never let through.

A policy that is given as a value is changed or deleted only if it still is as that value says;
named by its name, whatever it is by now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from google.protobuf.field_mask_pb2 import FieldMask
from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, check_options, listed, time_of, word_of
from omni_grpc_client.rules import (
    PolicyCondition,
    PolicyLimits,
    Rule,
    condition_of,
    limits_of,
    raw_condition,
    raw_limits,
    raw_policy_with,
    rule_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """Puts the models that can serve a call in order, for the calls of a scope.

    Of several that hold for a call the nearest scope decides, then the smallest `order`, then the
    name.

    Attributes:
        name: `{scope}/routingPolicies/{routing_policy}`.
        rule: how the models are put in order; None for one that this client does not know.
        description: what it is for, for people.
        order: its place among those of its scope.
        active: whether it decides by itself; if not, only where another rule or an experiment
            names it.
        when: for which calls.
        limits: what it never lets through.
        fallbacks: models to try next when the first choice fails.
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
    rule: Rule | None
    description: str
    order: int
    active: bool
    when: PolicyCondition
    limits: PolicyLimits
    fallbacks: tuple[str, ...]
    etag: str
    create_time: datetime | None
    update_time: datetime | None
    update_by: str
    source: str | None
    hidden: bool
    fault: str
    warnings: tuple[str, ...]
    raw: pb.RoutingPolicy = field(repr=False, compare=False)


class PolicyOptions(TypedDict, total=False):
    """What a policy may have beside its rule. None is as unset; in a change, it takes it back."""

    description: str | None
    """What it is for, for people; at most 512 characters."""
    order: int | None
    """Its place among those of its scope, the smallest first; 0 if unset."""
    active: bool | None
    """Whether it decides by itself; it does if unset."""
    when: PolicyCondition | None
    """For which calls; for every name below `omni/` if unset."""
    limits: PolicyLimits | None
    """What it never lets through."""
    fallbacks: Sequence[str] | None
    """Models to try next when the first choice fails."""


class PolicyChanges(PolicyOptions, total=False):
    """What of a policy changes; the rest stays."""

    rule: Rule
    """How the models are put in order."""


_OPTIONS = PolicyOptions.__annotations__
_CHANGES = _OPTIONS | PolicyChanges.__annotations__


def create_routing_policy(
    policy_id: str, rule: Rule, scope: str, options: PolicyOptions
) -> Call[pb.CreateRoutingPolicyRequest, pb.CreateRoutingPolicyResponse, RoutingPolicy]:
    """CreateRoutingPolicy.

    Raises:
        TypeError: an option that there is not, or a value of another type.
    """
    check_options(options, _OPTIONS, "a policy")
    return Call(
        request=pb.CreateRoutingPolicyRequest(
            parent=scope,
            routing_policy_id=policy_id,
            routing_policy=_raw_policy(rule, options),
        ),
        parse=lambda response: _policy(response.routing_policy, response.warnings),
        kind=Kind.WRITE,
    )


def update_routing_policy(
    policy: RoutingPolicy | str, changes: PolicyChanges
) -> Call[pb.UpdateRoutingPolicyRequest, pb.UpdateRoutingPolicyResponse, RoutingPolicy]:
    """UpdateRoutingPolicy, with a mask of what `changes` names.

    Raises:
        TypeError: nothing to change, an option that there is not, or a value of another type.
    """
    check_options(changes, _CHANGES, "a policy")
    if not changes:
        raise TypeError("name what of the policy shall change")
    raw = _raw_policy(changes.get("rule"), changes)
    raw.name, raw.etag = _named(policy)
    return Call(
        request=pb.UpdateRoutingPolicyRequest(
            routing_policy=raw, update_mask=FieldMask(paths=list(changes))
        ),
        parse=lambda response: _policy(response.routing_policy, response.warnings),
        kind=Kind.WRITE,
    )


def delete_routing_policy(
    policy: RoutingPolicy | str,
) -> Call[pb.DeleteRoutingPolicyRequest, pb.DeleteRoutingPolicyResponse, None]:
    """DeleteRoutingPolicy."""
    name, etag = _named(policy)
    return Call(
        request=pb.DeleteRoutingPolicyRequest(name=name, etag=etag),
        parse=lambda _: None,
        kind=Kind.WRITE,
    )


def get_routing_policy(
    name: str,
) -> Call[pb.GetRoutingPolicyRequest, pb.GetRoutingPolicyResponse, RoutingPolicy]:
    """GetRoutingPolicy."""
    return Call(
        request=pb.GetRoutingPolicyRequest(name=name),
        parse=lambda response: _policy(response.routing_policy),
        kind=Kind.READ,
    )


def list_routing_policies(
    scope: str, page_size: int | None, page_token: str
) -> Call[pb.ListRoutingPoliciesRequest, pb.ListRoutingPoliciesResponse, Page[RoutingPolicy]]:
    """ListRoutingPolicies, one page."""
    return Call(
        request=pb.ListRoutingPoliciesRequest(
            parent=scope, page_size=page_size, page_token=page_token
        ),
        parse=lambda response: Page(
            [_policy(raw) for raw in response.routing_policies], response.next_page_token
        ),
        kind=Kind.READ,
    )


def _named(policy: RoutingPolicy | str) -> tuple[str, str]:
    """The name, and the etag that guards it; none for a name alone."""
    return (policy, "") if isinstance(policy, str) else (policy.name, policy.etag)


def _raw_policy(rule: Rule | None, options: PolicyOptions | PolicyChanges) -> pb.RoutingPolicy:
    raw = pb.RoutingPolicy() if rule is None else raw_policy_with(rule)
    raw.MergeFrom(
        pb.RoutingPolicy(
            description=options.get("description"),
            order=options.get("order"),
            active=options.get("active"),
            when=raw_condition(options.get("when")),
            limits=raw_limits(options.get("limits")),
            fallbacks=listed(options.get("fallbacks") or (), "fallbacks"),
        )
    )
    return raw


def _policy(raw: pb.RoutingPolicy, warnings: Sequence[str] = ()) -> RoutingPolicy:
    return RoutingPolicy(
        name=raw.name,
        rule=rule_of(raw),
        description=raw.description,
        order=raw.order,
        active=raw.active,
        when=condition_of(raw.when),
        limits=limits_of(raw.limits),
        fallbacks=tuple(raw.fallbacks),
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
