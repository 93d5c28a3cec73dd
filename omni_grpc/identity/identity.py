"""What the rest of the house asks of identity: check a key; make, list and revoke keys and orgs.

Every argument that comes from outside is checked here, so transports need not. Nothing here looks
at scopes: whoever calls asks the `Principal` first.
"""

from collections.abc import Collection
from typing import Final

import structlog

from omni_grpc.core.clock import Clock, SystemClock
from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound
from omni_grpc.core.ids import AccountId, KeyId
from omni_grpc.core.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from omni_grpc.identity.authenticate import Authenticator
from omni_grpc.identity.key_store import AdminStore, NewRow
from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text
from omni_grpc.identity.model import (
    OPERATOR_SLUG,
    SCOPES_DEFAULT,
    ApiKey,
    ApiKeyPage,
    NewKey,
    Org,
    Principal,
    Scope,
    parse_scopes,
)
from omni_grpc.identity.names import (
    check_display_name,
    check_slug,
    format_key_name,
    format_org_name,
    parse_key_name,
)
from omni_grpc.identity.store import IdentityStore
from omni_grpc.storage import Database

BOOTSTRAP: Final = "bootstrap"
"""Who makes the first admin key, in `create_by`."""

log = structlog.get_logger(__name__)


class Identity:
    """Organisations and API keys, kept in `database`. For one event loop.

    Every method raises LedgerUnavailable when the database does not answer.

    Args:
        database: an open pool on a migrated database.
        key_hash_secret: at least 32 bytes, the same in all workers and for ever (docs/keys.md).
        clock: whose monotonic time says how long a key is believed.
    """

    def __init__(
        self, database: Database, *, key_hash_secret: bytes, clock: Clock | None = None
    ) -> None:
        self._store = AdminStore(database)
        self._hasher = KeyHasher(key_hash_secret)
        self._authenticator = Authenticator(
            IdentityStore(database), self._hasher, clock or SystemClock()
        )

    async def authenticate(self, presented: str | None) -> Principal:
        """Who holds the presented key; without the database while it is in the cache.

        Raises:
            ApiKeyMissing: nothing was presented.
            ApiKeyInvalid: it is malformed, unknown, wrong or revoked.
        """
        return await self._authenticator.authenticate(presented)

    async def create_org(self, slug: str, display_name: str = "") -> Org:
        """Make an organisation with an empty wallet. Its display name is the slug if empty.

        Raises:
            FieldInvalid: the slug or the display name cannot be, or the slug is reserved.
            AlreadyExists: the slug is taken.
        """
        check_slug(slug, field="org_id")
        check_display_name(display_name)
        if slug == OPERATOR_SLUG:
            raise FieldInvalid(
                f"`{OPERATOR_SLUG}` is reserved for whoever runs the service; "
                "`omni-grpc keys bootstrap` makes it.",
                field="org_id",
            )
        org = await self._store.insert_org(slug, display_name or slug)
        if org is None:
            raise AlreadyExists(
                f"`{format_org_name(slug)}` exists already. Choose another id.", field="org_id"
            )
        log.info("org_created", org=slug)
        return org

    async def get_org(self, slug: str) -> Org:
        """The organisation of a slug.

        Raises:
            FieldInvalid: the slug cannot be.
            NotFound: there is none.
        """
        org = await self._store.find_org(check_slug(slug, field="org_id"))
        if org is None:
            raise _no_org(slug)
        return org

    async def org_of_account(self, account_id: AccountId) -> Org:
        """The organisation whose wallet this is.

        Raises:
            NotFound: it is no organisation's wallet.
        """
        org = await self._store.find_org_of_account(account_id)
        if org is None:
            raise NotFound("No organisation has this account.")
        return org

    async def create_api_key(
        self,
        org_slug: str,
        *,
        display_name: str = "",
        scopes: Collection[str] = SCOPES_DEFAULT,
        created_by: str,
    ) -> NewKey:
        """Make a key. Its secret is in what this returns, and nowhere else, for ever.

        Args:
            org_slug: whose key it will be.
            display_name: for people; may be empty.
            scopes: what it may do; the default ones if empty.
            created_by: the name of the key that asks for it, or of a tool of ours.

        Raises:
            FieldInvalid: a value cannot be, or an admin key is asked for an ordinary organisation.
            NotFound: there is no such organisation.
        """
        check_slug(org_slug, field="parent")
        check_display_name(display_name)
        granted = parse_scopes(scopes)
        if Scope.ADMIN in granted and org_slug != OPERATOR_SLUG:
            raise FieldInvalid(
                f"Only keys of `{format_org_name(OPERATOR_SLUG)}` may have the scope "
                f"`{Scope.ADMIN}`: it reaches every organisation.",
                field="scopes",
            )
        secret, row = self._new_key(display_name, granted, created_by)
        key = await self._store.insert_key(org_slug, row)
        if key is None:
            raise _no_org(org_slug)
        log.info("api_key_created", key=key.name, scopes=row.scope_names, create_by=created_by)
        return NewKey(key=key, secret=secret)

    async def bootstrap(self) -> NewKey:
        """Make the operator's organisation, where there is none, and its first admin key.

        Raises:
            AlreadyExists: an admin key exists that is not revoked.
        """
        # Another who does the same at this moment may be first; either's organisation will do.
        if await self._store.find_org(OPERATOR_SLUG) is None:
            await self._store.insert_org(OPERATOR_SLUG, "Operator")
        secret, row = self._new_key("First admin key", frozenset(Scope), BOOTSTRAP)
        key = await self._store.insert_first_admin_key(OPERATOR_SLUG, row)
        if key is None:
            raise AlreadyExists(
                "An admin key exists already, so there is nothing to bootstrap. Make another with "
                f"`omni-grpc keys create --org {OPERATOR_SLUG} --scope {Scope.ADMIN}`. If every "
                "admin key is lost, do that too, and revoke the lost ones."
            )
        log.info("api_key_created", key=key.name, scopes=row.scope_names, create_by=BOOTSTRAP)
        return NewKey(key=key, secret=secret)

    async def list_api_keys(
        self, org_slug: str, *, after: KeyId | None = None, limit: int = PAGE_SIZE_DEFAULT
    ) -> ApiKeyPage:
        """A page of an organisation's keys, oldest first, revoked ones included.

        Args:
            org_slug: whose keys.
            after: the `next_after` of the page before.
            limit: the most keys on the page, 1 to PAGE_SIZE_MAX.

        Raises:
            FieldInvalid: the slug or the limit cannot be.
            NotFound: there is no such organisation.
        """
        if not 1 <= limit <= PAGE_SIZE_MAX:
            raise FieldInvalid(f"`page_size` must be 1 to {PAGE_SIZE_MAX}.", field="page_size")
        org = await self._store.find_org(check_slug(org_slug, field="parent"))
        if org is None:
            raise _no_org(org_slug)
        keys = await self._store.list_keys(org, after or KeyId(0), limit + 1)
        page = tuple(keys[:limit])
        return ApiKeyPage(keys=page, next_after=page[-1].key_id if len(keys) > limit else None)

    async def revoke_api_key(self, name: str) -> ApiKey:
        """Revoke a key: here at once, in other processes within KEY_CACHE_SECONDS_MAX.

        Repeating it changes nothing; `revoke_time` stays that of the first time.

        Raises:
            FieldInvalid: the name is not of the form `orgs/{org}/apiKeys/{prefix}`.
            NotFound: there is no such key.
        """
        org_slug, prefix = parse_key_name(name)
        revoked = await self._store.revoke_key(org_slug, prefix)
        if revoked is None:
            raise NotFound(f"There is no key `{format_key_name(org_slug, prefix)}`.", field="name")
        key, digest = revoked
        await self._authenticator.forget(digest)
        log.info("api_key_revoked", key=key.name)
        return key

    def _new_key(
        self, display_name: str, scopes: frozenset[Scope], created_by: str
    ) -> tuple[str, NewRow]:
        secret = new_key_text()
        return secret, NewRow(
            prefix=key_prefix(secret),
            secret_hash=self._hasher.digest(secret),
            display_name=display_name,
            scopes=scopes,
            create_by=created_by,
        )


def _no_org(slug: str) -> NotFound:
    return NotFound(f"There is no organisation `{format_org_name(slug)}`.")
