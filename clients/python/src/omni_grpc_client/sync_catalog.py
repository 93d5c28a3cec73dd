"""The synchronous client's methods of the catalog. `aio_catalog.py` has the same for asyncio."""

from collections.abc import Sequence
from typing import Unpack

from omni_grpc_client import aliases, catalog, catalog_sync
from omni_grpc_client.aliases import Alias
from omni_grpc_client.calls import Kind, Page
from omni_grpc_client.catalog import Model, ModelChange, ModelUpdate, Resolution
from omni_grpc_client.client import Client
from omni_grpc_client.pages import Pages
from omni_grpc_client.sync_stream import CatalogSync
from omni_grpc_client.sync_wire import Wire


class CatalogMethods(Client):
    """Models, their prices and ratings, and what operators say: a part of `Omni`."""

    _wire: Wire

    def model(self, name: str, *, timeout: float | None = None) -> Model:
        """One offer, as `provider/model` or by its resource name."""
        call = catalog.get_model(name)
        return self._wire.run(self._wire.stubs.catalog.GetModel, call, timeout)

    def models(
        self,
        where: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Pages[Model]:
        """The offers, by name. `where` is a filter: `provider = "openai" AND tools = true`."""

        def fetch(token: str) -> Page[Model]:
            call = catalog.list_models(where, page_size, token)
            return self._wire.run(self._wire.stubs.catalog.ListModels, call, timeout)

        return Pages(fetch, page_token)

    def resolve_model(
        self, name: str, *, scope: str = "", timeout: float | None = None
    ) -> Resolution:
        """What a name means to this key's organisation, or in another scope: `global`."""
        call = catalog.resolve_model(name, scope)
        return self._wire.run(self._wire.stubs.catalog.ResolveModel, call, timeout)

    def update_model(
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
        return self._wire.run(self._wire.stubs.catalog.UpdateModel, call, timeout)

    def model_changes(
        self,
        where: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Pages[ModelChange]:
        """What changed in the catalog, newest first; needs the scope `admin`.

        `where` is a filter: `subject = "openai/gpt-4o" AND field = "price"`.
        """

        def fetch(token: str) -> Page[ModelChange]:
            call = catalog.list_model_changes(where, page_size, token)
            return self._wire.run(self._wire.stubs.catalog.ListModelChanges, call, timeout)

        return Pages(fetch, page_token)

    def aliases(
        self,
        scope: str = "global",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Pages[Alias]:
        """The aliases of a scope, `global` or `orgs/{org}`, by name."""

        def fetch(token: str) -> Page[Alias]:
            call = aliases.list_aliases(scope, page_size, token)
            return self._wire.run(self._wire.stubs.catalog.ListAliases, call, timeout)

        return Pages(fetch, page_token)

    def set_alias(
        self,
        name: str,
        targets: Sequence[str],
        *,
        scope: str = "global",
        timeout: float | None = None,
    ) -> Alias:
        """Makes an alias, or changes it; needs the scope `admin`."""
        call = aliases.set_alias(name, targets, scope)
        return self._wire.run(self._wire.stubs.catalog.SetAlias, call, timeout)

    def delete_alias(
        self, name: str, *, scope: str = "global", timeout: float | None = None
    ) -> None:
        """Takes an alias away; needs the scope `admin`."""
        call = aliases.delete_alias(name, scope)
        self._wire.run(self._wire.stubs.catalog.DeleteAlias, call, timeout)

    def sync_catalog(
        self,
        sources: Sequence[str] = (),
        *,
        dry_run: bool = False,
        accept: bool = False,
        timeout: float | None = None,
    ) -> CatalogSync:
        """Asks the catalog's sources what they say now; needs the scope `admin`.

            with omni.sync_catalog() as sync:
                for step in sync:
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
        return CatalogSync(
            self._wire,
            catalog_sync.sync_request(sources, dry_run=dry_run, accept=accept),
            self._connection.timeouts.of(Kind.SYNC, timeout),
        )
