import pytest
from catalog_offers import facts, offer

from omni_grpc.catalog import (
    Alias,
    Catalog,
    CatalogSnapshot,
    CatalogStore,
    check_scope,
    scopes_of,
    seed,
)
from omni_grpc.catalog.aliases import check_alias
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.storage import Database

ACME = ("orgs/acme", "global")


def alias(name: str, *targets: str, scope: str = "global") -> Alias:
    return Alias(name=name, targets=targets, scope=scope)


def snapshot_of(*aliases: Alias) -> CatalogSnapshot:
    return CatalogSnapshot(1, [offer("a/x"), offer("a/y"), offer("b/z")], aliases)


def ids(snapshot: CatalogSnapshot, name: str, scopes: tuple[str, ...]) -> list[str]:
    return [one.id for one in snapshot.resolve(name, scopes)]


def test_the_nearest_scope_wins():
    snapshot = snapshot_of(alias("fast", "x"), alias("fast", "y", scope="orgs/acme"))
    assert ids(snapshot, "fast", ACME) == ["a/y"]
    assert ids(snapshot, "fast", ("orgs/other", "global")) == ["a/x"]
    assert [one.id for one in snapshot.resolve("fast")] == ["a/x"]
    found = snapshot.alias_of("fast", ACME)
    assert found is not None
    assert found.scope == "orgs/acme"


def test_a_chain_goes_through_scopes_and_sees_the_nearest_of_each_name():
    snapshot = snapshot_of(
        alias("best", "fast", "z"),
        alias("fast", "x"),
        alias("fast", "y", scope="orgs/acme"),
    )
    assert ids(snapshot, "best", ACME) == ["a/y", "b/z"]
    assert ids(snapshot, "best", ("global",)) == ["a/x", "b/z"]


def test_an_org_s_alias_is_nobody_else_s():
    snapshot = snapshot_of(alias("mine", "x", scope="orgs/acme"))
    assert ids(snapshot, "mine", ("orgs/other", "global")) == []
    assert snapshot.suggestions("mime") == ()
    assert snapshot.suggestions("mime", scopes=ACME) == ("mine",)
    assert snapshot.aliases("orgs/other") == ()
    assert snapshot.alias_of("a/x", ACME) is None


def test_scopes_lie_in_each_other():
    assert scopes_of("global") == ("global",)
    assert scopes_of("orgs/acme") == ACME
    assert scopes_of("orgs/acme/teams/red") == ("orgs/acme/teams/red", *ACME)


@pytest.mark.parametrize(
    "scope", ["", "Global", "orgs/", "orgs/A", "orgs/a/b", "teams/x", "x" * 999]
)
def test_a_scope_that_cannot_be_is_refused(scope: str):
    with pytest.raises(FieldInvalid) as caught:
        check_scope(scope)
    assert caught.value.field == "scope"


def test_a_loop_through_scopes_is_refused_from_either_side():
    with pytest.raises(FieldInvalid, match="b → a → b"):
        check_alias(alias("b", "a", scope="orgs/acme"), [alias("a", "b")])
    with pytest.raises(FieldInvalid, match="a → b → a"):
        check_alias(alias("a", "b"), [alias("b", "a", scope="orgs/acme")])
    check_alias(alias("b", "a", scope="orgs/acme"), [alias("a", "b", scope="orgs/other")])
    # acme's own `a` covers the global one, so that nobody sees both halves.
    check_alias(
        alias("a", "b"), [alias("b", "a", scope="orgs/acme"), alias("a", "x", scope="orgs/acme")]
    )


async def test_scoped_aliases_are_kept_apart(database: Database):
    await seed(database, [facts("a/x"), facts("a/y")])
    catalog = Catalog(database)
    await catalog.set_alias(alias("fast", "x"), actor="ann")
    await catalog.set_alias(alias("fast", "y", scope="orgs/acme"), actor="ann")
    assert len(await CatalogStore(database).aliases()) == 2
    assert ids(catalog.snapshot, "fast", ACME) == ["a/y"]
    with pytest.raises(NotFound, match="alias list --scope orgs/other`") as caught:
        await catalog.delete_alias("fast", actor="ann", scope="orgs/other")
    assert "Did you mean" not in caught.value.message
    with pytest.raises(NotFound, match="Did you mean 'fast'"):
        await catalog.delete_alias("fst", actor="ann", scope="orgs/acme")
    await catalog.delete_alias("fast", actor="ann", scope="orgs/acme")
    assert ids(catalog.snapshot, "fast", ACME) == ["a/x"]
    with pytest.raises(FieldInvalid, match="no scope"):
        await catalog.set_alias(alias("fast", "y", scope="teams/a"), actor="ann")
    with pytest.raises(FieldInvalid, match="names no model"):
        await catalog.set_alias(alias("only", "nothing", scope="orgs/acme"), actor="ann")
