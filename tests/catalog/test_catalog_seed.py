import asyncio
import datetime as dt
from collections.abc import Callable

import psycopg
import pytest
from catalog_offers import Rows, facts, rates

from omni_grpc.catalog import Catalog, CatalogStore, Modality, Mode, Quote, Reading, Words, seed
from omni_grpc.catalog.changes import FACT_COLUMNS
from omni_grpc.core.money import Rate, Unit
from omni_grpc.storage import Database

CHANGES = "SELECT subject, field, old_value, new_value, source, actor FROM model_change ORDER BY id"
Query = Callable[[str], Rows]


async def test_every_fact_arrives(database: Database):
    given = facts(
        "lab/deep/model-1",
        model="model-1",
        display_name="Modèle 1 · 模型",
        mode=Mode.CHAT,
        context_tokens_max=200_000,
        prompt_tokens_max=150_000,
        output_tokens_max=50_000,
        input_modalities=frozenset({Modality.TEXT, Modality.AUDIO}),
        output_modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
        tools=True,
        structured_output=True,
        reasoning=True,
        temperature=False,
        deprecated=True,
        by_name_only=True,
        release_date=dt.date(2026, 2, 28),
        quote=Quote(rates=(*rates(), Rate(Unit.PROMPT_AUDIO, 200_001, 10**13))),
    )
    await seed(database, [given])
    content = await CatalogStore(database).read()
    (read,) = content.offers
    assert read.id == "lab/deep/model-1"
    for name in FACT_COLUMNS:
        if name not in {"free", "unpriced_reason"}:
            assert getattr(read, name) == getattr(given, name), name
    assert read.price is not None
    assert read.price.rates == tuple(sorted(given.quote.rates))
    assert (read.free, read.enabled, read.unpriced_reason) == (False, True, "")


async def test_an_unpriced_offer_arrives_with_its_reason_and_a_free_one_with_its_flag(
    database: Database,
):
    unpriced = facts("a/1", quote=Quote(refusal="nobody says"))
    free = facts("a/2", quote=Quote(rates=rates(0, 0), free=True))
    await seed(database, [unpriced, free])
    first, second = sorted((await CatalogStore(database).read()).offers, key=lambda one: one.id)
    assert (first.price, first.unpriced_reason, first.free) == (None, "nobody says", False)
    assert second.price is not None
    assert (second.price.rate(Unit.COMPLETION, 9), second.free) == (0, True)


