"""People and wallets that may sign in to an organisation."""

from datetime import datetime
from typing import Final

import msgspec

from omni_grpc.identity.model import Role

WALLET_ISSUER: Final = "wallet:solana"
"""The issuer of users who sign in by a wallet's signature; their subject is its address."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as callers see it, and the audit log."""

    name: str
    """`orgs/{org}/users/{user}`."""
    issuer: str
    subject: str
    email: str
    display_name: str
    role: Role
    etag: str
    create_time: datetime


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user with its place in a list."""

    user_id: int
    user: User


class DeletedUser(msgspec.Struct, frozen=True, kw_only=True):
    """What a deletion ended: hashes of sessions, which are not believed from now on."""

    user: User
    session_hashes: tuple[bytes, ...]
