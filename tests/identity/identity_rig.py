"""What tests of identity do again and again: making, revoking and listing keys of organisations."""

from omni_grpc.audit import Actor
from omni_grpc.identity import ApiKey, Identity, KeyGrant, NewKey, OrgPath

TESTS = Actor(name="tests")


async def new_key(identity: Identity, org: str = "acme", **grant) -> NewKey:
    """A key of an organisation."""
    found = await identity.get_org(org)
    return await identity.keys.create(TESTS, found.org_id, OrgPath(org=org), KeyGrant(**grant))


async def revoke(identity: Identity, key: ApiKey, *, org: str | None = None) -> ApiKey:
    """Ends a key, in its own organisation or in another."""
    slug = org or key.name.split("/")[1]
    found = await identity.get_org(slug)
    return await identity.revoke_api_key(TESTS, found.org_id, slug, key.prefix)


async def keys_of(identity: Identity, org: str = "acme", *, after: int = 0, limit: int = 1_000):
    """Keys of an organisation with the ids that lists go on after."""
    found = await identity.get_org(org)
    rows = await identity.keys.page("o", found.org_id, after, limit)
    return [(row.key_id, row.key) for row in rows]