async def test_seeding_the_same_again_changes_nothing(database: Database, query: Query):
    given = [
        facts("a/1"),
        facts("a/2", quote=Quote(refusal="unknown")),
        facts("b/3", structured_output=False, release_date=dt.date(2026, 1, 1)),
    ]
    first = await seed(database, given)
    tables = ("offer", "price_version", "price_rate", "model_change", "catalog_state")
    before = [query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    again = await seed(database, list(reversed(given)))
    assert [query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables] == before
    assert (first.version, first.added, first.changes) == (1, 3, 3)
    assert (again.version, again.added, again.changes) == (1, 0, 0)


async def test_a_changed_price_is_a_new_version_and_the_old_one_stays(
    database: Database, query: Query
):
    await seed(database, [facts("a/1"), facts("a/2")])
    store = CatalogStore(database)
    old = {one.id: one.price for one in (await store.read()).offers}
    dearer = Quote(rates=(*rates(5_000_000_000), Rate(Unit.CACHED_READ, 0, 1)))
    dearer = Quote(rates=tuple(sorted(dearer.rates)))
    report = await seed(database, [facts("a/1", quote=dearer), facts("a/2")], actor="tester")
    new = {one.id: one.price for one in (await store.read()).offers}
    assert (report.repriced, report.updated, report.version) == (1, 1, 2)
    assert new["a/2"] == old["a/2"]
    assert new["a/1"] is not None
    assert old["a/1"] is not None
    assert new["a/1"].version > old["a/1"].version
    assert new["a/1"].rates == dearer.rates
    assert await store.prices([old["a/1"].version, new["a/1"].version, 10**9]) == {
        old["a/1"].version: old["a/1"],
        new["a/1"].version: new["a/1"],
    }
    assert query(CHANGES)[-1] == (
        "a/1",
        "price",
        "completion=0.000002 prompt=0.000001",
        "cached_read=0.000000001 completion=0.000002 prompt=5",
        "seed",
        "tester",
    )


async def test_a_price_that_comes_back_gets_a_version_of_its_own(database: Database):
    store = CatalogStore(database)
    versions: list[int] = []
    for prompt in (1, 2, 1):
        await seed(database, [facts("a/1", quote=Quote(rates=rates(prompt)))])
        price = (await store.read()).offers[0].price
        assert price is not None
        versions.append(price.version)
    assert versions == sorted(set(versions))


async def test_an_offer_can_lose_its_price_and_get_one_again(database: Database, query: Query):
    store = CatalogStore(database)
    await seed(database, [facts("a/1")])
    await seed(database, [facts("a/1", quote=Quote(refusal="prices something unknown"))])
    (read,) = (await store.read()).offers
    assert (read.price, read.unpriced_reason) == (None, "prices something unknown")
    await seed(database, [facts("a/1")])
    (read,) = (await store.read()).offers
    assert read.price is not None
    assert [row[1:4] for row in query(CHANGES)[1:]] == [
        ("price", "completion=0.000002 prompt=0.000001", None),
        ("unpriced_reason", "", "prices something unknown"),
        ("price", None, "completion=0.000002 prompt=0.000001"),
        ("unpriced_reason", "prices something unknown", ""),
    ]


async def test_every_changed_fact_is_a_row(database: Database, query: Query):
    await seed(database, [facts("a/1", context_tokens_max=8_000, tools=True)])
    changed = facts(
        "a/1",
        context_tokens_max=None,
        tools=False,
        release_date=dt.date(2026, 5, 1),
        input_modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    )
    report = await seed(database, [changed])
    assert (report.updated, report.repriced, report.changes) == (1, 0, 4)
    assert {row[1:4] for row in query(CHANGES)[1:]} == {
        ("context_tokens_max", "8000", None),
        ("input_modalities", "text", "image,text"),
        ("tools", "true", "false"),
        ("release_date", None, "2026-05-01"),
    }
    assert query("SELECT count(*) FROM price_version") == [(1,)]


async def test_an_offer_that_vanished_is_marked_and_can_come_back(database: Database, query: Query):
    store = CatalogStore(database)
    await seed(database, [facts("a/1"), facts("a/2")])
    gone = await seed(database, [facts("a/2")])
    assert (gone.delisted, gone.version) == (1, 2)
    read = {one.id: one for one in (await store.read()).offers}
    assert read["a/1"].deprecated
    assert read["a/1"].price is not None
    assert not read["a/2"].deprecated
    assert (await seed(database, [facts("a/2")])).changes == 0
    back = await seed(database, [facts("a/1"), facts("a/2")])
    assert (back.relisted, back.updated, back.repriced) == (1, 0, 0)
    assert not any(one.deprecated for one in (await store.read()).offers)
    assert [row[:4] for row in query(CHANGES)[2:]] == [
        ("a/1", "listed", "true", "false"),
        ("a/1", "listed", "false", "true"),
    ]


async def test_where_a_source_falls_silent_the_next_one_s_word_counts(database: Database):
    await seed(database, [facts("a/1", display_name="theirs")], source="file")
    report = await seed(database, [facts("a/1", display_name="ours"), facts("a/2")])
    assert (report.added, report.updated, report.delisted) == (1, 0, 0)
    read = {one.id: one for one in (await CatalogStore(database).read()).offers}
    assert read["a/1"].display_name == "theirs"
    await seed(database, [], source="file")
    read = {one.id: one for one in (await CatalogStore(database).read()).offers}
    assert read["a/1"].display_name == "ours"
    assert (read["a/1"].deprecated, read["a/2"].deprecated) == (False, False)


async def test_the_operator_s_switch_outlives_a_seed(database: Database):
    await seed(database, [facts("a/1")])
    await Catalog(database).update_model("a/1", Words(enabled=False), ("enabled",), actor="ann")
    await seed(database, [facts("a/1", tools=True, quote=Quote(rates=rates(9)))])
    (read,) = (await CatalogStore(database).read()).offers
    assert read.tools
    assert not read.enabled


@pytest.mark.parametrize(
    "bad",
    [
        facts("omni/auto"),
        facts("/x"),
        facts("a/"),
        facts("a/\0"),
        facts("a/" + "x" * 255),
        facts("a/1", display_name="x\ny"),
        facts("a/1", context_tokens_max=0),
        facts("a/1", output_tokens_max=10**12),
        facts("a/1", quote=Quote()),
        facts("a/1", quote=Quote(rates=rates()[:1])),
    ],
    ids=lambda bad: f"{bad.id[:12]!r}",
)
async def test_facts_that_cannot_be_are_refused_whole(database: Database, bad: object):
    with pytest.raises(ValueError, match="cannot be"):
        await seed(database, [facts("b/1"), bad])  # type: ignore[list-item] # of that type
    assert (await CatalogStore(database).read()).offers == ()


async def test_an_offer_listed_twice_is_refused(database: Database):
    with pytest.raises(ValueError, match="lists offers twice: a/1"):
        await seed(database, [facts("a/1"), facts("a/1")])
    assert await CatalogStore(database).version() == 0


async def test_two_that_seed_at_once_write_it_once(database: Database, query: Query):
    given = [facts(f"a/{n}") for n in range(300)]
    reports = await asyncio.gather(*(seed(database, given) for _ in range(4)))
    assert sorted(one.added for one in reports) == [0, 0, 0, 300]
    assert {one.version for one in reports} == {1}
    assert query("SELECT count(*), count(DISTINCT id) FROM price_version") == [(300, 300)]


async def test_the_database_itself_refuses_a_price_without_sense(database: Database, query: Query):
    for bad in ("-1", "10000000000001"):
        with pytest.raises(psycopg.errors.CheckViolation):
            query(f"INSERT INTO price_rate VALUES (1, 'prompt', 0, {bad})")


async def test_a_seed_of_everything_is_quick_and_repeatable(
    database: Database, packages: Reading, query: Query
):
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = await seed(database, packages.offers)
    assert loop.time() - began < 3
    again = await seed(database, packages.offers)
    assert (first.offers, first.added) == (len(packages.offers), len(packages.offers))
    assert (again.changes, again.version) == (0, first.version)
    assert query("SELECT count(*) FROM price_version") == [(first.priced,)]
