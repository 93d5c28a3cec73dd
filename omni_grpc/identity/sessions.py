"""Sessions: short-lived tokens for users, so that not every call needs a signature or a JWT.

A session may do at every moment what its user's role lets it do. Its token looks and is checked as
an API key's; it is shown once and stored nowhere.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from omni_grpc.audit import Actor
from omni_grpc.core.errors import ApiKeyInvalid, FieldInvalid, LedgerUnavailable, ScopeMissing
from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text
from omni_grpc.identity.model import Principal
from omni_grpc.identity.session_store import SESSIONS_MAX, SessionStore
from omni_grpc.identity.users import User
from omni_grpc.identity.wallet_store import NonceStore
from omni_grpc.storage import Database

TTL_DEFAULT: Final = timedelta(hours=1)
TTL_MIN: Final = timedelta(minutes=1)
TTL_MAX: Final = timedelta(hours=24)
"""A stolen token is of use for a day at most; who is taken out is out at once all the same."""

CLEAN_SECONDS: Final = 60.0
"""How often a worker deletes what is over."""

CLEAN_ROWS_MAX: Final = 1_000
"""Rows that one statement deletes: some milliseconds."""

__all__ = ["SESSIONS_MAX", "SessionCleaner", "SessionToken", "Sessions"]

log = structlog.get_logger(__name__)


class SessionToken(msgspec.Struct, frozen=True, kw_only=True):
    """A session at the one moment when its token is known. It does not show it when printed."""

    token: str
    user: User
    expire_time: datetime

    def __repr__(self) -> str:
        return f"<Session of {self.user.name}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("user", self.user.name)]


class Sessions:
    """Makes and ends sessions; each method raises LedgerUnavailable when the database is away.

    Args:
        database: where they are kept.
        hasher: hashes their tokens.
        forget: makes this process believe a token no longer, by its hash.
    """

    def __init__(
        self, database: Database, hasher: KeyHasher, forget: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._store = SessionStore(database)
        self._hasher = hasher
        self._forget = forget

    async def create(
        self, principal: Principal, actor: Actor, ttl: timedelta | None
    ) -> SessionToken:
        """A session of the user who calls, by an issuer's token or a wallet's signature.

        At most SESSIONS_MAX of one user are there at once; a further one ends the oldest.

        Raises:
            FieldInvalid: `ttl` is not from TTL_MIN to TTL_MAX.
            ScopeMissing: the caller has an API key, or is a session itself.
            ApiKeyInvalid: the user was taken out a moment ago.
        """
        ttl = TTL_DEFAULT if ttl is None else ttl
        if not TTL_MIN <= ttl <= TTL_MAX:
            raise FieldInvalid("`ttl` must be 1 minute to 24 hours.", field="ttl")
        if principal.user_id is None:
            raise ScopeMissing(
                "An API key has no sessions: it is good by itself. Sign in by a token of your "
                "issuer or by a wallet's signature."
            )
        if is_session(principal):
            raise ScopeMissing(
                "A session makes no other, or none would ever end. Sign in anew, by a token of "
                "your issuer or by a wallet's signature."
            )
        token = new_key_text()
        made = await self._store.create(
            actor,
            principal.org_id,
            principal.user_id,
            prefix=key_prefix(token),
            secret_hash=self._hasher.digest(token),
            ttl=ttl,
        )
        if made is None:
            raise ApiKeyInvalid("This user may not sign in any more; ask an administrator.")
        for digest in made.ended:
            await self._forget(digest)
        log.info("session_created", user=made.user.name, key_prefix=key_prefix(token))
        return SessionToken(token=token, user=made.user, expire_time=made.expire_time)

    async def end(self, principal: Principal, actor: Actor) -> None:
        """Ends the session that calls: here at once, elsewhere within KEY_CACHE_SECONDS_MAX.

        Raises:
            FieldInvalid: the caller is no session.
        """
        if principal.user_id is None or not is_session(principal):
            raise FieldInvalid("This call was not made with a session's token; there is no end.")
        ended = await self._store.end(
            actor, principal.org_id, principal.user_id, principal.key_prefix
        )
        for digest in ended:
            await self._forget(digest)
        log.info("session_ended", user=principal.user_name, key_prefix=principal.key_prefix)


def is_session(principal: Principal) -> bool:
    """Whether a session calls, and not its user by other means: they are named by the user."""
    name = principal.user_name
    return name is not None and name.rpartition("/")[2] != principal.key_prefix


class SessionCleaner:
    """Deletes sessions and nonces that are over, now and then.

    Every worker may: rows that another deletes are passed over.
    """

    def __init__(self, database: Database) -> None:
        self._sessions = SessionStore(database)
        self._nonces = NonceStore(database)

    async def run(self) -> None:
        """Goes on until it is cancelled; a database that is away is waited for."""
        while True:
            await asyncio.sleep(CLEAN_SECONDS)
            try:
                await self.clean()
            except LedgerUnavailable as error:
                log.info("sessions_not_cleaned", error=error.message)

    async def clean(self) -> int:
        """Deletes all that is over; how many rows."""
        deleted = 0
        for forget in (self._sessions.forget_ended, self._nonces.forget_expired):
            count = CLEAN_ROWS_MAX
            while count == CLEAN_ROWS_MAX:
                count = await forget(CLEAN_ROWS_MAX)
                deleted += count
        return deleted
