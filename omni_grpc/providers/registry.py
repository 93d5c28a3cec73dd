"""The providers that this process can call: those of the file that are configured."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from yarl import URL

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.clock import Clock, SystemClock
from omni_grpc.core.usage import Usage
from omni_grpc.providers.anthropic import AnthropicChat
from omni_grpc.providers.aws_credentials import AwsCredentials
from omni_grpc.providers.balancing import BalancedUpstream, Endpoint, EndpointObserver
from omni_grpc.providers.bedrock import BedrockChat
from omni_grpc.providers.bedrock_media import BedrockMedia
from omni_grpc.providers.calls import ChatProvider
from omni_grpc.providers.chat import DialectChat, carried_features, first_refused
from omni_grpc.providers.cohere import CohereChat
from omni_grpc.providers.cohere_media import CohereMedia
from omni_grpc.providers.conversations import ConversationDialect
from omni_grpc.providers.credentials import Credentials, KeyHeader, NoCredentials
from omni_grpc.providers.dialect import Dialect
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.features import Feature
from omni_grpc.providers.gemini import GeminiChat
from omni_grpc.providers.gemini_media import GeminiMedia
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.media_call import MediaProvider
from omni_grpc.providers.media_dialect import MediaDialect
from omni_grpc.providers.openai import OpenAIChat
from omni_grpc.providers.openai_media import OpenAIMedia
from omni_grpc.providers.probe import is_there
from omni_grpc.providers.records import Records
from omni_grpc.providers.responses import OpenAIResponses
from omni_grpc.providers.spec import (
    DialectName,
    EndpointSettings,
    EndpointSpec,
    ProviderSettings,
    ProviderSpec,
    SecretText,
    load_specs,
)

DIALECTS: Final[dict[DialectName, Callable[[], Dialect]]] = {
    "openai": OpenAIChat,
    "responses": OpenAIResponses,
    "anthropic": AnthropicChat,
    "gemini": GeminiChat,
    "cohere": CohereChat,
    "bedrock": BedrockChat,
}
MEDIA_DIALECTS: Final[dict[DialectName, Callable[[ProviderSpec], MediaDialect]]] = {
    "openai": lambda _spec: OpenAIMedia(),
    "responses": lambda _spec: OpenAIMedia(),
    # Vertex AI, which Google's OAuth is for, embeds by another route than the Gemini API.
    "gemini": lambda spec: GeminiMedia(vertex=spec.auth == "google"),
    "cohere": lambda _spec: CohereMedia(),
    "bedrock": lambda _spec: BedrockMedia(),
}
"""What there is beside chats; the catalog says who sells what. Anthropic has nothing of it."""

_UNSET: Final = ProviderSettings()


class ProviderSettingsError(ValueError):
    """Settings of providers that cannot be; `faults` has a sentence for each."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults


