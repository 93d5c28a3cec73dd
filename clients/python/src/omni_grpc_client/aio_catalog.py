"""The asynchronous client's methods of the catalog. `sync_catalog.py` has the same for threads."""

# ruff: noqa: ASYNC109 - `timeout` travels to the service as the call's deadline

from collections.abc import Sequence
from typing import Unpack

from omni_grpc_client import aliases, catalog, catalog_sync
from omni_grpc_client.aio_stream import AsyncCatalogSync
from omni_grpc_client.aio_wire import AsyncWire
from omni_grpc_client.aliases import Alias
from omni_grpc_client.calls import Kind, Page
from omni_grpc_client.catalog import Model, ModelChange, ModelUpdate, Resolution
from omni_grpc_client.client import Client
from omni_grpc_client.pages import AsyncPages


class AsyncCatalogMethods(Client):
    """Models, their prices and ratings, and what operators say: a part of `AsyncOmni`."""

    _wire: AsyncWire

    async def model(self, name: str, *, timeout: float | None = None) -> Model:
        """One offer, as `provider/model` or by its resource name."""
        call = catalog.get_model(name)
        return await self._wire.run(self._wire.stubs.catalog.GetModel, call, timeout)

    def models(
        self,
        where: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[Model]:
        """The offers, by name. `where` is a filter: `provider = "openai" AND tools = true`."""

        async def fetch(token: str) -> Page[Model]:
            call = catalog.list_models(where, page_size, token)
            return await self._wire.run(self._wire.stubs.catalog.ListModels, call, timeout)

        return AsyncPages(fetch, page_token)

    async def resolve_model(
        self, name: str, *, scope: str = "", timeout: float | None = None
    ) -> Resolution:
        """What a name means to this key's organisation, or in another scope: `global`."""
        call = catalog.resolve_model(name, scope)
        return await self._wire.run(self._wire.stubs.catalog.ResolveModel, call, timeout)

    async def update_model(
        self,
        name: str,
        *,
        etag: str = "",
        timeout: float | None = None,
        **update: Unpack[ModelUpdate],
    ) -> Model:
        """Says something of an offer that goes before what was synced; needs the scope `admin`.

        Args:
            name: `provider/model`, or its resource name.
            etag: refuse with `Aborted` if the offer is not as it was with this etag any more.
            timeout: seconds that the call may take.
            **update: what to say; None takes it back.
        """
        call = catalog.update_model(name, etag, update)
        return await self._wire.run(self._wire.stubs.catalog.UpdateModel, call, timeout)

    def model_changes(
        self,
        where: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[ModelChange]:
        """What changed in the catalog, newest first; needs the scope `admin`.

        `where` is a filter: `subject = "openai/gpt-4o" AND field = "price"`.
        """

        async def fetch(token: str) -> Page[ModelChange]:
            call = catalog.list_model_changes(where, page_size, token)
            return await self._wire.run(self._wire.stubs.catalog.ListModelChanges, call, timeout)

        return AsyncPages(fetch, page_token)

    def aliases(
        self,
        scope: str = "global",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[Alias]:
        """The aliases of a scope, `global` or `orgs/{org}`, by name."""

        async def fetch(token: str) -> Page[Alias]:
            call = aliases.list_aliases(scope, page_size, token)
            return await self._wire.run(self._wire.stubs.catalog.ListAliases, call, timeout)

        return AsyncPages(fetch, page_token)

    async def set_alias(
        self,
        name: str,
        targets: Sequence[str],
        *,
        scope: str = "global",
        timeout: float | None = None,
    ) -> Alias:
        """Makes an alias, or changes it; needs the scope `admin`."""
        call = aliases.set_alias(name, targets, scope)
        return await self._wire.run(self._wire.stubs.catalog.SetAlias, call, timeout)

    async def delete_alias(
        self, name: str, *, scope: str = "global", timeout: float | None = None
    ) -> None:
        """Takes an alias away; needs the scope `admin`."""
        call = aliases.delete_alias(name, scope)
        await self._wire.run(self._wire.stubs.catalog.DeleteAlias, call, timeout)

    def sync_catalog(
        self,
        sources: Sequence[str] = (),
        *,
        dry_run: bool = False,
        accept: bool = False,
        timeout: float | None = None,
    ) -> AsyncCatalogSync:
        """Asks the catalog's sources what they say now; needs the scope `admin`.

            async with omni.sync_catalog() as sync:
                async for step in sync:
                    print(step.source, step.stage)
            print(sync.report.added, sync.report.change_count)

        One sync runs at a time; a second one is `Busy`. A source that fails is told in the report,
        and keeps what it brought before.

        Args:
            sources: names of configured sources, such as `models.dev`; all of them if empty.
            dry_run: tells what would change, and writes nothing.
            accept: takes also what needs an operator's word: prices that move far, and sources
                that lack a large part of what they had.
            timeout: seconds that it may take; 5 minutes if you name none.
        """
        return AsyncCatalogSync(
            self._wire,
            catalog_sync.sync_request(sources, dry_run=dry_run, accept=accept),
            self._connection.timeouts.of(Kind.SYNC, timeout),
        )
