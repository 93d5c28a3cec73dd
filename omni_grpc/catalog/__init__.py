"""The catalog: which offers of which models there are, what each can do, and what it costs.

Reads come from a snapshot in memory; the database is asked only for its version.
"""

from omni_grpc.catalog.absent import absence
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
    unmatched,
)
from omni_grpc.catalog.operator_watch import OperatorFileWatch
from omni_grpc.catalog.prices import Quote, quote, rates_text
from omni_grpc.catalog.replacement import replaced
from omni_grpc.catalog.rows import etag_of
from omni_grpc.catalog.schedule import Schedule
from omni_grpc.catalog.seed import seed
from omni_grpc.catalog.snapshot import CatalogSnapshot, OfferPage
from omni_grpc.catalog.sources import Reading, packaged_facts
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.fees import honest
from omni_grpc.catalog.sources.registry import Source, parse_sources
from omni_grpc.catalog.sources.store import SourceStore
from omni_grpc.catalog.store import CatalogStore
from omni_grpc.catalog.sync import Progress, SourceReport, Stage, Syncer, SyncReport
from omni_grpc.catalog.validation import Opinion, Validation, opinions, validate
from omni_grpc.catalog.words import LAYER_NAMES, OFFER_FIELDS, OwnPrice, Words
from omni_grpc.catalog.writing import Audit

__all__ = [
    "GLOBAL_SCOPE",
    "HISTORY_FIELDS",
    "LAYER_NAMES",
    "OFFER_FIELDS",
    "RESERVED_PREFIX",
    "Alias",
    "Audit",
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
    "Opinion",
    "OwnPrice",
    "Progress",
    "Quote",
    "Rating",
    "Reading",
    "RecordedChange",
    "Schedule",
    "SeedReport",
    "Source",
    "SourceError",
    "SourceReport",
    "SourceStore",
    "Stage",
    "SyncReport",
    "Syncer",
    "Validation",
    "Words",
    "absence",
    "check_scope",
    "etag_of",
    "fault_of",
    "honest",
    "opinions",
    "own_price",
    "packaged_facts",
    "parse_equalities",
    "parse_filter",
    "parse_sources",
    "quote",
    "rates_text",
    "read_operator_file",
    "replaced",
    "scopes_of",
    "seed",
    "unmatched",
    "validate",
]
