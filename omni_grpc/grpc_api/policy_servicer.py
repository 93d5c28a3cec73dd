"""The part of AdminService that is about routing: policies, experiments and their reports.

An organisation's managers set what is for its own calls; what is for all calls is the operator's,
and others do not see it. What is not the caller's answers as if it did not exist.
"""

from __future__ import annotations  # grpc's own types are no generics at run time

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc.administration import Turns
from omni_grpc.audit import Actor
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.missing import missing
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.grpc_api.policy_messages import (
    experiment_message,
    experiment_of,
    merged,
    policy_message,
    policy_of,
    report_message,
)
from omni_grpc.identity import Identity, Permission, Principal, Scope
from omni_grpc.routing import Entry, Experiment, Kind, Policy, PolicyAdmin, is_scope

_Context = grpc.aio.ServicerContext[Any, Any]
_GLOBAL: Final = "global"
_FORM: Final = "`parent` must be global, orgs/{org}, or of a team or an environment of it."


class PolicyServicer:
    """Serves routing policies and experiments."""

    def __init__(self, policies: PolicyAdmin, identity: Identity, tokens: PageTokens) -> None:
        self._policies = policies
        self._orgs = identity
        self._page_tokens = tokens
        self._turns = Turns()
        self._reports = Turns()

    async def CreateRoutingPolicy(
        self, request: pb.CreateRoutingPolicyRequest, context: _Context
    ) -> pb.CreateRoutingPolicyResponse:
        """Makes a policy."""
        await self._check_parent(request.parent)
        with _in_contract("routing_policy", "routing_policy_id"):
            policy = policy_of(request.routing_policy, request.parent, request.routing_policy_id)
            async with self._turns.of(_caller().org_id):
                written = await self._policies.create(policy, actor=_actor())
        return pb.CreateRoutingPolicyResponse(
            routing_policy=policy_message(written.entry), warnings=written.warnings
        )

    async def UpdateRoutingPolicy(
        self, request: pb.UpdateRoutingPolicyRequest, context: _Context
    ) -> pb.UpdateRoutingPolicyResponse:
        """Changes a policy."""
        new = request.routing_policy
        _reach(new.name)

        def change(entry: Entry) -> Policy:
            message = merged(policy_message(entry), new, request.update_mask)
            return policy_of(message, entry.item.scope, entry.item.name)

        with _in_contract("routing_policy", "routing_policy.name"):
            async with self._turns.of(_caller().org_id):
                written = await self._policies.change(
                    new.name, Kind.POLICY, change, etag=new.etag, actor=_actor()
                )
        return pb.UpdateRoutingPolicyResponse(
            routing_policy=policy_message(written.entry), warnings=written.warnings
        )

    async def DeleteRoutingPolicy(
        self, request: pb.DeleteRoutingPolicyRequest, context: _Context
    ) -> pb.DeleteRoutingPolicyResponse:
        """Deletes a policy."""
        _reach(request.name)
        async with self._turns.of(_caller().org_id):
            await self._policies.delete(
                request.name, Kind.POLICY, etag=request.etag, actor=_actor()
            )
        return pb.DeleteRoutingPolicyResponse()

    async def GetRoutingPolicy(
        self, request: pb.GetRoutingPolicyRequest, context: _Context
    ) -> pb.GetRoutingPolicyResponse:
        """Reads a policy."""
        _reach(request.name)
        entry = await self._policies.get(request.name, Kind.POLICY)
        return pb.GetRoutingPolicyResponse(routing_policy=policy_message(entry))

    async def ListRoutingPolicies(
        self, request: pb.ListRoutingPoliciesRequest, context: _Context
    ) -> pb.ListRoutingPoliciesResponse:
        """Lists policies."""
        entries, after = await self._page(
            Kind.POLICY, request.parent, request.page_size, request.page_token
        )
        return pb.ListRoutingPoliciesResponse(
            routing_policies=map(policy_message, entries), next_page_token=after
        )

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: _Context
    ) -> pb.CreateExperimentResponse:
        """Makes an experiment."""
        await self._check_parent(request.parent)
        with _in_contract("experiment", "experiment_id"):
            experiment = experiment_of(request.experiment, request.parent, request.experiment_id)
            async with self._turns.of(_caller().org_id):
                written = await self._policies.create(experiment, actor=_actor())
        return pb.CreateExperimentResponse(
            experiment=experiment_message(written.entry), warnings=written.warnings
        )

    async def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: _Context
    ) -> pb.UpdateExperimentResponse:
        """Changes an experiment."""
        new = request.experiment
        _reach(new.name)

        def change(entry: Entry) -> Experiment:
            message = merged(experiment_message(entry), new, request.update_mask)
            return experiment_of(message, entry.item.scope, entry.item.name)

        with _in_contract("experiment", "experiment.name"):
            async with self._turns.of(_caller().org_id):
                written = await self._policies.change(
                    new.name, Kind.EXPERIMENT, change, etag=new.etag, actor=_actor()
                )
        return pb.UpdateExperimentResponse(
            experiment=experiment_message(written.entry), warnings=written.warnings
        )

    async def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: _Context
    ) -> pb.DeleteExperimentResponse:
        """Deletes an experiment."""
        _reach(request.name)
        async with self._turns.of(_caller().org_id):
            await self._policies.delete(
                request.name, Kind.EXPERIMENT, etag=request.etag, actor=_actor()
            )
        return pb.DeleteExperimentResponse()

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: _Context
    ) -> pb.GetExperimentResponse:
        """Reads an experiment."""
        _reach(request.name)
        entry = await self._policies.get(request.name, Kind.EXPERIMENT)
        return pb.GetExperimentResponse(experiment=experiment_message(entry))

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: _Context
    ) -> pb.ListExperimentsResponse:
        """Lists experiments."""
        entries, after = await self._page(
            Kind.EXPERIMENT, request.parent, request.page_size, request.page_token
        )
        return pb.ListExperimentsResponse(
            experiments=map(experiment_message, entries), next_page_token=after
        )

    async def GetExperimentReport(
        self, request: pb.GetExperimentReportRequest, context: _Context
    ) -> pb.GetExperimentReportResponse:
        """Reports what an experiment found."""
        _reach(request.name)
        # A large one takes a second and 100 MB: a tenant has one at a time.
        async with self._reports.of(_caller().org_id):
            report = await self._policies.report(request.name)
        return pb.GetExperimentReportResponse(report=report_message(report))

    async def _check_parent(self, parent: str) -> None:
        """Whether there is such a scope; teams and environments are not looked up."""
        if not is_scope(parent):
            raise FieldInvalid(_FORM, field="parent")
        if parent == _GLOBAL:
            _caller().require(Permission.OPERATE)
            return
        slug = parent.split("/")[1]
        absent = missing(f"orgs/{slug}", "parent")
        if not _is_mine(parent):
            raise absent
        try:
            await self._orgs.get_org(slug)
        except NotFound:
            raise absent from None

    async def _page(
        self, kind: Kind, parent: str, size: int, token: str
    ) -> tuple[list[Entry], str]:
        """A page of entries, and the token of the next."""
        if parent and not is_scope(parent):
            raise FieldInvalid(_FORM, field="parent")
        if parent and not _is_mine(parent):
            raise NotFound(
                f"There is nothing of `{parent}`, or it is not yours. An empty `parent` lists all "
                "that is.",
                field="parent",
            )
        query = ("routing", kind, parent)
        after = self._page_tokens.open_text(query, token) or ""
        limit = page_size(size)
        entries = [
            entry
            for entry in sorted(await self._policies.entries(kind), key=_position)
            if _position(entry) > after
            and parent in ("", entry.item.scope)
            and _is_mine(entry.item.scope)
        ]
        page = entries[:limit]
        more = len(entries) > limit
        return page, self._page_tokens.seal(query, _position(page[-1])) if more else ""


def _position(entry: Entry) -> str:
    """Where an entry stands in lists: by name, the database's before the file's."""
    return f"{entry.item.full_name} {entry.source}"


def _caller() -> Principal:
    principal = current_call().principal
    if principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return principal


def _is_mine(scope: str) -> bool:
    """Whether a scope is the caller's: its organisation's or below, any for the operator."""
    caller = _caller()
    own = f"orgs/{caller.org_slug}"
    return Scope.ADMIN in caller.scopes or scope == own or scope.startswith(f"{own}/")


def _reach(name: str) -> None:
    """Goes on only with what is the caller's.

    Raises:
        NotFound: it is not, whether it exists or not.
    """
    if not _is_mine(name):
        raise missing(name, "name")


def _actor() -> Actor:
    call = current_call()
    return Actor(name=_caller().actor, peer=call.peer, call_id=call.name)


@contextmanager
def _in_contract(message: str, own_name: str) -> Iterator[None]:
    """Faults of a policy or an experiment, under the names that the request has for them."""
    try:
        yield
    except FieldInvalid as error:
        names = {"name": own_name, "scope": "parent", "update_mask": "update_mask"}
        error.field = names.get(error.field or "", f"{message}.{error.field}")
        raise
