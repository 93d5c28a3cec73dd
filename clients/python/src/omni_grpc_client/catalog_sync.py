"""A sync of the catalog: the steps of its sources while it runs, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc_client.calls import count_of, listed, word_of
from omni_grpc_client.errors import Internal


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """One step of one source.

    Attributes:
        source: its name.
        stage: `fetching`, `reading`, then `read`, `unchanged`, `failed` or `refused`; more may
            come. What a source brought before stays where it failed, and where it was refused
            since it lacks so much of it that it needs an operator's word.
        received_bytes: what came so far, packed as it was sent.
        expected_bytes: what is to come in all; None if that is not known.
        offers: offers that were read.
        failure: why it failed or was refused; empty otherwise.
    """

    source: str
    stage: str | None
    received_bytes: int
    expected_bytes: int | None
    offers: int
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOutcome:
    """What became of one source.

    Attributes:
        source: its name.
        stage: `read`, `unchanged`, `failed` or `refused`.
        offers: offers that were read.
        unpriced_offers: of these, without a price that can be believed.
        faults: models that could not be read, one line each, at most 100.
        failure: why it failed or was refused; empty otherwise.
    """

    source: str
    stage: str | None
    offers: int
    unpriced_offers: int
    faults: tuple[str, ...]
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedChange:
    """A fact of an offer that changed. None on one side: it was added, or taken away."""

    model: str
    field: str
    old_value: str | None
    new_value: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPrice:
    """A price that moves further than prices may by themselves: it waits for `accept`.

    `old_value` holds and `new_value` waits, in US dollars per million of each unit:
    `prompt=2.5 completion=10`. `change_ppm` is the largest move, in millionths of the old; None if
    it comes from zero or becomes zero.
    """

    model: str
    source: str
    old_value: str
    new_value: str
    change_ppm: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did, or in a dry run would do.

    Attributes:
        version: the catalog's version after it.
        dry_run: whether nothing was written.
        sources: what became of each, the most trusted first.
        added: offers that are new.
        updated: offers of which a fact changed, or the source that it comes from.
        repriced: offers with a new price version.
        delisted: offers that no source lists any more.
        relisted: offers that are listed again.
        changes: facts that changed, at most 1000, prices first; `model_changes` has all.
        change_count: how many changed in all.
        waiting_prices: prices that stay as they were until somebody accepts them, at most 1000.
        waiting_price_count: how many wait in all.
        duration_ms: how long it took.
    """

    version: int
    dry_run: bool
    sources: tuple[SourceOutcome, ...]
    added: int
    updated: int
    repriced: int
    delisted: int
    relisted: int
    changes: tuple[SyncedChange, ...]
    change_count: int
    waiting_prices: tuple[WaitingPrice, ...]
    waiting_price_count: int
    duration_ms: int
    raw: pb.SyncReport = field(repr=False, compare=False)


def sync_request(sources: Sequence[str], *, dry_run: bool, accept: bool) -> pb.SyncCatalogRequest:
    """SyncCatalog; its events are read by `Syncing`."""
    return pb.SyncCatalogRequest(sources=listed(sources, "sources"), dry_run=dry_run, accept=accept)


class Syncing:
    """What both clients' syncs show; the reading of events is theirs."""

    def __init__(self) -> None:
        self._report: SyncReport | None = None

    @property
    def report(self) -> SyncReport:
        """What the sync did, once it has ended.

        Raises:
            RuntimeError: it has not ended, or it failed.
        """
        if self._report is None:
            raise RuntimeError("the sync has no report yet: read it to its end")
        return self._report

    def _take(self, event: pb.SyncCatalogResponse) -> SyncProgress | None:
        """A step, if it is one; what this client does not know is passed over."""
        match event.WhichOneof("event"):
            case "progress":
                return _progress(event.progress)
            case "report":
                self._report = _report(event.report)
        return None

    def _check_ended(self) -> None:
        if self._report is None:
            raise Internal("The sync broke the contract: it ended with OK but no report.")


def _progress(raw: pb.SyncProgress) -> SyncProgress:
    return SyncProgress(
        source=raw.source,
        stage=_stage(raw.stage),
        received_bytes=raw.received_byte_count,
        expected_bytes=count_of(raw, "expected_byte_count"),
        offers=raw.offer_count,
        failure=raw.failure,
    )


def _report(raw: pb.SyncReport) -> SyncReport:
    return SyncReport(
        version=raw.version,
        dry_run=raw.dry_run,
        sources=tuple(map(_outcome, raw.sources)),
        added=raw.added_count,
        updated=raw.updated_count,
        repriced=raw.repriced_count,
        delisted=raw.delisted_count,
        relisted=raw.relisted_count,
        changes=tuple(map(_change, raw.changes)),
        change_count=raw.change_count,
        waiting_prices=tuple(
            WaitingPrice(
                model=one.model,
                source=one.source,
                old_value=one.old_value,
                new_value=one.new_value,
                change_ppm=count_of(one, "change_ppm"),
            )
            for one in raw.waiting_prices
        ),
        waiting_price_count=raw.waiting_price_count,
        duration_ms=raw.duration_ms,
        raw=raw,
    )


def _outcome(raw: pb.SourceOutcome) -> SourceOutcome:
    return SourceOutcome(
        source=raw.source,
        stage=_stage(raw.stage),
        offers=raw.offer_count,
        unpriced_offers=raw.unpriced_count,
        faults=tuple(raw.faults),
        failure=raw.failure,
    )


def _change(raw: pb.SyncedChange) -> SyncedChange:
    return SyncedChange(
        model=raw.model,
        field=raw.field,
        old_value=raw.old_value if raw.HasField("old_value") else None,
        new_value=raw.new_value if raw.HasField("new_value") else None,
        source=raw.source,
    )


def _stage(value: int) -> str | None:
    return word_of(pb.SyncStage, "SYNC_STAGE_", value)
