"""Providers' credentials of tenants, sealed: envelopes, their rows, and who may use which.

The database never sees a secret or a master key; this room never sees a provider.
"""

from omni_grpc.vault.master_keys import (
    MasterKeyError,
    MasterKeys,
    new_master_key,
    read_master_keys,
)
from omni_grpc.vault.model import CredentialSet, Opened, Owner, Secret, Stored
from omni_grpc.vault.rotation import Rotated, Rotation
from omni_grpc.vault.store import CredentialStore
from omni_grpc.vault.vault import CREDENTIALS_MAX, Told, Vault, VaultObserver

__all__ = [
    "CREDENTIALS_MAX",
    "CredentialSet",
    "CredentialStore",
    "MasterKeyError",
    "MasterKeys",
    "Opened",
    "Owner",
    "Rotated",
    "Rotation",
    "Secret",
    "Stored",
    "Told",
    "Vault",
    "VaultObserver",
    "new_master_key",
    "read_master_keys",
]
