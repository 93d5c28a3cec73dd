"""All that an operator can set, checked whole, then frozen. Secrets print as stars."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

from omni_grpc.core.limits import (
    CALLS_AT_ONCE_MAX,
    CATALOG_PRICE_CHANGE_MAX_PPM,
    HOLD_LEASE_SECONDS,
    MODEL_ID_CHARS_MAX,
    PROBE_SECONDS,
    UNRESOLVED_HOURS,
)

SECRET_BYTES_MIN: Final = 32

ROLES: Final = ("owner", "admin", "developer", "viewer")
"""What a value of the role claim can mean."""

_HOST: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")


class Settings(BaseModel):
    """All that an operator can set. Each field is `OMNI_<NAME>`, or a key of omni.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: SecretStr | None = None
    """PostgreSQL 15 or newer; DATABASE_URL without a prefix, as is the custom."""

    key_hash_secret: SecretStr | None = None
    """At least 32 bytes as text: keys the hashes of API keys and seals page tokens."""

    grpc_addr: str = "127.0.0.1:50051"
    rest_addr: str = "127.0.0.1:8080"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    reflection: bool = False
    """Whether gRPC reflection is served; `dev` turns it on."""

    metrics: bool = True
    """Whether /metrics is served."""

    cors_origins: tuple[str, ...] = ()
    """Origins that browsers may call from, comma-separated; none by default."""

    markup_ppm: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """What is charged above the provider's price, in millionths: 50000 is 5 %."""

    journal_dir: Path | None = None
    """Where workers keep what the database does not know yet; on a disk that survives a restart.
    $XDG_STATE_HOME/omni-grpc/journal if unset."""

    hold_lease_s: Annotated[int, Field(ge=1, le=3600)] = int(HOLD_LEASE_SECONDS)
    """After so many seconds of silence a worker's calls count as unresolved; it stops them itself
    a sixth of that earlier. The same for all servers of a database."""

    unresolved_hours: Annotated[float, Field(ge=0, le=8760)] = UNRESOLVED_HOURS
    """After so many hours an unresolved attempt is written off: the customer gets the hold back,
    the operator bears it. 0: never."""

    replay_answers: bool = True
    """Whether answers of calls with a request id are kept for a day, encrypted, so that a repeat
    gets the same answer; without it a repeat is only told what the call cost."""

    store_responses_hours: Annotated[float, Field(ge=0, le=8760)] = 0
    """For so many hours responses are kept, encrypted, unless the caller says `store: false`.
    0: none is."""

    premium_model: Annotated[str, Field(max_length=MODEL_ID_CHARS_MAX)] = ""
    """The model that savings are counted against, as callers name models; the best rated that can
    be called if unset."""

    classifier: Annotated[str, Field(max_length=MODEL_ID_CHARS_MAX + 6)] = "local"
    """Who says what a request under omni/ is about: `local`, or `model:` and the name of a cheap
    model, which is asked first, at the caller's cost."""

    classifier_seconds: Annotated[float, Field(gt=0, le=30)] = 2.0
    """After so many seconds the local answer is taken."""

    credits_per_usd: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000
    """How many credits a dollar is, where amounts are shown in credits too."""

    redis_url: SecretStr | None = None
    """redis:// or rediss://, where rate limits of all servers are counted together; each worker
    counts for itself if unset."""

    redis_wait_ms: Annotated[int, Field(ge=1, le=10_000)] = 50
    """For so many milliseconds a call waits for Redis; then its worker alone decides."""

    oidc_issuer: str = ""
    """The issuer whose tokens sign users in, an https URL; none if empty."""

    oidc_audience: str = ""
    """What tokens must be for: their `aud`. Required with an issuer."""

    oidc_jwks_url: str = ""
    """Where the issuer's keys are; found by its discovery document if empty."""

    oidc_org_claim: str = "org"
    """Which claim names the organisation, by its id; `a.b` is a claim within a claim."""

    oidc_role_claim: str = "role"
    """Which claim names the role, or a list of which one does."""

    oidc_roles: dict[str, str] = {}
    """By a value of the role claim: owner, admin, developer or viewer, which mean themselves. In
    the environment `staff=developer,boss=owner`."""

    wallet_sign_in: bool = False
    """Whether wallets sign in with SIGN-IN-WITH-X; each wallet has an organisation of its own.
    `dev` turns it on."""

    wallet_headers: bool = False
    """Whether they also sign in with x-wallet-address, -signature and -nonce, which are not bound
    to this host: a signature could be used elsewhere. `dev` turns it on."""

    wallet_domain: str = ""
    """The host, with its port where that is not the usual one, that wallets sign in to; that of
    `public_url` if empty. Without either only this machine's own names of itself are taken."""

    sign_up_nanousd: Annotated[int, Field(ge=0, le=10**12)] = 0
    """Credits that a wallet's new organisation is given, in billionths of a US dollar."""

    address_failures_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """How often an address may fail to say who it is in any minute, in one worker; then it is
    refused before it is asked. 0: as often as it likes."""

    address_requests_per_minute: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """How many requests an address may send in any minute, in one worker. 0: any number."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks, comma-separated, whose X-Forwarded-For says who calls."""

    tls_cert_file: Path | None = None
    """The server's certificate chain, PEM; with `tls_key_file`, for gRPC and REST. Read again when
    it changes."""

    tls_key_file: Path | None = None
    """The certificate's private key, PEM."""

    tls_client_ca_file: Path | None = None
    """Authorities whose certificates clients must have (mTLS), PEM; none must if unset."""

    credential_master_key: SecretStr | None = None
    """32 bytes in base64 or hex, under which tenants' provider credentials are sealed; none can be
    stored if unset. Older keys, comma-separated behind it, still open what they sealed."""

    credential_master_key_file: Path | None = None
    """A file with the same, a key a line, the current one first."""

    credential_fee_ppm: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    """What calls with a credential that a tenant stores cost, in millionths of the model's price;
    the whole price if unset. An operator may say otherwise for one."""

    webhook_private_hosts: bool = False
    """Whether webhooks may lead to private addresses, and over http. `dev` turns it on."""

    public_url: str = ""
    """Where callers reach the REST side, https://host: named in offers and receipts."""

    topup_min_nanousd: Annotated[int, Field(ge=1_000_000)] = 1_000_000_000
    topup_max_nanousd: Annotated[int, Field(ge=1_000_000, le=10**15)] = 10_000_000_000_000

    x402_facilitator_url: str = ""
    """Who verifies and settles payments in USDC, an https URL; none are taken if empty."""

    x402_pay_to: str = ""
    """The wallet that is paid: its Solana address. Required with a facilitator."""

    x402_network: Literal["solana", "solana-devnet"] = "solana"

    x402_rpc_url: str = ""
    """A Solana node that says what arrived; the facilitator's word is taken if empty."""

    stripe_api_key: SecretStr | None = None
    """Stripe's secret key; cards are not taken if unset."""

    stripe_webhook_secret: SecretStr | None = None
    """What Stripe signs its webhooks with. Required with a key."""

    stripe_api_base: str = "https://api.stripe.com"

    calls_at_once_max: Annotated[int, Field(ge=1)] = CALLS_AT_ONCE_MAX
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    probe_seconds: Annotated[float, Field(ge=0, le=3600)] = PROBE_SECONDS
    """Every so many seconds a worker asks providers whose breakers are open whether they are there.
    0: never."""

    providers_file: Path | None = None
    """A YAML file of providers of one's own, and of changes to known ones; providers.yaml of the
    working folder if there is one."""

    policies_file: Path | None = None
    """A YAML file of routing policies and experiments, read again when it changes; policies.yaml of
    the working folder if there is one."""

    models_file: Path | None = None
    """A YAML file of what the operator says of models; models.yaml of the working folder if there
    is one. Read again when it changes."""

    catalog_sources: tuple[str, ...] = ()
    """What `catalog sync` asks, comma-separated: names of public sources (models.dev, openrouter,
    litellm, genai-prices), or NAME=LOCATION with an https URL or a file's path. The public ones if
    empty."""

    catalog_sync_hours: Annotated[float, Field(ge=0, le=8760)] = 0
    """Every so many hours one of the servers syncs the catalog. 0: none does."""

    catalog_price_change_max_ppm: Annotated[int, Field(ge=0, le=1_000_000_000)] = (
        CATALOG_PRICE_CHANGE_MAX_PPM
    )
    """How far a price may move in a sync without being accepted, in millionths of what it was."""

    provider_keys: dict[str, SecretStr] = {}
    """By provider id; from the provider's customary variable, such as OPENAI_API_KEY."""

    provider_variables: dict[str, dict[str, SecretStr]] = {}
    """By provider id and name; from the variables that the provider's entry names, such as
    AWS_REGION."""

    provider_endpoint_keys: dict[str, dict[str, SecretStr]] = {}
    """By provider id and endpoint; from the variable that the endpoint names."""

    provider_endpoint_variables: dict[str, dict[str, dict[str, SecretStr]]] = {}
    """By provider id, endpoint and name; from the variables that the endpoint names."""

    provider_base_urls: dict[str, str] = {}
    """By provider id; OMNI_PROVIDER_<ID>_BASE_URL."""

    provider_bills_after_cancel: dict[str, bool] = {}
    """By provider id, where another address is another company's: whether a cancelled call goes on
    costing there; OMNI_PROVIDER_<ID>_BILLS_AFTER_CANCEL."""

    @field_validator("grpc_addr", "rest_addr")
    @classmethod
    def _address(cls, value: str) -> str:
        match = _ADDRESS.fullmatch(value)
        if match is None or int(match.group(2)) > 65_535:  # noqa: PLR2004 - the largest port
            raise ValueError("must be host:port, such as 127.0.0.1:50051 (port 0 picks a free one)")
        return value

    @field_validator("key_hash_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < SECRET_BYTES_MIN:
            raise ValueError(
                f"must have at least {SECRET_BYTES_MIN} bytes; make one with: openssl rand -hex 32"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("postgresql://", "postgres://")
        ):
            raise ValueError("must be a postgresql:// URL")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from redis.asyncio.connection import parse_url  # late: most set none

            text = value.get_secret_value()
            try:
                if not text.startswith(("redis://", "rediss://")) or not parse_url(text)["host"]:
                    raise ValueError
            except (KeyError, ValueError):
                words = "must be redis://HOST:PORT/DATABASE, or rediss:// for TLS"
                raise ValueError(words) from None
        return value

    @field_validator("cors_origins", "catalog_sources", "trusted_proxies", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("oidc_issuer", "oidc_jwks_url", "x402_facilitator_url")
    @classmethod
    def _fetchable(cls, value: str) -> str:
        from omni_grpc.identity.jwks import is_safe_url  # late: most set none

        if value and not is_safe_url(value):
            raise ValueError("must be an https URL (http on this machine alone)")
        return value

    @field_validator("x402_rpc_url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must be an https or http URL")
        return value

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _role_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): role.strip() for name, _, role in pairs}

    @field_validator("oidc_roles")
    @classmethod
    def _known_roles(cls, value: dict[str, str]) -> dict[str, str]:
        if not set(value.values()) <= set(ROLES):
            raise ValueError(
                f"must be pairs VALUE=ROLE, comma-separated; the roles are {', '.join(ROLES)}"
            )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValueError(
                    f"{text!r} is no address and no network such as 10.0.0.0/8"
                ) from None
        return value

    @field_validator("wallet_domain")
    @classmethod
    def _host(cls, value: str) -> str:
        if value and _HOST.fullmatch(value) is None:
            raise ValueError("must be a host, such as api.example.com, without scheme and path")
        return value.lower()

    @field_validator("classifier")
    @classmethod
    def _classifies(cls, value: str) -> str:
        name = value.removeprefix("model:").strip()
        if value != "local" and (name == value or not name or name.startswith("omni/")):
            raise ValueError(
                'must be "local", or "model:" and a model that is not under omni/, such as '
                "model:openai/gpt-4o-mini"
            )
        return value

    @field_validator("catalog_sources")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            return value
        from omni_grpc.catalog import SourceError, parse_sources  # late: most set none

        try:
            parse_sources(value)
        except SourceError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def sign_in_domain(self) -> str:
        """The host that wallets sign in to; empty where none is set."""
        return self.wallet_domain or urlsplit(self.public_url).netloc

    def redacted(self) -> dict[str, Any]:
        """Everything, with secrets as stars: what the log prints at start."""
        return self.model_dump(mode="json")