class Providers:
    """The configured providers by id. Open them inside the loop, close them at the end."""

    def __init__(
        self,
        settings: Mapping[str, ProviderSettings],
        *,
        specs: tuple[ProviderSpec, ...] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Configure each provider that has a base URL, and a key where it takes one.

        Args:
            settings: by provider id; a provider without an entry has what the file says.
            specs: the providers that there are; those of the file by default.
            clock: tells how far away a retry date is.

        Raises:
            ProviderSettingsError: an id is unknown, or a value cannot be used.
        """
        specs = load_specs() if specs is None else specs
        clock = clock or SystemClock()
        known = {spec.id for spec in specs}
        problems = [
            f"There is no provider {name!r}; there are {', '.join(sorted(known))}."
            for name in settings
            if name not in known
        ]
        self._specs = {spec.id: spec for spec in specs}
        self._carried: dict[str, frozenset[Feature]] = {}
        self._media_dialects: dict[str, MediaDialect | None] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._chats: dict[str, ChatProvider] = {}
        self._media: dict[str, MediaProvider] = {}
        self._records: dict[str, tuple[Records, ...]] = {}
        for spec in specs:
            try:
                upstream = _upstream(spec, settings.get(spec.id, _UNSET), clock)
            except ValueError as error:
                problems.append(str(error))
                continue
            if upstream is not None:
                self._upstreams[spec.id] = upstream
                dialect = DIALECTS[spec.dialect]()
                if isinstance(upstream, BalancedUpstream):
                    dialect = ConversationDialect(dialect)
                self._chats[spec.id] = DialectChat(upstream, dialect)
                if spec.dialect in MEDIA_DIALECTS:
                    media = MEDIA_DIALECTS[spec.dialect](spec)
                    self._media[spec.id] = MediaProvider(upstream, media)
                if spec.records is not None:
                    self._records[spec.id] = tuple(map(Records, _endpoints(upstream)))
        if problems:
            raise ProviderSettingsError(tuple(problems))

    def ids(self) -> frozenset[str]:
        """The ids of the configured providers."""
        return frozenset(self._chats)

    def get(self, provider_id: str) -> ChatProvider:
        """One provider.

        Raises:
            KeyError: it is not configured.
        """
        return self._chats[provider_id]

    def media(self, provider_id: str) -> MediaProvider | None:
        """One provider, for everything beside chats; None where it has or is nothing of it."""
        return self._media.get(provider_id)

    def media_dialect(self, provider_id: str) -> MediaDialect | None:
        """What a provider has beside chats, configured or not; None where that is nothing."""
        if provider_id not in self._media_dialects:
            spec = self._specs.get(provider_id)
            made = None if spec is None else MEDIA_DIALECTS.get(spec.dialect)
            self._media_dialects[provider_id] = None if spec is None or made is None else made(spec)
        return self._media_dialects[provider_id]

    def refusal(self, provider_id: str, request: ChatRequest) -> tuple[str, str] | None:
        """The feature that a provider cannot do though a request asks it, and by which field.

        It need not be configured: a tenant's own account there can do the same.

        Raises:
            KeyError: there is no such provider.
        """
        carried = self._carried.get(provider_id)
        if carried is None:
            spec = self._specs[provider_id]
            carried = carried_features(spec, DIALECTS[spec.dialect]())
            self._carried[provider_id] = carried
        refused = first_refused(carried, request)
        return None if refused is None else (refused.feature.value, refused.field)

    def keeps_records(self, provider_id: str) -> bool:
        """Whether a provider is configured and can be asked what a generation used."""
        return provider_id in self._records

    async def lookup(self, provider_id: str, generation_id: str) -> Usage | None:
        """What a generation used, by its provider's own record.

        Args:
            provider_id: a provider that keeps records.
            generation_id: the provider's own name of it, as `named` told it.

        Returns:
            None where the provider has no record of it, or not yet: it may come some seconds
            after the generation's end.

        Raises:
            KeyError: no such provider is configured, or it keeps no records.
            ProviderFault: the provider could not be asked, or its answer is no record.
        """
        unasked: ProviderFault | None = None
        for one in self._records[provider_id]:  # each account knows its own generations alone
            try:
                usage = await one.usage(generation_id)
            except ProviderFault as fault:
                unasked = fault
                continue
            if usage is not None:
                return usage
        if unasked is not None:
            raise unasked
        return None

    async def probe(self, provider_id: str) -> bool:
        """Whether a provider is there, by a request that costs nothing; answers within seconds.

        Raises:
            KeyError: the provider is not configured.
        """
        return await is_there(_endpoints(self._upstreams[provider_id]))

    def observe(self, observer: EndpointObserver) -> None:
        """Has an observer told how the endpoints do of providers that have several."""
        for upstream in self._upstreams.values():
            if isinstance(upstream, BalancedUpstream):
                upstream.observer = observer

    async def open(self) -> None:
        """Make the connection pools; nothing is connected yet."""
        for upstream in self._upstreams.values():
            await upstream.open()

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        for upstream in self._upstreams.values():
            await upstream.close()


def _upstream(spec: ProviderSpec, settings: ProviderSettings, clock: Clock) -> Upstream | None:
    """The provider's connections; None where it is not configured."""
    if settings.bills_after_cancel is not None:
        spec = msgspec.structs.replace(spec, bills_after_cancel=settings.bills_after_cancel)
    if unknown := set(settings.endpoints) - {one.name for one in spec.endpoints}:
        raise ValueError(f"Provider {spec.id!r} has no endpoint {min(unknown)!r}.")
    if spec.endpoints:
        return _balanced(spec, settings, clock)
    address = _filled(settings.base_url or spec.base_url, settings.variables)
    credentials = _credentials(spec, settings)
    if not address or credentials is None:
        return None
    faults = Faults(spec.id, credentials.secrets, clock)
    return Upstream(spec, _base_url(spec.id, address), credentials, faults)


def _balanced(spec: ProviderSpec, settings: ProviderSettings, clock: Clock) -> Upstream | None:
    """The connections to a provider with endpoints; None where none of them is configured.

    Raises:
        ValueError: only some of them are, or two are the same.
    """
    found: dict[str, tuple[URL, Credentials]] = {}
    for one in spec.endpoints:
        own = _settings_of(one, settings)
        address = _filled(own.base_url or spec.base_url, own.variables)
        credentials = _credentials(spec, own)
        if address and credentials is not None:
            found[one.name] = _base_url(spec.id, address), credentials
    if not found:
        return None
    if missing := [one.name for one in spec.endpoints if one.name not in found]:
        raise ValueError(
            f"Provider {spec.id!r} has endpoints without an address or a key: "
            f"{', '.join(missing)}. Set what its entry names for them, or take them out of it."
        )
    seen: dict[object, str] = {}
    for name, (url, credentials) in found.items():
        other = seen.setdefault((str(url), credentials.secrets), name)
        if other != name:
            raise ValueError(
                f"Endpoints {other!r} and {name!r} of provider {spec.id!r} have the same address "
                f"and key; give one of them the weight of both."
            )
    secrets = tuple(text for _, credentials in found.values() for text in credentials.secrets)
    faults = Faults(spec.id, secrets, clock)
    endpoints = []
    for one in spec.endpoints:
        url, credentials = found[one.name]
        upstream = Upstream(spec, url, credentials, faults)
        endpoints.append(Endpoint(one.name, one.weight, url, credentials, upstream))
    if len(endpoints) == 1:
        return endpoints[0].upstream
    return BalancedUpstream(spec, endpoints, faults, clock)


def _settings_of(one: EndpointSpec, settings: ProviderSettings) -> ProviderSettings:
    """What an endpoint is set to: its own, and the provider's where it names nothing."""
    given = settings.endpoints.get(one.name, EndpointSettings())
    # A variable that it names and nobody set has no value: the provider's is another account's.
    shared = {
        name: value for name, value in settings.variables.items() if name not in one.variables
    }
    return ProviderSettings(
        base_url=one.base_url or settings.base_url,
        variables={**shared, **given.variables},
        api_key=given.api_key or (settings.api_key if one.key_env is None else None),
    )


def _endpoints(upstream: Upstream) -> tuple[Upstream, ...]:
    """What can be asked by itself."""
    if isinstance(upstream, BalancedUpstream):
        return tuple(one.upstream for one in upstream.endpoints)
    return (upstream,)


def _filled(address: str | None, variables: Mapping[str, SecretText]) -> str | None:
    """The address with its `{names}` filled in; None where one has no value."""
    if address is None or "{" not in address:
        return address
    values = {name: value.get_secret_value().strip() for name, value in variables.items()}
    try:
        return address.format_map(values)
    except KeyError:
        return None


def _credentials(spec: ProviderSpec, settings: ProviderSettings) -> Credentials | None:
    """How the provider knows us; None where the operator has not said."""
    api_key = None if settings.api_key is None else settings.api_key.get_secret_value().strip()
    if spec.auth == "aws" and not api_key:
        return _aws_credentials(settings)
    if spec.auth == "google" and not api_key:
        return _google_credentials(settings)
    if not api_key:
        may_do_without = spec.key_env is None or not spec.key_required
        return NoCredentials() if may_do_without else None
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise ValueError(
            f"The key of provider {spec.id!r} holds a character that no HTTP header can carry; "
            f"copy it again."
        )
    if spec.auth == "header" and spec.auth_header is not None:
        return KeyHeader(spec.auth_header, api_key, api_key)
    return KeyHeader("Authorization", f"Bearer {api_key}", api_key)


def _aws_credentials(settings: ProviderSettings) -> Credentials | None:
    """AWS's keys; None where one is missing. A key of Bedrock's own is a bearer instead."""
    values = {name: value.get_secret_value().strip() for name, value in settings.variables.items()}
    access_key, secret_key = values.get("access_key"), values.get("secret_key")
    region = values.get("region")
    if not (access_key and secret_key and region):
        return None
    return AwsCredentials(access_key, secret_key, values.get("session_token") or None, region)


def _google_credentials(settings: ProviderSettings) -> Credentials | None:
    """A service account of Google's by its key file; None where none is named."""
    named = settings.variables.get("credentials")
    path = "" if named is None else named.get_secret_value().strip()
    if not path:
        return None
    from omni_grpc.providers.google_credentials import GoogleCredentials  # late: most need none

    return GoogleCredentials(Path(path))


def _base_url(provider_id: str, address: str) -> URL:
    problem = f"The base URL of provider {provider_id!r} must be like https://host/v1"
    try:
        url = URL(address)
    except ValueError as error:
        raise ValueError(f"{problem}: {error}.") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{problem}, with http or https and a host.")
    if url.user is not None or url.password is not None:
        raise ValueError(f"{problem}, without a user or password; give the key by itself.")
    if url.query_string or url.fragment:
        raise ValueError(f"{problem}, without a query or fragment.")
    return url
