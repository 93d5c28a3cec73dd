"""How a client reaches the service: target, TLS, key, channel options, retries, time.

Both clients open their channel from one `Connection`. It never sends an API key in the clear to
another machine unless told to, and it never shows the key.
"""

import importlib.metadata
import ipaddress
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from omni_grpc_client.calls import Kind
from omni_grpc_client.errors import ApiKeyMissing, Deadline

TARGET_DEFAULT: Final = "127.0.0.1:50051"
ENV_TARGET: Final = "OMNI_GRPC_ADDR"
ENV_API_KEY: Final = "OMNI_API_KEY"

KEEPALIVE_TIME_MS: Final = 30_000
"""A silent connection is asked for a sign of life this often. A model may think for minutes
without a byte, and most NATs and load balancers forget a silent connection after 60 to 350 s."""

KEEPALIVE_TIMEOUT_MS: Final = 10_000
"""A peer that does not answer for this long is gone: calls fail in 40 s, not at their deadline."""

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Both ways. The service takes 10 MiB and says so itself; long answers with 20 likely tokens at
each place are far above gRPC's own 4 MiB."""

RETRY_ATTEMPTS_MAX: Final = 4
"""What gRPC repeats has a first try and three more, after about 0.1, 0.2 and 0.4 s: over a lost
connection or a busy moment, not over an outage."""

RECONNECT_BACKOFF_MS: Final = 100
"""The first pause before a lost connection is made again, growing to the maximum. gRPC's own first
pause of 1 s would outlast all retries, which fail at once while it lasts."""

RECONNECT_BACKOFF_MS_MAX: Final = 10_000
"""A service that is back after an outage is found within this time."""

RETRIED_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "omni.billing.v1.BillingService": (
        # Reads.
        "GetBalance",
        "ListLedgerEntries",
        "GetUsageRecord",
        "ListUsageRecords",
        "SummarizeUsage",
        "ListUnresolvedAttempts",
        # These move money and carry a request id, so the service does a repeat only once.
        "GrantCredits",
        "RefundCharge",
        "CreateHold",
        "SettleHold",
        "ReleaseHold",
        # An attempt is resolved once, whoever says it how often.
        "ResolveAttempt",
    ),
    # These call no provider and cost nothing.
    "omni.router.v1.RouterService": ("EstimateChat", "ExplainRoute"),
    "omni.catalog.v1.CatalogService": (
        "GetModel",
        "ListModels",
        "ResolveModel",
        "ListModelChanges",
        "ListAliases",
    ),
    "omni.admin.v1.AdminService": (
        "ListApiKeys",
        "GetRoutingPolicy",
        "ListRoutingPolicies",
        "GetExperiment",
        "ListExperiments",
        "GetExperimentReport",
    ),
}
"""What gRPC repeats on UNAVAILABLE. Calls of models are not here: they are repeated for more than
that, by `retrying`. What creates or changes keys, organisations, policies and the catalog is not
repeated at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Default time of a call, retries included, in seconds. Each call may name its own.

    Attributes:
        chat_s: a whole chat, stream or other call of a model; the service allows no more than 600.
        read_s: balances, pages, models, usage, estimates.
        write_s: what moves money or changes something; the ledger itself may wait up to 10.
        sync_s: a sync of the catalog; the service gives each source a minute.
    """

    chat_s: float = 600.0
    read_s: float = 10.0
    write_s: float = 15.0
    sync_s: float = 300.0

    def of(self, kind: Kind, timeout: float | None) -> float:
        """The seconds that a call has.

        Raises:
            ValueError: `timeout` is no finite number.
            Deadline: `timeout` is over already, as when it is what is left of a budget.
        """
        if timeout is None:
            defaults = {
                Kind.MODEL: self.chat_s,
                Kind.READ: self.read_s,
                Kind.WRITE: self.write_s,
                Kind.SYNC: self.sync_s,
            }
            timeout = defaults[kind]
        if not math.isfinite(timeout):
            raise ValueError(f"a timeout of {timeout} s is no finite number of seconds")
        if timeout <= 0:
            # Not left to gRPC: grpc.aio lets a call with a timeout of 0 run.
            raise Deadline("No time was left when the call was made.", charged_nanousd=0)
        return timeout


