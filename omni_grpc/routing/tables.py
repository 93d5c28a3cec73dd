"""The tables of offers that requests are chosen from, kept for as long as the catalog stays.

Most callers reach the service's providers and have one table in common; who has accounts of its own
elsewhere has another. Which rows a key may call is kept as well: keys share few lists.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np

from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.core.tenancy import model_matches
from omni_grpc.routing.offer_table import Mask, OfferTable
from omni_grpc.routing.plan import RouteContext

OWN_TABLES_MAX: Final = 16
"""Tables kept of callers who reach more providers than the service: one for each selection of
providers, of which few are usual; some megabyte each."""

ALLOWED_KEPT_MAX: Final = 256
"""Lists of models whose rows are kept, a few kilobytes each; some milliseconds to make anew."""


class Tables:
    """The tables of the catalog's current version."""

    def __init__(self, snapshot: Callable[[], CatalogSnapshot], providers: frozenset[str]) -> None:
        self._snapshot = snapshot
        self._providers = providers
        self._table = OfferTable(CatalogSnapshot(), providers)
        self._own_tables: OrderedDict[frozenset[str], OfferTable] = OrderedDict()
        self._allowed_rows: OrderedDict[tuple[int, frozenset[str], tuple[str, ...]], Mask] = (
            OrderedDict()
        )

    def current(self, context: RouteContext) -> OfferTable:
        """What a caller is chosen from."""
        snapshot = self._snapshot()
        if self._table.version != snapshot.version:
            self._table = OfferTable(snapshot, self._providers)
            self._own_tables.clear()
        providers = context.callable_at(self._providers)
        if providers == self._providers:
            return self._table
        table = self._own_tables.pop(providers, None) or OfferTable(snapshot, providers)
        self._own_tables[providers] = table  # the latest used stands last
        if len(self._own_tables) > OWN_TABLES_MAX:
            self._own_tables.popitem(last=False)
        return table

    def allowed(self, table: OfferTable, context: RouteContext) -> Mask:
        """The rows that the caller's key may call. Keys share few lists, which change rarely."""
        wanted = (table.version, context.callable_at(self._providers), context.models)
        mask = self._allowed_rows.pop(wanted, None)
        if mask is None:
            found = [model_matches(context.models, one.id) for one in table.offers]
            mask = np.array(found, dtype=np.bool_)
        self._allowed_rows[wanted] = mask  # the latest used stands last
        if len(self._allowed_rows) > ALLOWED_KEPT_MAX:
            self._allowed_rows.popitem(last=False)
        return mask
