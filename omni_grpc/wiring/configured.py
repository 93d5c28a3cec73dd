"""Providers and policies as the settings, and the files that they name, say."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from omni_grpc.catalog import (
    CatalogSnapshot,
)
from omni_grpc.core.clock import Clock
from omni_grpc.providers import Providers, load_specs
from omni_grpc.routing import (
    Policies,
    PolicyFileError,
)
from omni_grpc.settings import Settings, SettingsError
from omni_grpc.storage import Database
from omni_grpc.wiring.credentials import provider_settings_of

if TYPE_CHECKING:
    pass


def configured_providers(settings: Settings) -> Providers:
    """The providers of the package and of the operator's file, as the operator set them.

    Raises:
        ProviderSettingsError, ProvidersFileError: what was set cannot be.
    """
    return Providers(provider_settings_of(settings), specs=load_specs(settings.providers_file))


def configured_policies(
    settings: Settings,
    database: Database,
    snapshot: Callable[[], CatalogSnapshot],
    clock: Clock,
) -> Policies:
    """The routing policies of the database, and of the operator's file.

    Raises:
        SettingsError: the file cannot be used.
    """
    try:
        return Policies(database, snapshot, clock, file=settings.policies_file)
    except PolicyFileError as error:
        raise SettingsError(error.faults) from None
