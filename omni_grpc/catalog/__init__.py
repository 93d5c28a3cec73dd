"""The catalog: which offers of which models there are, what each can do, and what it costs.

Reads come from a snapshot in memory; the database is asked only for its version.
"""

from omni_grpc.catalog.aliases import check_scope, scopes_of
from omni_grpc.catalog.catalog import Catalog
from omni_grpc.catalog.changes import SeedReport
from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.filter import Filter, parse_equalities, parse_filter
from omni_grpc.catalog.history import HISTORY_FIELDS, ChangePage, RecordedChange
from omni_grpc.catalog.model import (
    GLOBAL_SCOPE,
    RESERVED_PREFIX,
    Alias,
    Modality,
    Mode,
    Offer,
    Rating,
)
from omni_grpc.catalog.operator_file import (
    OperatorFile,
    OperatorFileError,
    own_price,
    read_operator_file,
)
from omni_grpc.catalog.operator_watch import OperatorFileWatch
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.replacement import replaced
from omni_grpc.catalog.rows import etag_of
from omni_grpc.catalog.seed import seed
from omni_grpc.catalog.snapshot import CatalogSnapshot, OfferPage
from omni_grpc.catalog.sources import Reading, packaged_facts
from omni_grpc.catalog.sources.fees import honest
from omni_grpc.catalog.store import CatalogStore
from omni_grpc.catalog.words import LAYER_NAMES, OFFER_FIELDS, OwnPrice, Words

__all__ = [
    "GLOBAL_SCOPE",
    "HISTORY_FIELDS",
    "LAYER_NAMES",
    "OFFER_FIELDS",
    "RESERVED_PREFIX",
    "Alias",
    "Catalog",
    "CatalogSnapshot",
    "CatalogStore",
    "ChangePage",
    "Filter",
    "Modality",
    "Mode",
    "Offer",
    "OfferFacts",
    "OfferPage",
    "OperatorFile",
    "OperatorFileError",
    "OperatorFileWatch",
    "OwnPrice",
    "Quote",
    "Rating",
    "Reading",
    "RecordedChange",
    "SeedReport",
    "Words",
    "check_scope",
    "etag_of",
    "fault_of",
    "honest",
    "own_price",
    "packaged_facts",
    "parse_equalities",
    "parse_filter",
    "quote",
    "read_operator_file",
    "replaced",
    "scopes_of",
    "seed",
]
