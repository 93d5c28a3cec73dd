"""All policies and experiments of one moment, ready to choose from: immutable, in memory.

Names are looked up when the set is made, not when a call comes. What refers to a policy that is not
there, or leads round to itself, is left out and listed among the faults; the rest works on.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from omni_grpc.catalog import CatalogSnapshot, scopes_of
from omni_grpc.core.task import Analysis
from omni_grpc.routing.experiment import Experiment
from omni_grpc.routing.plan import RouteContext
from omni_grpc.routing.policy_checks import names_of
from omni_grpc.routing.policy_model import (
    NO_POLICY,
    ROUTED_PREFIX,
    Deterministic,
    Policy,
    Ready,
    Region,
    Weighted,
)
from omni_grpc.routing.policy_reading import Fault

CHAIN_COUNT_MAX: Final = 8
"""Region policies that may hand on to each other; more is a mistake."""


class Chosen(msgspec.Struct, frozen=True):
    """What holds for one call.

    Attributes:
        policy: what orders its candidates; in the control arm of an experiment where no policy
            holds, NO_POLICY: the service's own score.
        experiment: the full name of the experiment that the call is part of; empty for none.
        arm: its arm there.
    """

    policy: Ready
    experiment: str = ""
    arm: str = ""


class _Running(msgspec.Struct, frozen=True):
    """An experiment and the policies of its arms, by the arm's name; None: as without it."""

    experiment: Experiment
    policies: Mapping[str, Ready | None]


class PolicySet:
    """Policies and experiments, by scope.

    Attributes:
        faults: what cannot be used, by full name, and why.
        takes_named: whether something may hold for requests that name their model.
        empty: whether nothing holds for any call.
        catalog_version: the catalog that names were looked up in.
    """

    def __init__(
        self,
        policies: Iterable[Policy] = (),
        experiments: Iterable[Experiment] = (),
        snapshot: CatalogSnapshot | None = None,
    ) -> None:
        # A snapshot without offers is falsy.
        self._snapshot = CatalogSnapshot() if snapshot is None else snapshot
        self.catalog_version = self._snapshot.version
        self._policies = {policy.full_name: policy for policy in policies}
        self.faults: tuple[Fault, ...] = ()
        faults: list[Fault] = []
        self._of_scope: dict[str, list[Ready]] = {}
        for policy in sorted(self._policies.values(), key=lambda one: (one.order, one.name)):
            try:
                ready = self._ready(policy, ())
            except ValueError as error:
                faults.append(Fault(policy.full_name, str(error)))
                continue
            if policy.active:
                self._of_scope.setdefault(policy.scope, []).append(ready)
        self._experiments: dict[str, list[_Running]] = {}
        for experiment in sorted(experiments, key=_age):
            try:
                running = self._running(experiment)
            except ValueError as error:
                faults.append(Fault(experiment.full_name, str(error)))
                continue
            self._experiments.setdefault(experiment.scope, []).append(running)
        self.faults = tuple(faults)
        self.empty = not self._of_scope and not self._experiments
        conditions = [one.policy.when for held in self._of_scope.values() for one in held]
        conditions += [one.experiment.when for held in self._experiments.values() for one in held]
        self.takes_named = any(
            not name.startswith(ROUTED_PREFIX) for when in conditions for name in when.models
        )

    def choose(
        self,
        context: RouteContext,
        model: str,
        analysis: Analysis | None,
        tags: Mapping[str, str],
        now: datetime,
    ) -> Chosen | None:
        """What holds for a call; None where nothing does.

        The nearest scope that has anything for the call decides: first its experiments, the one
        that began first; then its policies in their order. In the control arm the search goes on
        among policies. A call without a unit is part of no experiment.
        """
        experiment = ""
        arm_name = ""
        for scope in context.scopes:
            if not experiment and context.unit and scope in self._experiments:
                running = self._running_of(scope, model, analysis, tags, now)
                if running is not None:
                    experiment = running.experiment.full_name
                    arm = running.experiment.arm_of(context.unit)
                    arm_name = running.experiment.control if arm is None else arm.name
                    policy = running.policies.get(arm_name)
                    if policy is not None:
                        return Chosen(policy, experiment, arm_name)
            for ready in self._of_scope.get(scope, ()):
                if ready.policy.when.holds(model, analysis, tags):
                    return Chosen(ready, experiment, arm_name)
        return Chosen(NO_POLICY, experiment, arm_name) if experiment else None

    def find(self, name: str, scope: str) -> Policy | None:
        """The policy that a reference in `scope` means: of it or the nearest around it."""
        for around in scopes_of(scope):
            full_name = name if "/" in name else f"{around}/routingPolicies/{name}"
            policy = self._policies.get(full_name)
            if policy is not None and policy.scope in scopes_of(scope):
                return policy
        return None

    def _running_of(
        self,
        scope: str,
        model: str,
        analysis: Analysis | None,
        tags: Mapping[str, str],
        now: datetime,
    ) -> _Running | None:
        for running in self._experiments[scope]:
            experiment = running.experiment
            if experiment.runs(now) and experiment.when.holds(model, analysis, tags):
                return running
        return None

    def _ready(self, policy: Policy, passed: Sequence[str]) -> Ready:
        """A policy with all its names looked up.

        Raises:
            ValueError: a region policy hands on to none that is there, or round to itself.
        """
        base = None
        if isinstance(policy.rule, Region) and policy.rule.policy:
            passed = (*passed, policy.full_name)
            found = self.find(policy.rule.policy, policy.scope)
            if found is None:
                raise ValueError(
                    f"hands on to the policy {policy.rule.policy!r}, which is not there"
                )
            if found.full_name in passed:
                raise ValueError(f"hands on in a loop: {' -> '.join((*passed, found.full_name))}")
            if len(passed) > CHAIN_COUNT_MAX:
                raise ValueError(f"hands on more than {CHAIN_COUNT_MAX} times")
            base = self._ready(found, passed)
        scopes = scopes_of(policy.scope)
        meant = {name: self._snapshot.resolve(name, scopes) for name in names_of(policy)}
        shares: dict[str, int] = {}
        if isinstance(policy.rule, Weighted):
            for offers in meant.values():
                if len({offer.routing_weight for offer in offers}) > 1:
                    shares.update((offer.id, offer.routing_weight) for offer in offers)
        meanings = {
            name: tuple(offer.id for offer in offers) for name, offers in meant.items() if offers
        }
        return Ready(policy, base, meanings, shares)

    def _running(self, experiment: Experiment) -> _Running:
        """An experiment with its arms' policies.

        Raises:
            ValueError: an arm's policy is not there, or cannot be used.
        """
        policies: dict[str, Ready | None] = {}
        for arm in experiment.arms:
            policy: Policy | None = None
            if arm.models:
                policy = Policy(
                    name=f"{experiment.name}.{arm.name}",
                    scope=experiment.scope,
                    rule=Deterministic(models=arm.models),
                )
            elif arm.policy:
                policy = self.find(arm.policy, experiment.scope)
                if policy is None:
                    raise ValueError(
                        f"its arm {arm.name!r} is served by the policy {arm.policy!r}, which is "
                        "not there"
                    )
            policies[arm.name] = None if policy is None else self._ready(policy, ())
        return _Running(experiment, policies)


def _age(experiment: Experiment) -> tuple[bool, float, str]:
    start = experiment.start_time
    return (start is not None, 0.0 if start is None else start.timestamp(), experiment.name)
