"""CatalogService: what can be called, what it costs, how good it is, and what operators say of it.

Reads come from memory; what changes anything goes to the database and counts here at once.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from omni.catalog.v1 import catalog_service_pb2 as pb
from omni.catalog.v1 import catalog_service_pb2_grpc as pb_grpc

from omni_grpc.administration import alias_audit, check_text, model_audit
from omni_grpc.audit import Actor
from omni_grpc.catalog import (
    GLOBAL_SCOPE,
    HISTORY_FIELDS,
    Alias,
    Catalog,
    CatalogSnapshot,
    absence,
    check_scope,
    parse_equalities,
    parse_filter,
    replaced,
    scopes_of,
)
from omni_grpc.completion import OwnCredentials, PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid, ModelNotFound, NotFound
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX
from omni_grpc.grpc_api.catalog_message import (
    alias_message,
    change_message,
    model_message,
    updated_fields,
    words_of,
)
from omni_grpc.grpc_api.catalog_sync import CatalogSync
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.identity import Scope
from omni_grpc.routing import SpeedMeter

_Context = grpc.aio.ServicerContext[Any, Any]
_NAME: Final = re.compile(r"providers/([^/]+)/models/(.+)", re.DOTALL)


class CatalogServicer(pb_grpc.CatalogServiceServicer):
    """Serves the catalog."""

    def __init__(
        self,
        catalog: Catalog,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        tokens: PageTokens,
        sync: CatalogSync,
        own: OwnCredentials,
        speeds: Mapping[str, SpeedMeter],
    ) -> None:
        self._own = own
        self._speeds = speeds
        self._catalog = catalog
        self._sync = sync
        self._snapshot = snapshot
        self._providers = providers
        self._tokens = tokens

    async def GetModel(
        self,
        request: pb.GetModelRequest,
        context: _Context,
    ) -> pb.GetModelResponse:
        """Reads one offer."""
        snapshot = self._snapshot()
        offer_id = _offer_id(request.name, "name")
        offer = snapshot.get(offer_id)
        if offer is None:
            raise NotFound(absence(snapshot, offer_id))
        providers = await self._own.callable_at(current_call(), self._providers)
        return pb.GetModelResponse(model=model_message(snapshot, offer, providers, self._speeds))

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: _Context,
    ) -> pb.ListModelsResponse:
        """Lists offers by name."""
        query = ("models", request.filter)
        snapshot = self._snapshot()
        providers = await self._own.callable_at(current_call(), self._providers)
        page = snapshot.list_offers(
            parse_filter(request.filter),
            after_id=self._tokens.open_text(query, request.page_token),
            limit=page_size(request.page_size),
            providers=providers,
        )
        after = page.next_after_id
        return pb.ListModelsResponse(
            models=[
                model_message(snapshot, offer, providers, self._speeds) for offer in page.offers
            ],
            next_page_token="" if after is None else self._tokens.seal(query, after),
        )

    async def UpdateModel(
        self,
        request: pb.UpdateModelRequest,
        context: _Context,
    ) -> pb.UpdateModelResponse:
        """Says something of an offer, or takes it back."""
        offer_id, actor = _offer_id(request.model.name, "model.name"), _actor()
        offer = await self._catalog.update_model(
            offer_id,
            words_of(request.model),
            updated_fields(request.update_mask.paths),
            etag=request.model.etag,
            actor=actor.name,
            audit=model_audit(actor, offer_id),
        )
        message = model_message(self._snapshot(), offer, self._providers, self._speeds)
        return pb.UpdateModelResponse(model=message)

    async def ResolveModel(
        self,
        request: pb.ResolveModelRequest,
        context: _Context,
    ) -> pb.ResolveModelResponse:
        """Tells what a name means to an organisation's callers."""
        snapshot = self._snapshot()
        scopes = scopes_of(self._scope(request.scope or _own_scope()))
        name = request.model
        if not 0 < len(name) <= MODEL_ID_CHARS_MAX:
            raise FieldInvalid(
                f"model must have 1 to {MODEL_ID_CHARS_MAX} characters.", field="model"
            )
        offers = snapshot.resolve(name, scopes)
        if not offers:
            raise ModelNotFound(absence(snapshot, name, scopes), field="model")
        providers = await self._own.callable_at(current_call(), self._providers)
        order, warning = replaced(snapshot, offers, providers=providers, scopes=scopes)
        alias = snapshot.alias_of(name, scopes)
        return pb.ResolveModelResponse(
            models=[model_message(snapshot, offer, providers, self._speeds) for offer in order],
            alias=None if alias is None else alias_message(alias),
            warning=warning or "",
        )

    async def SyncCatalog(  # type: ignore[override]  # writes instead of yielding
        self,
        request: pb.SyncCatalogRequest,
        context: _Context,
    ) -> None:
        """Asks the sources, and brings the catalog to what they say."""
        async with contextlib.aclosing(self._sync.sync(request, actor=_actor())) as events:
            async for event in events:
                await context.write(event)

    async def ListModelChanges(
        self,
        request: pb.ListModelChangesRequest,
        context: _Context,
    ) -> pb.ListModelChangesResponse:
        """Lists changes, newest first."""
        query = ("model_changes", request.filter)
        page = await self._catalog.changes(
            parse_equalities(request.filter, HISTORY_FIELDS),
            before=self._tokens.open_number(query, request.page_token),
            limit=page_size(request.page_size),
        )
        before = page.next_before
        return pb.ListModelChangesResponse(
            changes=map(change_message, page.changes),
            next_page_token="" if before is None else self._tokens.seal(query, before),
        )

    async def ListAliases(
        self,
        request: pb.ListAliasesRequest,
        context: _Context,
    ) -> pb.ListAliasesResponse:
        """Lists a scope's aliases by name."""
        scope = self._scope(request.scope or GLOBAL_SCOPE)
        query = ("aliases", scope)
        after = self._tokens.open_text(query, request.page_token)
        limit = page_size(request.page_size)
        held = [
            alias
            for alias in self._snapshot().aliases(scope)
            if after is None or alias.name > after
        ]
        more = len(held) > limit
        return pb.ListAliasesResponse(
            aliases=map(alias_message, held[:limit]),
            next_page_token=self._tokens.seal(query, held[limit - 1].name) if more else "",
        )

    async def SetAlias(
        self,
        request: pb.SetAliasRequest,
        context: _Context,
    ) -> pb.SetAliasResponse:
        """Makes an alias, or changes it."""
        alias = Alias(
            name=request.alias.name,
            scope=request.alias.scope or GLOBAL_SCOPE,
            targets=tuple(request.alias.targets),
        )
        actor = _actor()
        audit = alias_audit(actor, "SetAlias", alias.scope, alias.name)
        await self._catalog.set_alias(alias, actor=actor.name, audit=audit)
        return pb.SetAliasResponse(alias=alias_message(alias))

    async def DeleteAlias(
        self,
        request: pb.DeleteAliasRequest,
        context: _Context,
    ) -> pb.DeleteAliasResponse:
        """Takes an alias away."""
        scope = check_scope(request.scope or GLOBAL_SCOPE)
        check_text(request.name, "name")
        actor = _actor()
        audit = alias_audit(actor, "DeleteAlias", scope, request.name)
        await self._catalog.delete_alias(request.name, actor=actor.name, scope=scope, audit=audit)
        return pb.DeleteAliasResponse()

    def _scope(self, scope: str) -> str:
        """The scope, if the caller may look into it.

        Raises:
            FieldInvalid: there can be no such scope.
            NotFound: it is another organisation's, whether that exists or not.
        """
        check_scope(scope)
        principal = current_call().principal
        own = "" if principal is None else f"orgs/{principal.org_slug}"
        mine = scope in (GLOBAL_SCOPE, own) or scope.startswith(f"{own}/")
        if not mine and (principal is None or Scope.ADMIN not in principal.scopes):
            raise NotFound(
                f"There is no scope {scope!r}, or it is not yours. Write {GLOBAL_SCOPE}, or your "
                "own organisation, a team or an environment of it."
            )
        return scope


def _own_scope() -> str:
    principal = current_call().principal
    return GLOBAL_SCOPE if principal is None else principal.place


def _actor() -> Actor:
    call = current_call()
    name = "" if call.principal is None else call.principal.actor
    return Actor(name=name, peer=call.peer, call_id=call.name)


def _offer_id(name: str, field: str) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        raise FieldInvalid(f"{field} must be providers/{{provider}}/models/{{model}}.", field=field)
    offer_id = "/".join(match.groups())
    if len(offer_id) > MODEL_ID_CHARS_MAX:
        raise FieldInvalid(
            f"{field} must have a model of at most {MODEL_ID_CHARS_MAX} characters.", field=field
        )
    return offer_id
