"""Providers as data: what `providers.yaml` says of each, and what an operator sets.

A provider of a known dialect is a few lines in that file, not code. Nothing here reads the
environment: the settings do, and hand over `ProviderSettings` by provider id.
"""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol
from urllib.parse import quote

import msgspec

from omni_grpc.core.limits import PROVIDER_CONNECTIONS_MAX
from omni_grpc.providers.features import Feature
from omni_grpc.providers.retries import Retries

DialectName = Literal["openai", "responses", "anthropic", "gemini", "cohere", "bedrock"]
AuthScheme = Literal["bearer", "header", "none", "google", "aws"]
RecordFormat = Literal["openrouter"]
OutputLimitField = Literal["max_completion_tokens", "max_tokens"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_600)]

_FILE: Final = "providers.yaml"

ENDPOINTS_MAX: Final = 32
"""Most endpoints of one provider: a call that none of them answers asks each once."""

ENDPOINT_WEIGHT_MAX: Final = 1_000_000
"""Shares finer than that are nobody's."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long we wait for a provider, in seconds.

    `connect_s` covers a free place in the pool, DNS, TCP and TLS. `first_byte_s` runs from the
    sending of a streamed request to its status line (a plain answer is awaited until the end of
    the call, since its status line comes with it). `between_bytes_s` runs while we wait for more
    of an answer, and `total_s` bounds the whole.
    """

    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 120.0
    between_bytes_s: Seconds = 180.0
    total_s: Seconds = 600.0


class OwnModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a provider that the catalog's sources do not know.

    `model` is its name where several providers have it; `usd_per_million` its prices, decimal texts
    of dollars for a million of each unit (prompt, completion, cached_read, ...; image, second and
    character for what is sold by those). Without a price it cannot be called. `mode` says what it
    does.
    """

    id: Annotated[str, msgspec.Meta(min_length=1)]
    model: str | None = None
    context_tokens_max: int | None = None
    output_tokens_max: int | None = None
    inputs: tuple[Literal["text", "image", "audio", "file"], ...] = ("text",)
    tools: bool = False
    structured_output: bool = False
    reasoning: bool = False
    mode: Literal["chat", "embedding", "image", "speech", "transcription", "moderation"] = "chat"
    usd_per_million: dict[str, str] = {}


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several endpoints of a provider: an account, a key, a region, a deployment.

    What it does not say is the provider's own: `base_url`, `key_env`, and each of `variables`.
    `weight` is its share of the calls; one of 0 is a spare, called while all others are set aside.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    base_url: str | None = None
    key_env: str | None = None
    variables: dict[str, str] = {}
    weight: Annotated[int, msgspec.Meta(ge=0, le=ENDPOINT_WEIGHT_MAX)] = 1


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider of the file.

    `base_url` may have `{names}` of `variables`, which say from which environment variable each
    comes; None means that the operator must give the whole. `auth` is how it knows us: by a key as
    bearer, by a key in `auth_header`, by Google's OAuth, by AWS's signature, or not at all.
    `key_env` is the customary variable of its key; None means that it takes none, and
    `key_required` false that it may do without. `headers` go with every request. `chat_path` and
    `chat_stream_path` are for providers of a known dialect with other routes; `{model}` stands for
    the model. `refuses` are the features, by their names in docs/providers.md, that its dialect has
    and it has not. `renames` are top-level fields of the OpenAI dialect that it calls otherwise,
    and `developer_role` says that it knows the role developer, which others are sent as system.
    `endpoints` are those that calls are spread over; without any there is the one of `base_url`.
    `models_path` is its list of models below the base URL, where it has another than its dialect.
    `bills_after_cancel` says that a cancelled call goes on costing there. `records` is the format
    of the provider's own records of what it generated; None where it keeps none that can be asked
    for. `models` are those that the catalog knows from here alone.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,31}$")]
    dialect: DialectName
    base_url: str | None = None
    variables: dict[str, str] = {}
    auth: AuthScheme = "bearer"
    auth_header: str | None = None
    key_env: str | None = None
    key_required: bool = True
    headers: dict[str, str] = {}
    chat_path: str | None = None
    chat_stream_path: str | None = None
    refuses: tuple[str, ...] = ()
    renames: dict[str, str] = {}
    developer_role: bool = False
    bills_after_cancel: bool
    output_limit_field: OutputLimitField = "max_completion_tokens"
    records: RecordFormat | None = None
    endpoints: tuple[EndpointSpec, ...] = ()
    models_path: str | None = None
    connections_max: Annotated[int, msgspec.Meta(gt=0)] = PROVIDER_CONNECTIONS_MAX
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    models: tuple[OwnModel, ...] = ()

    def check(self) -> None:
        """Finds what the fields' types do not say.

        Raises:
            ValueError: what is wrong.
        """
        if (self.auth == "header") != (self.auth_header is not None):
            raise ValueError("auth_header is needed with auth: header, and with no other")
        if unknown := set(self.refuses) - {feature.value for feature in Feature}:
            raise ValueError(f"refuses has unknown features: {', '.join(sorted(unknown))}")
        self._check_endpoints()

    def _check_endpoints(self) -> None:
        """As `check`, of the endpoints together."""
        endpoints = self.endpoints
        if len(endpoints) > ENDPOINTS_MAX:
            raise ValueError(f"endpoints has {len(endpoints)} entries, and {ENDPOINTS_MAX} at most")
        if endpoints and not any(one.weight for one in endpoints):
            raise ValueError("the weights of endpoints sum to 0; one at least must be above it")
        seen: dict[object, str] = {}
        for one in endpoints:
            if one.name in seen.values():
                raise ValueError(f"endpoints has the name {one.name!r} twice")
            if unknown := set(one.variables) - set(self.variables):
                raise ValueError(
                    f"endpoint {one.name!r} sets {', '.join(sorted(unknown))}, which is none of "
                    f"the provider's variables"
                )
            content = (one.base_url, one.key_env, frozenset(one.variables.items()))
            if content in seen:
                raise ValueError(
                    f"endpoints {seen[content]!r} and {one.name!r} have the same address and key; "
                    f"give one of them the weight of both"
                )
            seen[content] = one.name

    def path(self, default: str, model: str, *, stream: bool) -> str:
        """The endpoint of chats below the base URL, percent-encoded.

        `default` is the dialect's own, which may name `{model}` too.
        """
        path = (self.chat_stream_path if stream else None) or self.chat_path or default
        return path.replace("{model}", quote(model, safe="")) if "{model}" in path else path


class SecretText(Protocol):
    """A secret that shows itself only when asked; pydantic's SecretStr is one."""

    def get_secret_value(self) -> str:
        """The secret in clear."""
        ...


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sets for one endpoint; what is missing is the provider's."""

    variables: Mapping[str, SecretText] = {}
    api_key: SecretText | None = None


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sets for one provider; None leaves the file's value.

    `variables` are the values of the spec's, by their names there, and `endpoints` what is set for
    each of them, by its name. Another `base_url` may be another company's, so what the file says
    of cancelling can be set too.
    """

    base_url: str | None = None
    variables: Mapping[str, SecretText] = {}
    bills_after_cancel: bool | None = None
    api_key: SecretText | None = None
    endpoints: Mapping[str, EndpointSettings] = {}


class ProvidersFileError(ValueError):
    """A file of providers cannot be used; the message says why and where."""


def load_specs(own: Path | None = None) -> tuple[ProviderSpec, ...]:
    """The providers of the package, then those that an operator's own file adds.

    An entry of the own file with the id of a known provider changes the fields that it names, and
    is else a provider of its own.

    Raises:
        ProvidersFileError: the own file cannot be read, or is not what this module describes.
    """
    entries = {entry["id"]: entry for entry in _entries(resources.files(__package__) / _FILE)}
    if own is not None:
        try:
            for entry in _entries(own):
                known = entries.get(entry["id"], {})
                entries[entry["id"]] = _merged(known, entry)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProvidersFileError(f"{own}: {error}") from error
    specs: list[ProviderSpec] = []
    for name, entry in entries.items():
        try:
            spec = msgspec.convert(entry, ProviderSpec)
            spec.check()
        except (msgspec.ValidationError, ValueError) as error:
            raise ProvidersFileError(f"{own or _FILE}: provider {name!r}: {error}") from error
        specs.append(spec)
    return tuple(specs)


def _entries(file: Traversable) -> list[dict[str, Any]]:
    found = msgspec.yaml.decode(file.read_bytes())
    if not isinstance(found, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in found
    ):
        raise msgspec.ValidationError("it must be a list of providers, each with its id")
    if len({entry["id"] for entry in found}) != len(found):
        raise msgspec.ValidationError("it names a provider twice")
    return found


def _merged(known: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """What is said again wins; of timeouts and retries each value by itself."""
    merged = {**known, **entry}
    for name in ("timeouts", "retries"):
        if isinstance(known.get(name), dict) and isinstance(entry.get(name), dict):
            merged[name] = {**known[name], **entry[name]}
    return merged
