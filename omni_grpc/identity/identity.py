"""The front of identity: check a key, and everything that an organisation is made of.

Nothing here looks at scopes: whoever calls asks the `Principal` first.
"""

from datetime import timedelta
from typing import Final

from omni_grpc.audit import Actor
from omni_grpc.core.clock import Clock, SystemClock
from omni_grpc.core.errors import AlreadyExists
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.identity.api_key_store import ApiKeys
from omni_grpc.identity.api_keys import ApiKey, NewKey
from omni_grpc.identity.authenticate import Authenticator
from omni_grpc.identity.keys import KeyHasher
from omni_grpc.identity.model import Principal, Scope
from omni_grpc.identity.org_store import Orgs
from omni_grpc.identity.orgs import OPERATOR_SLUG, Org
from omni_grpc.identity.place_store import Places
from omni_grpc.identity.places import PlaceKind
from omni_grpc.identity.sessions import Sessions
from omni_grpc.identity.store import IdentityStore
from omni_grpc.identity.user_store import Users
from omni_grpc.identity.users import User
from omni_grpc.storage import Database

BOOTSTRAP: Final = Actor(name="bootstrap")
"""Who makes the first admin key."""


class Identity:
    """Who is calling, and what organisations have, kept in `database`. For one event loop.

    Every method raises LedgerUnavailable when the database does not answer.

    Args:
        database: an open pool on a migrated database.
        key_hash_secret: at least 32 bytes, the same in all workers and for ever (docs/keys.md).
        clock: whose monotonic time says how long a key is believed, and whose time when it ends.

    Attributes:
        orgs: organisations.
        teams: their teams.
        environments: the environments of teams.
        users: who may sign in.
        keys: API keys; what ends one is done here, where it is also forgotten.
        sessions: short-lived tokens of users.
    """

    def __init__(
        self, database: Database, *, key_hash_secret: bytes, clock: Clock | None = None
    ) -> None:
        hasher = KeyHasher(key_hash_secret)
        self.orgs = Orgs(database)
        self.teams = Places(database, PlaceKind.TEAM)
        self.environments = Places(database, PlaceKind.ENVIRONMENT)
        self.users = Users(database)
        self.keys = ApiKeys(database, hasher)
        self._authenticator = Authenticator(IdentityStore(database), hasher, clock or SystemClock())
        self.sessions = Sessions(database, hasher, self._authenticator.forget)

    async def authenticate(self, presented: str | None) -> Principal:
        """Who holds the presented key; without the database while it is in the cache.

        Raises:
            ApiKeyMissing: nothing was presented.
            ApiKeyInvalid: it is malformed, unknown, wrong, expired or revoked.
            OrgSuspended: its organisation is suspended.
        """
        return await self._authenticator.authenticate(presented)

    async def get_org(self, slug: str) -> Org:
        """The organisation of a slug.

        Raises:
            FieldInvalid: the slug cannot be.
            NotFound: there is none.
        """
        return await self.orgs.get(slug)

    async def org_of_account(self, account_id: AccountId) -> Org:
        """The organisation whose wallet this is.

        Raises:
            NotFound: it is no organisation's wallet.
        """
        return await self.orgs.of_account(account_id)

    async def bootstrap(self) -> NewKey:
        """Make the operator's organisation, where there is none, and its first admin key.

        Raises:
            AlreadyExists: a valid admin key exists.
        """
        new = await self.keys.create_first_admin(
            BOOTSTRAP, await self.orgs.ensure_operator(BOOTSTRAP)
        )
        if new is None:
            raise AlreadyExists(
                "An admin key exists already, so there is nothing to bootstrap. Make another with "
                f"`omni-grpc keys create --org {OPERATOR_SLUG} --scope {Scope.ADMIN}`. If every "
                "admin key is lost, do that too, and revoke the lost ones."
            )
        return new

    async def revoke_api_key(
        self, actor: Actor, org_id: OrgId, org_slug: str, prefix: str
    ) -> ApiKey:
        """Revoke a key: here at once, in other processes within KEY_CACHE_SECONDS_MAX.

        Raises:
            NotFound: there is no such key.
        """
        revoked = await self.keys.revoke(actor, org_id, org_slug, prefix)
        await self._authenticator.forget(revoked.secret_hash)
        return revoked.key

    async def rotate_api_key(
        self,
        actor: Actor,
        org_id: OrgId,
        org_slug: str,
        prefix: str,
        overlap: timedelta | None,
        *,
        maker: int | None = None,
    ) -> tuple[NewKey, ApiKey]:
        """Replace a key, as `ApiKeys.rotate` does; the new end of the old one holds here at once.

        Returns:
            The new key, and the old one as it now is.
        """
        new, replaced = await self.keys.rotate(
            actor, org_id, org_slug, prefix, overlap, maker=maker
        )
        await self._authenticator.forget(replaced.secret_hash)
        return new, replaced.key

    async def delete_user(
        self,
        actor: Actor,
        org_id: OrgId,
        org_slug: str,
        code: str,
        *,
        etag: str = "",
        by_owner: bool,
    ) -> User:
        """Take a user out, as `Users.delete` does; its sessions are not believed here any more."""
        deleted = await self.users.delete(
            actor, org_id, org_slug, code, etag=etag, by_owner=by_owner
        )
        for digest in deleted.session_hashes:
            await self._authenticator.forget(digest)
        return deleted.user
