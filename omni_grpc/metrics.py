"""What operators watch, in Prometheus' words; right with several workers.

With several workers prometheus-client keeps each one's numbers in a shared folder
(PROMETHEUS_MULTIPROC_DIR, set by the supervisor before this module is imported) and every worker
answers /metrics for all.
"""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from omni_grpc.billing import Recovered
from omni_grpc.routing import BreakerState

_CALL_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The service's metrics; also the observer of calls and of the ledger's lane."""

    def __init__(self) -> None:
        self._calls = Counter(
            "omni_calls", "Calls that ended, by outcome.", ("transport", "method", "reason")
        )
        self._seconds = Histogram(
            "omni_call_seconds",
            "Time of a call, streams to their end.",
            ("transport", "method"),
            buckets=_CALL_SECONDS,
        )
        self._of_call: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._batch_size = Histogram(
            "omni_ledger_batch_size", "Operations in one ledger transaction.", buckets=_BATCH_SIZES
        )
        self._batch_seconds = Histogram(
            "omni_ledger_batch_seconds", "Time of one ledger transaction.", buckets=_BATCH_SECONDS
        )
        self._connected = Gauge(
            "omni_ledger_connected",
            "Workers whose ledger connection stands.",
            multiprocess_mode="livesum",
        )
        self._running = Gauge(
            "omni_calls_running", "Calls in progress.", multiprocess_mode="livesum"
        )
        self._queued = Gauge(
            "omni_ledger_queued",
            "Ledger operations that wait for their outcome.",
            multiprocess_mode="livesum",
        )
        self._parked = Gauge(
            "omni_ledger_rows_parked",
            "Rows that another database session has locked, so that what needs them waits.",
            multiprocess_mode="livesum",
        )
        self._recovered = Counter(
            "omni_journal_recovered",
            "Holds of dead workers that were ended by their journals, by how.",
            ("end",),
        )
        self._journaled = Gauge(
            "omni_journal_unacknowledged",
            "Attempts in journals whose end the database has not acknowledged.",
            multiprocess_mode="livesum",
        )
        self._journal_failing = Gauge(
            "omni_journal_failing",
            "Workers that cannot write their journal; they call no provider.",
            multiprocess_mode="livesum",
        )
        self._dead_letters = Counter(
            "omni_ledger_dead_letters",
            "Ends of attempts that the database can never apply, kept as dead letters.",
        )
        self._breakers = Gauge(
            "omni_breaker_open",
            "Workers whose breaker for an offer is not closed.",
            ("model",),
            multiprocess_mode="livesum",
        )
        self._unusable = Counter(
            "omni_credentials_unusable",
            "Tenants' credentials that no master key here opens, when they were first asked for.",
        )
        self._endpoints = Counter(
            "omni_endpoint_requests",
            "Requests to endpoints of providers that have several, by outcome.",
            ("provider", "endpoint", "outcome"),
        )
        self._probes = Counter(
            "omni_provider_probes",
            "Probes of providers whose breakers are open, by outcome.",
            ("provider", "outcome"),
        )
        self._of_endpoint: dict[tuple[str, ...], Counter] = {}
        self._rows_dropped = Counter(
            "omni_usage_rows_dropped",
            "Rows of calls that usage reports will never have: refused, or the database was away.",
        )
        self._limits_admitted = Counter(
            "omni_rate_limits_admitted", "Attempts that rate limits meet, and had room for."
        )
        self._limits_refused = Counter(
            "omni_rate_limits_refused",
            "Attempts that a rate limit had no room for, by what it counts.",
            ("kind",),
        )
        self._redis_up = Gauge(
            "omni_redis_up",
            "Workers that count rate limits in Redis; others count for themselves.",
            multiprocess_mode="livesum",
        )
        self._holds = Gauge(
            "omni_holds",
            "Holds in the ledger, by state.",
            ("state",),
            multiprocess_mode="mostrecent",
        )

    def limits_admitted(self) -> None:
        """An attempt that rate limits meet had room in them."""
        self._limits_admitted.inc()

    def limits_refused(self, kind: str) -> None:
        """A rate limit of requests, tokens or calls at once had none."""
        self._limits_refused.labels(kind).inc()

    def redis_changed(self, *, is_up: bool) -> None:
        """Redis came or went, for this worker."""
        self._redis_up.set(int(is_up))

    def call_ended(self, transport: str, method: str, reason: str, seconds: float) -> None:
        """One call ended; `reason` is OK, CANCELLED or an error's reason."""
        key = (transport, method, reason)
        found = self._of_call.get(key)
        if found is None:  # labels() takes locks and builds keys; there are few combinations
            found = (self._calls.labels(*key), self._seconds.labels(transport, method))
            self._of_call[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def batch_applied(self, size: int, seconds: float) -> None:
        """The lane committed a batch."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def connection_changed(self, connected: bool) -> None:
        """The lane's connection came or went."""
        self._connected.set(int(connected))

    def rows_parked(self, count: int) -> None:
        """That many rows are locked by other sessions."""
        self._parked.set(count)

    def dead_letter_written(self) -> None:
        """The lane set an operation aside."""
        self._dead_letters.inc()

    def call_rows_dropped(self, count: int) -> None:
        """The log of calls could not keep rows."""
        self._rows_dropped.inc(count)

    def journal_recovered(self, found: Recovered) -> None:
        """A dead worker's journal was brought into the ledger."""
        for end in ("settled", "estimated", "voided", "unresolved", "refused"):
            self._recovered.labels(end).inc(getattr(found, end))

    def journal_sampled(self, unacknowledged: int, *, failing: bool) -> None:
        """What a worker's own journal has to keep, and whether it can."""
        self._journaled.set(unacknowledged)
        self._journal_failing.set(int(failing))

    def sampled(self, running: int, queued: int) -> None:
        """What a worker looks at once a second."""
        self._running.set(running)
        self._queued.set(queued)

    def breaker_changed(self, offer: str, state: BreakerState) -> None:
        """A breaker of this worker opened or closed."""
        self._breakers.labels(offer).set(int(state is not BreakerState.CLOSED))

    def endpoint_answered(self, provider: str, endpoint: str) -> None:
        """An endpoint answered."""
        self._endpoint_asked(provider, endpoint, "answered")

    def endpoint_failed(self, provider: str, endpoint: str) -> None:
        """An endpoint brought no answer."""
        self._endpoint_asked(provider, endpoint, "failed")

    def credential_unusable(self) -> None:
        """A tenant's credential of a provider does not open here."""
        self._unusable.inc()

    def _endpoint_asked(self, *key: str) -> None:
        found = self._of_endpoint.get(key)
        if found is None:
            found = self._of_endpoint[key] = self._endpoints.labels(*key)
        found.inc()

    def provider_probed(self, provider: str, *, is_there: bool) -> None:
        """A probe of a provider ended."""
        self._probes.labels(provider, "answered" if is_there else "failed").inc()

    def holds_counted(self, open_count: int, unresolved_count: int) -> None:
        """What the ledger's tables say, the same for all workers."""
        self._holds.labels("open").set(open_count)
        self._holds.labels("unresolved").set(unresolved_count)


def render() -> tuple[bytes, str]:
    """The exposition of all workers, and its content type."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry), CONTENT_TYPE_LATEST
