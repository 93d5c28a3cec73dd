import datetime as dt
from collections.abc import Callable

import pytest
from catalog_offers import Rows, facts, rates

from omni_grpc.catalog import Alias, Catalog, Offer, OwnPrice, Words, etag_of, seed
from omni_grpc.catalog.history import list_changes
from omni_grpc.catalog.operator_file import parse_operator_file
from omni_grpc.core.errors import EtagMismatch, FieldInvalid, NotFound
from omni_grpc.core.money import Rate, Unit
from omni_grpc.storage import Database

Query = Callable[[str], Rows]
NAMES = ("openai/gpt-4o", "azure/gpt-4o", "openai/gpt-4")


async def filled(database: Database) -> Catalog:
    await seed(database, [facts(name) for name in NAMES])
    catalog = Catalog(database)
    await catalog.load()
    return catalog


def offer_of(catalog: Catalog, name: str) -> Offer:
    found = catalog.snapshot.get(name)
    assert found is not None
    return found


async def test_words_hold_at_once_and_are_taken_back_field_by_field(
    database: Database, query: Query
):
    catalog = await filled(database)
    name = "openai/gpt-4o"
    words = Words(
        enabled=False,
        tags=("a", "b"),
        regions=("eu",),
        quality_weight_ppm=0,
        routing_weight=5,
        replacement="gpt-4",
        deprecation_date=dt.date(2020, 1, 1),
        deprecation_reason="why",
        price=OwnPrice(rates=rates(7, 9)),
    )
    fields = [field for field in Words.__struct_fields__ if field != "ratings"]
    found = await catalog.update_model(name, words, fields, actor="ann")
    assert (found.enabled, found.tags, found.regions) == (False, {"a", "b"}, {"eu"})
    assert (found.quality_weight_ppm, found.routing_weight) == (0, 5)
    assert (found.replacement, found.deprecated, found.deprecation_reason) == ("gpt-4", True, "why")
    assert found.price is not None
    assert found.price.rates == rates(7, 9)
    assert offer_of(catalog, "azure/gpt-4o").enabled
    partly = await catalog.update_model(name, Words(), ("enabled", "price"), actor="ben")
    assert partly.enabled
    assert partly.tags == {"a", "b"}
    await catalog.update_model(name, Words(), fields, actor="ben")
    assert query("SELECT count(*) FROM operator_rule") == [(0,)]
    assert query("SELECT count(*) FROM operator_word") == [(0,)]
    actors = query("SELECT DISTINCT source, actor FROM model_change WHERE actor <> 'system'")
    assert sorted(actors) == [("operator", "ann"), ("operator", "ben")]


async def test_saying_the_same_again_changes_nothing(database: Database):
    catalog = await filled(database)
    await catalog.update_model(NAMES[0], Words(tags=("a",)), ("tags",), actor="ann")
    version = catalog.snapshot.version
    await catalog.update_model(NAMES[0], Words(tags=("a",)), ("tags",), actor="ann")
    assert catalog.snapshot.version == version


async def test_an_etag_of_something_older_is_refused(database: Database):
    catalog = await filled(database)
    seen = etag_of(offer_of(catalog, NAMES[0]))
    words = Words(routing_weight=2)
    await catalog.update_model(NAMES[0], words, ("routing_weight",), etag=seen, actor="ann")
    with pytest.raises(EtagMismatch, match="changed since"):
        await catalog.update_model(NAMES[0], Words(), ("routing_weight",), etag=seen, actor="ben")
    now = etag_of(offer_of(catalog, NAMES[0]))
    await catalog.update_model(NAMES[0], Words(), ("routing_weight",), etag=now, actor="ben")


