"""From what a caller presents to who is calling: the part of identity on every call's path.

A warm call touches no database. A key that is believed was read as valid, with all that is known
of its caller, from the database at most `KEY_CACHE_SECONDS_MAX` ago, and one that this process
revoked is not believed at all. A database that does not answer is never taken for a wrong key.
"""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from typing import Final

import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    ApiKeyInvalid,
    ApiKeyMissing,
    LedgerUnavailable,
    OrgSuspended,
)
from omni_grpc.core.limits import KEY_CACHE_SECONDS_MAX, LEDGER_WAIT_SECONDS_MAX
from omni_grpc.identity.keys import KeyHasher, key_prefix
from omni_grpc.identity.model import Principal
from omni_grpc.identity.store import IdentityStore
from omni_grpc.storage import BoundedCache

LOOKUP_SECONDS_MAX: Final = LEDGER_WAIT_SECONDS_MAX
"""How long a call waits for its key to be read; its hold could not be had either."""

PRINCIPAL_TTL_SECONDS: Final = KEY_CACHE_SECONDS_MAX - LOOKUP_SECONDS_MAX
"""A row may be that old already when it comes to be kept; together they make the promise."""

PRINCIPALS_KEPT_MAX: Final = 16_384
"""Keys believed at once: more than one worker can read from the database in their lifetime."""

REFUSALS_KEPT_MAX: Final = 4_096
"""Wrong keys remembered at once: clients that repeat one, not a flood of different ones."""

log = structlog.get_logger(__name__)


class Authenticator:
    """Checks API keys. For one event loop."""

    def __init__(self, store: IdentityStore, hasher: KeyHasher, clock: Clock) -> None:
        self._store = store
        self._hasher = hasher
        self._clock = clock
        self._principals = BoundedCache[Principal | None](
            size_max=PRINCIPALS_KEPT_MAX, ttl_s=PRINCIPAL_TTL_SECONDS, clock=clock
        )
        self._refusals = _Refusals(clock)
        # Compared where there is no row, so that time does not tell unknown from wrong.
        self._no_hash = secrets.token_bytes(32)

    async def authenticate(self, presented: str | None) -> Principal:
        """Who holds the presented key.

        Raises:
            ApiKeyMissing: nothing was presented.
            ApiKeyInvalid: it is malformed, unknown, wrong, expired or revoked.
            OrgSuspended: its organisation is suspended.
            LedgerUnavailable: the database does not answer, and the key is not in the cache.
        """
        if not presented:
            raise ApiKeyMissing(
                "This call needs an API key: send it as `Authorization: Bearer <key>`."
            )
        prefix = key_prefix(presented)
        digest = self._hasher.digest(presented)
        principal = None
        if digest not in self._refusals:
            principal = await self._principals.get(digest, lambda: self._look_up(prefix, digest))
        if principal is None:
            raise _not_valid()
        return let_in(principal, self._clock)

    async def forget(self, digest: bytes) -> None:
        """Believe a key no longer: also not by a look-up that is under way."""
        await self._principals.invalidate(digest)

    async def _look_up(self, prefix: str, digest: bytes) -> Principal | None:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS_MAX):
                stored = await self._store.find_key(prefix)
        except TimeoutError:
            raise LedgerUnavailable(
                f"The database did not answer within {LOOKUP_SECONDS_MAX:g} s, so the API key "
                "could not be checked. Nothing is wrong with the request; try again shortly.",
                retry_after_s=1.0,
            ) from None
        same = hmac.compare_digest(stored.secret_hash if stored else self._no_hash, digest)
        if stored and same and stored.ended is None:
            return stored.principal
        self._refusals.add(digest)
        cause = "unknown" if stored is None else stored.ended if same else "wrong_secret"
        log.info("api_key_refused", key_prefix=prefix, cause=cause)
        return None


def let_in(principal: Principal, clock: Clock) -> Principal:
    """The principal, if it may call at this moment: what a cache knows of it may be seconds old.

    Raises:
        ApiKeyInvalid: its key or session has expired.
        OrgSuspended: its organisation is suspended.
    """
    if principal.expire_time is not None and principal.expire_time <= clock.now():
        raise _not_valid()
    if principal.suspended:
        raise OrgSuspended(
            f"The organisation `orgs/{principal.org_slug}` is suspended, so nothing is done for "
            "it. Ask whoever runs this service."
        )
    return principal


def _not_valid() -> ApiKeyInvalid:
    return ApiKeyInvalid(
        "This API key is not valid: it is unknown, mistyped, expired or revoked. "
        "Check it, or ask an administrator for a new one."
    )


class _Refusals:
    """Hashes of keys that were refused a moment ago, apart from the good ones.

    In one cache a flood of wrong keys would push the good ones out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: OrderedDict[bytes, float] = OrderedDict()  # oldest first

    def __contains__(self, digest: bytes) -> bool:
        return self._clock.monotonic() < self._until_s.get(digest, 0.0)

    def add(self, digest: bytes) -> None:
        self._until_s[digest] = self._clock.monotonic() + KEY_CACHE_SECONDS_MAX
        self._until_s.move_to_end(digest)
        if len(self._until_s) > REFUSALS_KEPT_MAX:
            self._until_s.popitem(last=False)
