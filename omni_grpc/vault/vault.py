"""Keeps tenants' credentials sealed, and opens those that a caller's calls use.

What cannot be opened here is unusable: it is told in the log by its name, counted, and never a
reason to use somebody else's. A change holds in every worker within `SETS_SECONDS`.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import (
    AlreadyExists,
    EtagMismatch,
    FeatureUnsupported,
    FieldInvalid,
    TooMany,
)
from omni_grpc.core.ids import OrgId
from omni_grpc.core.missing import missing
from omni_grpc.storage import BoundedCache, Connection, Database
from omni_grpc.vault import store
from omni_grpc.vault.envelope import (
    Envelope,
    EnvelopeBrokenError,
    NoMasterKeyError,
    Place,
    open_envelope,
    seal,
)
from omni_grpc.vault.master_keys import MasterKeys
from omni_grpc.vault.model import CredentialSet, InScope, Opened, Owner, Secret, Stored

log = structlog.get_logger(__name__)

SETS_SECONDS: Final = 2.0
"""How long a caller's credentials are believed; with the time that keys are, well below the 5 s
that a change may take to hold."""

SETS_MAX: Final = 4_096
"""Scopes of callers whose credentials a worker keeps at hand."""

OPENED_MAX: Final = 8_192
"""Opened credentials that a worker keeps, so that reading a set again opens nothing anew."""

CREDENTIALS_MAX: Final = 128
"""Most credentials of one organisation, team or environment."""

HINT_CHARS: Final = 4
_HINTED_CHARS_MIN: Final = 16
"""The end of a shorter secret would be too much of it."""

_NEAREST_FIRST: Final = ("e", "t", "o")

Told = Callable[[Connection, Stored | None, Stored | None], Awaitable[None]]
"""Called last in a change's transaction, with the row before and after it."""


class VaultObserver(Protocol):
    """What wants to know of credentials that cannot be used; the metrics do."""

    def credential_unusable(self) -> None:
        """One was asked for and does not open here."""
        ...


