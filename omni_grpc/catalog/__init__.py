"""The catalog: which offers of which models there are, what each can do, and what it costs.

Reads come from a snapshot in memory; the database is asked only for its version.
"""

from omni_grpc.catalog.catalog import Catalog
from omni_grpc.catalog.changes import SeedReport
from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.filter import Filter, parse_filter
from omni_grpc.catalog.model import RESERVED_PREFIX, Alias, Modality, Mode, Offer, Rating
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.seed import seed
from omni_grpc.catalog.snapshot import CatalogSnapshot, OfferPage
from omni_grpc.catalog.sources import Reading, packaged_facts
from omni_grpc.catalog.store import CatalogStore

__all__ = [
    "RESERVED_PREFIX",
    "Alias",
    "Catalog",
    "CatalogSnapshot",
    "CatalogStore",
    "Filter",
    "Modality",
    "Mode",
    "Offer",
    "OfferFacts",
    "OfferPage",
    "Quote",
    "Rating",
    "Reading",
    "SeedReport",
    "fault_of",
    "packaged_facts",
    "parse_filter",
    "quote",
    "seed",
]
