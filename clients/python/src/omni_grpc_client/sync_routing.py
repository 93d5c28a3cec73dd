"""The synchronous client's methods of routing. `aio_routing.py` has the same for asyncio."""

from collections.abc import Sequence
from typing import Unpack

from omni_grpc_client import experiment_report, experiments, policies, routes
from omni_grpc_client.calls import Page
from omni_grpc_client.client import Client
from omni_grpc_client.experiment_report import ExperimentReport
from omni_grpc_client.experiments import (
    Experiment,
    ExperimentArm,
    ExperimentChanges,
    ExperimentOptions,
)
from omni_grpc_client.pages import Pages
from omni_grpc_client.policies import PolicyChanges, PolicyOptions, RoutingPolicy
from omni_grpc_client.prompt import ChatOptions, Messages
from omni_grpc_client.routes import ChatEstimate, RouteExplanation
from omni_grpc_client.rules import Rule
from omni_grpc_client.sync_wire import Wire


class RoutingMethods(Client):
    """What chats would be routed to, and what decides that: a part of `Omni`.

    Policies and experiments need the scope `admin`. They hold for the calls of a scope: `global`,
    `orgs/{org}` or `orgs/{org}/teams/{team}`. Given as a value, one is changed or deleted only if
    it still is as that value says, and else it is `EtagMismatch`; named by its name, whatever it
    is by now.
    """

    _wire: Wire

    # --- before a chat ------------------------------------------------------------------------
    def estimate_chat(
        self,
        model: str,
        messages: Messages,
        *,
        timeout: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatEstimate:
        """What a chat would be routed to and cost, and whether the credits suffice.

        It calls no provider and holds nothing. Arguments as for `chat`.
        """
        call = routes.estimate_chat(model, messages, options)
        return self._wire.run(self._wire.stubs.router.EstimateChat, call, timeout)

    def explain_route(
        self,
        model: str,
        messages: Messages,
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> RouteExplanation:
        """How a chat would be routed: every offer, its score and its parts, or why it is out.

        It calls no provider and holds nothing. Arguments as for `chat`; an answer has a page of
        the offers, 50 if you name no `page_size`, and its `next_page_token` leads on.
        """
        call = routes.explain_route(model, messages, options, page_size, page_token)
        return self._wire.run(self._wire.stubs.router.ExplainRoute, call, timeout)

    # --- policies -----------------------------------------------------------------------------
    def create_routing_policy(
        self,
        policy_id: str,
        rule: Rule,
        *,
        scope: str = "global",
        timeout: float | None = None,
        **options: Unpack[PolicyOptions],
    ) -> RoutingPolicy:
        """Creates a routing policy; it holds everywhere within 5 seconds.

        Args:
            policy_id: `[a-z][a-z0-9-]{0,62}`.
            rule: how the models are put in order, such as `CostRule(min_quality=0.8)`.
            scope: whose calls.
            timeout: seconds that the call may take.
            **options: see `PolicyOptions`.
        """
        call = policies.create_routing_policy(policy_id, rule, scope, options)
        return self._wire.run(self._wire.stubs.admin.CreateRoutingPolicy, call, timeout)

    def update_routing_policy(
        self,
        policy: RoutingPolicy | str,
        *,
        timeout: float | None = None,
        **changes: Unpack[PolicyChanges],
    ) -> RoutingPolicy:
        """Changes what is named of a policy; not of one of the operator's file."""
        call = policies.update_routing_policy(policy, changes)
        return self._wire.run(self._wire.stubs.admin.UpdateRoutingPolicy, call, timeout)

    def delete_routing_policy(
        self, policy: RoutingPolicy | str, *, timeout: float | None = None
    ) -> None:
        """Deletes a policy; refused while another rule or an experiment needs it."""
        call = policies.delete_routing_policy(policy)
        self._wire.run(self._wire.stubs.admin.DeleteRoutingPolicy, call, timeout)

    def routing_policy(self, name: str, *, timeout: float | None = None) -> RoutingPolicy:
        """One policy, by `{scope}/routingPolicies/{routing_policy}`."""
        call = policies.get_routing_policy(name)
        return self._wire.run(self._wire.stubs.admin.GetRoutingPolicy, call, timeout)

    def routing_policies(
        self,
        scope: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Pages[RoutingPolicy]:
        """The policies of a scope, or of all, by name; those of the operator's file too."""

        def fetch(token: str) -> Page[RoutingPolicy]:
            call = policies.list_routing_policies(scope, page_size, token)
            return self._wire.run(self._wire.stubs.admin.ListRoutingPolicies, call, timeout)

        return Pages(fetch, page_token)

    # --- experiments --------------------------------------------------------------------------
    def create_experiment(
        self,
        experiment_id: str,
        arms: Sequence[ExperimentArm],
        *,
        scope: str = "global",
        timeout: float | None = None,
        **options: Unpack[ExperimentOptions],
    ) -> Experiment:
        """Creates an experiment; it begins at its start time, or now.

        Args:
            experiment_id: `[a-z][a-z0-9-]{0,62}`.
            arms: 1 to 16; the units that they leave are the control.
            scope: whose calls.
            timeout: seconds that the call may take.
            **options: see `ExperimentOptions`.
        """
        call = experiments.create_experiment(experiment_id, arms, scope, options)
        return self._wire.run(self._wire.stubs.admin.CreateExperiment, call, timeout)

    def update_experiment(
        self,
        experiment: Experiment | str,
        *,
        timeout: float | None = None,
        **changes: Unpack[ExperimentChanges],
    ) -> Experiment:
        """Changes what is named of an experiment; to end it, name its `end_time`."""
        call = experiments.update_experiment(experiment, changes)
        return self._wire.run(self._wire.stubs.admin.UpdateExperiment, call, timeout)

    def delete_experiment(
        self, experiment: Experiment | str, *, timeout: float | None = None
    ) -> None:
        """Deletes an experiment; its calls keep its name in their records."""
        call = experiments.delete_experiment(experiment)
        self._wire.run(self._wire.stubs.admin.DeleteExperiment, call, timeout)

    def experiment(self, name: str, *, timeout: float | None = None) -> Experiment:
        """One experiment, by `{scope}/experiments/{experiment}`."""
        call = experiments.get_experiment(name)
        return self._wire.run(self._wire.stubs.admin.GetExperiment, call, timeout)

    def experiments(
        self,
        scope: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Pages[Experiment]:
        """The experiments of a scope, or of all, by name; those of the operator's file too."""

        def fetch(token: str) -> Page[Experiment]:
            call = experiments.list_experiments(scope, page_size, token)
            return self._wire.run(self._wire.stubs.admin.ListExperiments, call, timeout)

        return Pages(fetch, page_token)

    def experiment_report(
        self, experiment: Experiment | str, *, timeout: float | None = None
    ) -> ExperimentReport:
        """What it found so far: each arm's numbers, and its difference to the control."""
        call = experiment_report.get_experiment_report(experiment)
        return self._wire.run(self._wire.stubs.admin.GetExperimentReport, call, timeout)
