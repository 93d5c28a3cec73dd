"""Operations on a real database, for callers who are real keys and users of real organisations."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from omni_grpc.administration import (
    Access,
    ApiKeyOperations,
    AuditOperations,
    Caller,
    EnvironmentOperations,
    Operations,
    OrgOperations,
    Page,
    TeamOperations,
    UserOperations,
)
from omni_grpc.audit import Actor, AuditLog, AuditStore
from omni_grpc.completion import PageTokens
from omni_grpc.identity import Identity, KeyGrant, NewKey, OrgPath, Role, Scope, Subjects
from omni_grpc.identity.store import IdentityStore
from omni_grpc.storage import Database

SECRET = b"a server secret for tests, 32 bytes and more"
TESTS = Actor(name="tests")
ISSUER = "https://idp.example"
EVERYTHING_IN_AN_ORG = (Scope.INFERENCE, Scope.BILLING, Scope.VIEWING, Scope.MANAGEMENT)


@dataclass
class Office:
    """One process: its identity and its operations."""

    database: Database
    identity: Identity = field(init=False)
    operations: Operations = field(init=False)

    def __post_init__(self) -> None:
        self.identity = Identity(self.database, key_hash_secret=SECRET)
        access = Access(self.identity, Subjects(self.database))
        parts = (self.identity, access, PageTokens(SECRET))
        self.operations = Operations(
            OrgOperations(*parts),
            TeamOperations(*parts),
            EnvironmentOperations(*parts),
            UserOperations(*parts),
            ApiKeyOperations(*parts),
            AuditOperations(AuditLog(AuditStore(self.database)), access, parts[2]),
        )

    async def do(self, caller: Caller, rpc: str, **asked: Any) -> Any:
        """Runs an operation as the transports do, its permission included."""
        operation = self.operations.get(rpc)
        assert operation is not None, rpc
        caller.principal.require(operation.permission)
        return await operation.run(caller, msgspec.convert(asked, operation.asked))

    async def rows(self, caller: Caller, rpc: str, page_size: int = 2, **asked: Any) -> list[Any]:
        """All rows of a list, read in pages."""
        rows: list[Any] = []
        token = ""
        while True:
            page: Page[Any] = await self.do(
                caller, rpc, page_size=page_size, page_token=token, **asked
            )
            assert len(page.items) <= page_size
            rows += page.items
            token = page.next_page_token
            if not token:
                return rows

    async def operator(self) -> Caller:
        """Who runs the service."""
        own = await self.identity.orgs.ensure_operator(TESTS)
        return await self._caller(await self._key(own.slug, scopes=frozenset(Scope)))

    async def org(self, slug: str) -> Caller:
        """A new organisation's own key, with every scope that it can have."""
        await self.identity.orgs.create(TESTS, slug)
        return await self.key(slug, *EVERYTHING_IN_AN_ORG)

    async def key(self, org: str, *scopes: Scope, models: tuple[str, ...] = ()) -> Caller:
        """A caller with a key of an organisation."""
        return await self._caller(await self._key(org, scopes=frozenset(scopes), models=models))

    async def user(self, org: str, role: Role, subject: str = "") -> Caller:
        """A caller who is a new user of an organisation."""
        found = await self.identity.get_org(org)
        subject = subject or f"a {role} of {org}"
        await self.identity.users.create(
            TESTS, found.org_id, issuer=ISSUER, subject=subject, role=role, by_owner=True
        )
        (principal,) = await IdentityStore(self.database).principals_of_user(
            ISSUER, subject, org_slug=org
        )
        return Caller(principal, "192.0.2.7", "call")

    async def _key(self, org: str, **grant: Any) -> NewKey:
        found = await self.identity.get_org(org)
        return await self.identity.keys.create(
            TESTS, found.org_id, OrgPath(org=org), KeyGrant(**grant)
        )

    async def _caller(self, new: NewKey) -> Caller:
        return Caller(await self.identity.authenticate(new.secret), "192.0.2.7", "call")