class Vault:
    """The credentials of all tenants."""

    def __init__(
        self,
        database: Database,
        keys: MasterKeys,
        clock: Clock,
        observer: VaultObserver | None = None,
    ) -> None:
        self._database = database
        self._store = store.CredentialStore(database)
        self._keys = keys
        self._observer = observer
        self._sets: BoundedCache[tuple[CredentialSet, ...]] = BoundedCache(
            size_max=SETS_MAX, ttl_s=SETS_SECONDS, clock=clock
        )
        self._opened: OrderedDict[tuple[int, int, str], Opened] = OrderedDict()

    # --- what calls use -------------------------------------------------------------------------
    async def sets(
        self, org_id: OrgId, team_id: int | None, environment_id: int | None
    ) -> tuple[CredentialSet, ...]:
        """What the calls of a scope use: for each provider the credentials of the nearest owner.

        Raises:
            LedgerUnavailable: the database is away.
        """

        async def look_up() -> tuple[CredentialSet, ...]:
            return self._nearest(await self._store.in_scope(org_id, team_id, environment_id))

        return await self._sets.get(f"{org_id}/{team_id}/{environment_id}", look_up)

    async def named(self, name: str) -> Opened | None:
        """One credential by its name, active or not; None if there is none."""
        row = await self._store.named(name)
        return None if row is None else self._opened_now(row, row.name)[0]

    def _nearest(self, rows: list[InScope]) -> tuple[CredentialSet, ...]:
        found: dict[str, list[InScope]] = {}
        for kind in _NEAREST_FIRST:
            near = {row.provider for row in rows if row.subject_kind == kind} - found.keys()
            for row in rows:
                if row.subject_kind == kind and row.provider in near:
                    found.setdefault(row.provider, []).append(row)
        return tuple(
            CredentialSet(provider, tuple(self._open(row, row.name) for row in members))
            for provider, members in sorted(found.items())
        )

    def _open(self, row: Stored, name: str) -> Opened:
        key = (row.id, row.revision, row.master_key_id)
        kept = self._opened.get(key)
        if kept is not None:
            self._opened.move_to_end(key)
            return kept
        opened, fault = self._opened_now(row, name)
        if fault:
            log.error("credential_unusable", credential=name, because=fault)
            if self._observer is not None:
                self._observer.credential_unusable()
        self._opened[key] = opened
        if len(self._opened) > OPENED_MAX:
            self._opened.popitem(last=False)
        return opened

    def _opened_now(self, row: Stored, name: str) -> tuple[Opened, str]:
        """A credential, and why its secret cannot be read here."""
        secret: Secret | None = None
        fault = ""
        try:
            found = open_envelope(_envelope_of(row), _place_of(row), self._keys)
            secret = Secret(found.text, MappingProxyType(dict(found.variables)))
        except EnvelopeBrokenError as error:
            fault = str(error)
        opened = Opened(
            id=row.id,
            revision=row.revision,
            name=name,
            provider=row.provider,
            weight=row.weight,
            fee_ppm=row.fee_ppm,
            secret=secret,
        )
        return opened, fault

    # --- what administrators do -----------------------------------------------------------------
    async def get(self, owner: Owner, slug: str) -> Stored | None:
        """One row; None if there is none."""
        return await self._store.get(owner, slug)

    async def page(self, owner: Owner, after: str, limit: int) -> list[Stored]:
        """An owner's rows with ids above `after`, in their order."""
        return await self._store.page(owner, after, limit)

    async def create(
        self,
        owner: Owner,
        slug: str,
        provider: str,
        secret: Secret,
        *,
        weight: int,
        fee_ppm: int | None,
        active: bool,
        told: Told,
    ) -> Stored:
        """Seals and keeps a credential.

        Raises:
            AlreadyExists: the owner has one of that id.
            TooMany: the owner has as many as there may be.
            NotFound: the owner is gone.
            FeatureUnsupported: this service has no master key.
        """

        async def work(connection: Connection) -> Stored:
            await store.lock_org(connection, owner.org_id)
            if not await store.exists(connection, owner):
                raise missing(owner.name, "parent")
            if await store.count(connection, owner) >= CREDENTIALS_MAX:
                raise TooMany(
                    f"`{owner.name}` has {CREDENTIALS_MAX} credentials, as many as there may be; "
                    "delete one.",
                    field="parent",
                    metadata={"limit": str(CREDENTIALS_MAX)},
                )
            place = Place(
                await store.next_id(connection), owner.org_id, owner.kind, owner.id, provider
            )
            envelope = self._sealed(secret, place)
            row = await store.insert(
                connection,
                {
                    "id": place.id,
                    "org_id": owner.org_id,
                    "subject_kind": owner.kind,
                    "subject_id": owner.id,
                    "slug": slug,
                    "provider": provider,
                    "sealed": envelope.sealed,
                    "sealed_key": envelope.sealed_key,
                    "master_key_id": envelope.master_key_id,
                    "weight": weight,
                    "fee_ppm": fee_ppm,
                    "active": active,
                    "hint": hint_of(secret.text),
                },
            )
            if row is None:
                raise AlreadyExists(
                    f"`{_name(owner, slug)}` exists; update it, or choose another id.",
                    field="provider_credential_id",
                )
            await told(connection, None, row)
            return row

        return await self._database.transaction(work)

    async def update(
        self,
        owner: Owner,
        slug: str,
        etag: str,
        changes: Mapping[str, object],
        *,
        check: Callable[[str, Secret], Awaitable[None]],
        told: Told,
    ) -> Stored:
        """Changes a credential: `secret`, `variables`, `weight`, `fee_ppm`, `active`.

        Args:
            owner: whose it is.
            slug: its id.
            etag: what it must be at; empty for whatever it is.
            changes: new values by name.
            check: refuses a secret and variables that the provider cannot use, where they change.
            told: writes the audit entry.

        Raises:
            NotFound, EtagMismatch: it is not there, or not as the caller knew it.
            FieldInvalid: only one of `secret` and `variables` changes, and the other cannot be
                read here.
            FeatureUnsupported: this service has no master key.
        """
        name = _name(owner, slug)

        async def work(connection: Connection) -> Stored:
            await store.lock_org(connection, owner.org_id)
            old = await store.get_for_update(connection, owner, slug)
            if old is None:
                raise missing(name, "provider_credential.name")
            _match(old, etag)
            envelope, hint = _envelope_of(old), old.hint
            if not changes.keys().isdisjoint(("secret", "variables")):
                secret = self._changed(old, changes)
                await check(old.provider, secret)
                envelope = self._sealed(secret, _place_of(old))
                hint = hint_of(secret.text)
            row = await store.update(
                connection,
                {
                    "id": old.id,
                    "sealed": envelope.sealed,
                    "sealed_key": envelope.sealed_key,
                    "master_key_id": envelope.master_key_id,
                    "weight": changes.get("weight", old.weight),
                    "fee_ppm": changes.get("fee_ppm", old.fee_ppm),
                    "active": changes.get("active", old.active),
                    "hint": hint,
                },
            )
            if row is None:
                raise missing(name, "provider_credential.name")
            await told(connection, old, row)
            return row

        return await self._database.transaction(work)

    async def delete(self, owner: Owner, slug: str, etag: str, told: Told) -> None:
        """Forgets a credential.

        Raises:
            NotFound, EtagMismatch: it is not there, or not as the caller knew it.
        """

        async def work(connection: Connection) -> None:
            await store.lock_org(connection, owner.org_id)
            old = await store.get_for_update(connection, owner, slug)
            if old is None:
                raise missing(_name(owner, slug), "name")
            _match(old, etag)
            await store.delete(connection, old.id)
            await told(connection, old, None)

        await self._database.transaction(work)

    def _changed(self, old: Stored, changes: Mapping[str, object]) -> Secret:
        text, variables = changes.get("secret"), changes.get("variables")
        if text is None or variables is None:
            try:
                kept = open_envelope(_envelope_of(old), _place_of(old), self._keys)
            except EnvelopeBrokenError as error:
                raise FieldInvalid(
                    f"What this credential has cannot be read here: {error}. Give both `secret` "
                    "and `variables`.",
                    field="update_mask",
                ) from None
            text = kept.text if text is None else text
            variables = kept.variables if variables is None else variables
        if not isinstance(text, str) or not isinstance(variables, Mapping):
            raise TypeError("changes have the types of their fields")
        return Secret(text, variables)

    def _sealed(self, secret: Secret, place: Place) -> Envelope:
        try:
            return seal(secret, place, self._keys)
        except NoMasterKeyError:
            raise FeatureUnsupported(
                "This service keeps no credentials of providers, since it has no master key to "
                "seal them with. Its operator sets one: OMNI_CREDENTIAL_MASTER_KEY.",
                field="provider_credential",
                metadata={"feature": "provider credentials"},
            ) from None


def hint_of(secret: str) -> str:
    """The last characters of a secret of one line; nothing of a short one."""
    if len(secret) < _HINTED_CHARS_MIN or not secret.isprintable() or " " in secret:
        return ""
    return secret[-HINT_CHARS:]


def _match(row: Stored, etag: str) -> None:
    if etag and etag != str(row.revision):
        raise EtagMismatch(
            f"The credential was changed since its etag {etag[:20]!r} was read: read it again, "
            "then change it.",
            field="etag",
        )


def _name(owner: Owner, slug: str) -> str:
    return f"{owner.name}/providerCredentials/{slug}"


def _envelope_of(row: Stored) -> Envelope:
    return Envelope(row.sealed, row.sealed_key, row.master_key_id)


def _place_of(row: Stored) -> Place:
    return Place(row.id, row.org_id, row.subject_kind, row.subject_id, row.provider)
