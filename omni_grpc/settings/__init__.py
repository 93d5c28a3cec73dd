"""What an operator sets, and where it is read from."""

from omni_grpc.settings.model import SECRET_BYTES_MIN, Settings
from omni_grpc.settings.reading import (
    ProviderVariables,
    SettingsError,
    read_settings,
    secret_file,
)

__all__ = [
    "SECRET_BYTES_MIN",
    "ProviderVariables",
    "Settings",
    "SettingsError",
    "read_settings",
    "secret_file",
]