async def test_the_file_goes_before_calls_for_what_it_names(database: Database):
    catalog = await filled(database)
    await catalog.update_model(NAMES[0], Words(routing_weight=2), ("routing_weight",), actor="ann")
    file = parse_operator_file(b"models: {gpt-4o: {routing_weight: 7}}")
    await catalog.apply_file(file, actor="models.yaml")
    assert offer_of(catalog, NAMES[0]).routing_weight == 7
    with pytest.raises(FieldInvalid, match=r"models\.yaml sets routing_weight .*'gpt-4o'") as error:
        await catalog.update_model(NAMES[0], Words(), ("routing_weight",), actor="ann")
    assert error.value.field == "update_mask"
    await catalog.update_model(NAMES[0], Words(tags=("x",)), ("tags",), actor="ann")
    await catalog.apply_file(parse_operator_file(b""), actor="models.yaml")
    assert offer_of(catalog, NAMES[0]).routing_weight == 2


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (Words(quality_weight_ppm=10_000_001), "quality_weight_ppm"),
        (Words(routing_weight=-1), "routing_weight"),
        (Words(tags=("a b",)), "tags"),
        (Words(tags=tuple(map(str, range(33)))), "tags"),
        (Words(deprecation_reason="a\nb"), "deprecation_reason"),
        (Words(replacement="gpt-5o"), "replacement"),
        (Words(replacement="gpt-4o"), "replacement"),
        (Words(price=OwnPrice()), "price"),
        (Words(price=OwnPrice(discount_ppm=-1)), "price"),
        (Words(price=OwnPrice(rates=(Rate(Unit.PROMPT, 0, 1),))), "price"),
        (Words(price=OwnPrice(rates=rates(-1, 1))), "price"),
        (Words(price=OwnPrice(rates=(*rates(), *rates()))), "price"),
        (Words(price=OwnPrice(rates=rates(10**13 + 1, 1))), "price"),
        (Words(price=OwnPrice(rates=rates(), discount_ppm=1)), "price"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_changes(
    database: Database, words: Words, field: str
):
    catalog = await filled(database)
    version = catalog.snapshot.version
    name = field if field != "price" else "price"
    with pytest.raises(FieldInvalid) as caught:
        await catalog.update_model(NAMES[0], words, (name,), actor="ann")
    assert caught.value.field == field
    await catalog.refresh()
    assert catalog.snapshot.version == version


async def test_an_offer_that_is_not_there_is_told(database: Database):
    catalog = await filled(database)
    with pytest.raises(NotFound, match=r"Did you mean 'openai/gpt-4"):
        await catalog.update_model("openai/gpt-9", Words(), ("tags",), actor="ann")
    with pytest.raises(NotFound, match=r"the router's, which chooses .* /v1/router/debug"):
        await catalog.update_model("omni/auto", Words(), ("tags",), actor="ann")


async def test_an_alias_of_the_file_cannot_be_changed_by_a_call_and_uncovers_it_when_gone(
    database: Database,
):
    catalog = await filled(database)
    await catalog.set_alias(Alias(name="smart", targets=("gpt-4",)), actor="ann")
    file = parse_operator_file(b"aliases: {global: {smart: gpt-4o}}")
    await catalog.apply_file(file, actor="models.yaml")
    assert catalog.snapshot.resolve("smart")[0].model == "gpt-4o"
    with pytest.raises(FieldInvalid, match=r"models\.yaml sets the alias"):
        await catalog.set_alias(Alias(name="smart", targets=("gpt-4",)), actor="ann")
    with pytest.raises(FieldInvalid, match=r"models\.yaml sets the alias"):
        await catalog.delete_alias("smart", actor="ann")
    await catalog.apply_file(parse_operator_file(b""), actor="models.yaml")
    assert catalog.snapshot.resolve("smart")[0].model == "gpt-4"


async def test_changes_are_listed_newest_first_in_pages_and_by_what_they_are_of(
    database: Database,
):
    catalog = await filled(database)
    for weight in range(2, 7):
        words = Words(routing_weight=weight)
        await catalog.update_model(NAMES[0], words, ("routing_weight",), actor="ann")
    await catalog.update_model(NAMES[1], Words(tags=("x",)), ("tags",), actor="ben")
    wanted = {"subject": NAMES[0], "field": "routing_weight"}
    seen: list[str | None] = []
    before = None
    for _ in range(9):
        page = await list_changes(database, wanted, before=before, limit=2)
        seen += [one.new for one in page.changes]
        before = page.next_before
        if before is None:
            break
    assert seen == ["6", "5", "4", "3", "2"]
    (ben,) = (await list_changes(database, {"actor": "ben"}, before=None, limit=9)).changes
    assert (ben.subject, ben.field, ben.old, ben.new) == (NAMES[1], "tags", None, "x")
    assert (ben.source, ben.actor) == ("operator", "ben")
