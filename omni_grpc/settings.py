"""Settings: read once at start from the environment and `omni.yaml`, checked whole, then frozen.

Every fault is told at once, by the name that the operator set, with what would be right. Secrets
print as stars. Nothing reads the environment anywhere else.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
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

PREFIX: Final = "OMNI_"
CONFIG_FILE: Final = "omni.yaml"
PROVIDERS_FILE: Final = "providers.yaml"
MODELS_FILE: Final = "models.yaml"
POLICIES_FILE: Final = "policies.yaml"
SECRET_BYTES_MIN: Final = 32

_PROVIDER: Final = re.compile(r"OMNI_PROVIDER_([A-Z][A-Z0-9_]*)_(?:(BASE_URL)|BILLS_AFTER_CANCEL)")
"""A provider's id stands there in capitals, and with `_` for `-`."""

ROLES: Final = ("owner", "admin", "developer", "viewer")
"""What a value of the role claim can mean."""

_HOST: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")


class ProviderVariables(NamedTuple):
    """The variables that a provider takes its values from: its key, and others by their names."""

    key: str | None
    others: Mapping[str, str]
    endpoints: Mapping[str, "ProviderVariables"] = MappingProxyType({})
    """Of each endpoint that has some of its own, by its name."""


class SettingsError(Exception):
    """The settings cannot be used; the message lists every fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


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


def read_settings(
    environment: Mapping[str, str],
    *,
    config: Path | None = None,
    provider_variables: Callable[[Path | None], Mapping[str, ProviderVariables]],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings of this process: command line over environment over file.

    Args:
        environment: normally os.environ.
        config: the YAML file; None reads omni.yaml of the working folder, if there is one.
        provider_variables: from which variables each provider takes its key and its other values,
            by provider id, for the operator's own file of providers; raises ValueError where that
            file cannot be used.
        overrides: what the command line gave; None values are left out.

    Raises:
        SettingsError: with every fault at once.
    """
    faults: list[str] = []
    values: dict[str, Any] = _from_file(config, faults)
    names: dict[str, str] = {name: f"{CONFIG_FILE}: {name}" for name in values}
    _from_environment(environment, values, names, faults)
    if "providers_file" not in values and Path(PROVIDERS_FILE).exists():
        values["providers_file"] = PROVIDERS_FILE
    if "policies_file" not in values and Path(POLICIES_FILE).exists():
        values["policies_file"] = POLICIES_FILE
    if "models_file" not in values and Path(MODELS_FILE).exists():
        values["models_file"] = MODELS_FILE
    try:
        own = values.get("providers_file")
        known = provider_variables(None if own is None else Path(str(own)))
    except ValueError as error:
        faults.append(str(error))
        known = {}
    _add_providers(environment, values, known)
    for name, given in (overrides or {}).items():
        if given is not None:
            values[name] = given
            names[name] = f"--{name.replace('_', '-')}"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += [
            f"{names.get(str(fault['loc'][0]), str(fault['loc'][0]))}: "
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors(include_input=False, include_url=False)
        ]
    if faults:
        raise SettingsError(faults)
    return settings


def _add_providers(
    environment: Mapping[str, str],
    values: dict[str, Any],
    known: Mapping[str, ProviderVariables],
) -> None:
    """What the environment says of each provider, under the provider's id."""
    _add_values(environment, values, ("provider_keys", "provider_variables"), known)
    names = ("provider_endpoint_keys", "provider_endpoint_variables")
    for provider, variables in known.items():
        own: dict[str, Any] = {name: _entry(values.get(name), provider) for name in names}
        _add_values(environment, own, names, variables.endpoints)
        for name in names:
            if own[name]:
                values[name] = {**(values.get(name) or {}), provider: own[name]}
    ids = {provider.replace("-", "_"): provider for provider in known}
    for name in ("provider_base_urls", "provider_bills_after_cancel"):
        if isinstance(values.get(name), dict):
            values[name] = {ids.get(key, key): value for key, value in values[name].items()}


def _entry(found: object, name: str) -> object:
    """What the file says under a name, where it is a mapping; what else it is is told later."""
    entry = found.get(name) if isinstance(found, dict) else None
    return entry if isinstance(entry, dict) else None


def _add_values(
    environment: Mapping[str, str],
    values: dict[str, Any],
    names: tuple[str, str],
    known: Mapping[str, ProviderVariables],
) -> None:
    """The keys and the other values of providers, or of one's endpoints, under these names."""
    keys: dict[str, Any] = {**(values.get(names[0]) or {})}
    others: dict[str, Any] = {**(values.get(names[1]) or {})}
    for owner, variables in known.items():
        if variables.key is not None and environment.get(variables.key, "").strip():
            keys[owner] = environment[variables.key]
        found = {
            name: environment[variable]
            for name, variable in variables.others.items()
            if environment.get(variable, "").strip()
        }
        if found:
            others[owner] = {**(others.get(owner) or {}), **found}
    values[names[0]], values[names[1]] = keys, others


_OTHERS: Final = frozenset({"OMNI_API_KEY", "OMNI_TEST_DATA"})
"""Variables with our prefix that are not the server's: the client's and the tests'."""


def _from_environment(
    environment: Mapping[str, str],
    values: dict[str, Any],
    names: dict[str, str],
    faults: list[str],
) -> None:
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable == "DATABASE_URL":
            name = "database_url"
        elif match := _PROVIDER.fullmatch(variable):
            name = "provider_base_urls" if match[2] else "provider_bills_after_cancel"
            values[name] = {**(values.get(name) or {}), match[1].lower(): value}
            names[name] = variable
            continue
        elif not variable.startswith(PREFIX) or variable in _OTHERS:
            continue
        elif name not in Settings.model_fields or name.startswith("provider_"):
            faults.append(f"{variable}: there is no such setting{_near(name)}")
            continue
        values[name] = value
        names[name] = variable


def _from_file(config: Path | None, faults: list[str]) -> dict[str, Any]:
    path = config or Path(CONFIG_FILE)
    if config is None and not path.exists():
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        faults.append(f"{path}: must be a mapping of settings to values")
        return {}
    return {str(name): value for name, value in found.items()}


def _near(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""


def secret_file(path: Path) -> SecretStr:
    """The secret of a file that only its owner can read; made if it is not there.

    `dev` keeps its own key hash secret so; `serve` takes one from the settings.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return SecretStr(path.read_text("ascii").strip())
    secret = secrets.token_hex(SECRET_BYTES_MIN)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return SecretStr(secret)