DEFAULT_TIMEOUTS: Final = Timeouts()


class Bearer(str):
    """The `authorization` value. Its repr hides it, since gRPC and tracers print metadata."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'Bearer ***'"


class Connection:
    """Everything that both clients need to open a channel and to send a call.

    Attributes:
        target: the gRPC target.
        credentials: TLS credentials; None for plaintext.
        options: channel options.
        metadata: sent with every call; holds the key.
        timeouts: default times.
        wait_for_ready: whether calls wait for a server that is not there yet.
    """

    def __init__(
        self,
        target: str | None,
        *,
        api_key: str | None,
        tls: bool | grpc.ChannelCredentials,
        insecure: bool,
        timeouts: Timeouts,
        wait_for_ready: bool,
        channel_options: Sequence[tuple[str, str | int]],
    ) -> None:
        self.target = _target(target)
        local = _is_local(self.target)
        self.credentials = _credentials(tls, insecure=insecure, local=local)
        self.options = (*_channel_options(local=local), *channel_options)
        self.metadata = (("authorization", _bearer(api_key)),)
        self.timeouts = timeouts
        self.wait_for_ready = wait_for_ready

    def __repr__(self) -> str:
        how = "plaintext" if self.credentials is None else "TLS"
        return f"{self.target} ({how})"


def _target(given: str | None) -> str:
    target = given or os.environ.get(ENV_TARGET) or TARGET_DEFAULT
    if target.startswith(("http:", "https:", "grpc:", "grpcs:")):
        raise ValueError(f"{target!r} is a URL: give host:port, and tls=True for TLS")
    return target


def _bearer(api_key: str | None) -> Bearer:
    key = (api_key or os.environ.get(ENV_API_KEY) or "").strip()
    if not key:
        raise ApiKeyMissing(f"No API key: pass api_key= or set {ENV_API_KEY}.", charged_nanousd=0)
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Not shown, and not left to gRPC, whose complaint would print it.
        raise ValueError("the API key has characters that no key has: check where it comes from")
    return Bearer(f"Bearer {key}")


def _credentials(
    tls: bool | grpc.ChannelCredentials, *, insecure: bool, local: bool
) -> grpc.ChannelCredentials | None:
    if tls:
        if insecure:
            raise ValueError("tls and insecure contradict each other: give one of them")
        return grpc.ssl_channel_credentials() if tls is True else tls
    if insecure or local:
        return None
    return grpc.ssl_channel_credentials()


def _is_local(target: str) -> bool:
    """Whether every address of the target is on this machine, told without asking a resolver."""
    scheme, _, rest = target.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return True
    if scheme in {"ipv4", "ipv6"}:
        return all(_is_loopback(address) for address in rest.split(","))
    if scheme == "dns":
        # A resolver named in the target (dns://8.8.8.8/localhost) may answer what it likes.
        return _is_loopback(rest.removeprefix("///"))
    return _is_loopback(target)


def _is_loopback(address: str) -> bool:
    host = address
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        host = address.partition(":")[0]
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _channel_options(*, local: bool) -> tuple[tuple[str, str | int], ...]:
    return (
        ("grpc.primary_user_agent", f"omni-grpc-client/{_version()}"),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # Idle connections are left alone: a server may take their pings for abuse.
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.enable_retries", 1),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MAX),
        ("grpc.service_config", service_config()),
        # Plaintext to this machine must not leave it through a proxy of the environment.
        ("grpc.enable_http_proxy", 0 if local else 1),
    )


def service_config() -> str:
    """The retries that gRPC itself makes: of safe methods, on UNAVAILABLE only."""
    return json.dumps(
        {
            "methodConfig": [
                {
                    "name": [
                        {"service": service, "method": method}
                        for service, methods in RETRIED_METHODS.items()
                        for method in methods
                    ],
                    "retryPolicy": {
                        "maxAttempts": RETRY_ATTEMPTS_MAX,
                        "initialBackoff": "0.1s",
                        "maxBackoff": "2s",
                        "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
            # A service in trouble is not asked four times as often: after a few failures in a
            # row only first tries go out, until some succeed.
            "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
        }
    )


def _version() -> str:
    return importlib.metadata.version("omni-grpc-client")
