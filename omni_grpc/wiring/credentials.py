"""What the settings say of providers and of credentials, as their rooms take it."""

from omni_grpc.completion import OwnCredentials
from omni_grpc.core.clock import Clock
from omni_grpc.providers import (
    EndpointSettings,
    OwnAccounts,
    OwnForms,
    ProviderSettings,
    load_specs,
)
from omni_grpc.settings import Settings, SettingsError
from omni_grpc.storage import Database
from omni_grpc.vault import MasterKeyError, MasterKeys, Vault, VaultObserver, read_master_keys


def provider_settings_of(settings: Settings) -> dict[str, ProviderSettings]:
    """What the operator set for each provider, by its id."""
    return {
        provider: ProviderSettings(
            base_url=settings.provider_base_urls.get(provider),
            variables=settings.provider_variables.get(provider, {}),
            bills_after_cancel=settings.provider_bills_after_cancel.get(provider),
            api_key=settings.provider_keys.get(provider),
            endpoints=_endpoint_settings(settings, provider),
        )
        for provider in {
            *settings.provider_keys,
            *settings.provider_base_urls,
            *settings.provider_variables,
            *settings.provider_bills_after_cancel,
            *settings.provider_endpoint_keys,
            *settings.provider_endpoint_variables,
        }
    }


def own_credentials_of(
    settings: Settings, database: Database, clock: Clock, observer: VaultObserver | None = None
) -> OwnCredentials:
    """What finds the accounts that callers bring.

    Raises:
        SettingsError: the master keys cannot be used.
        ProvidersFileError: the operator's own file cannot be.
    """
    return OwnCredentials(
        Vault(database, master_keys_of(settings), clock, observer),
        OwnAccounts(own_forms_of(settings), clock),
    )


def own_forms_of(settings: Settings) -> OwnForms:
    """What tenants may bring of accounts at providers.

    Raises:
        ProvidersFileError: the operator's own file cannot be used.
    """
    return OwnForms(load_specs(settings.providers_file), provider_settings_of(settings))


def master_keys_of(settings: Settings) -> MasterKeys:
    """The keys that tenants' credentials are sealed under; there may be none.

    Raises:
        SettingsError: they cannot be used.
    """
    text = settings.credential_master_key
    try:
        return read_master_keys(
            None if text is None else text.get_secret_value(), settings.credential_master_key_file
        )
    except MasterKeyError as error:
        name = "key" if text is not None else "key_file"
        raise SettingsError([f"OMNI_CREDENTIAL_MASTER_{name.upper()}: {error}."]) from None


def _endpoint_settings(settings: Settings, provider: str) -> dict[str, EndpointSettings]:
    """What is set for each endpoint of a provider."""
    keys = settings.provider_endpoint_keys.get(provider, {})
    variables = settings.provider_endpoint_variables.get(provider, {})
    return {
        name: EndpointSettings(api_key=keys.get(name), variables=variables.get(name, {}))
        for name in {*keys, *variables}
    }
