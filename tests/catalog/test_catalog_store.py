import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from catalog_offers import Rows, create_catalog, facts, rates
from patient_database import patient_database
from quick_clusters import quick_server
from structlog.testing import capture_logs

from omni_grpc.catalog import Alias, Catalog, CatalogStore, Quote, seed
from omni_grpc.core.errors import FieldInvalid, LedgerUnavailable, NotFound
from omni_grpc.storage import Database

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Query = Callable[[str], Rows]


def events(logs: Sequence[MutableMapping[str, object]]) -> list[object]:
    return [entry["event"] for entry in logs]


@asynccontextmanager
async def running(catalog: Catalog) -> AsyncIterator[None]:
    task = asyncio.create_task(catalog.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_without_any_offers_the_snapshot_is_empty_and_the_log_says_so(database: Database):
    catalog = Catalog(database)
    with capture_logs() as logs:
        await catalog.load()
    assert len(catalog.snapshot) == 0
    assert events(logs) == ["catalog_empty", "catalog_loaded"]
    assert "seeded" in logs[0]["help"]


async def test_a_change_made_elsewhere_arrives_by_polling(
    database: Database, eventually: Eventually
):
    catalog = Catalog(database, poll_s=0.02)
    await catalog.load()
    async with running(catalog):
        await seed(database, [facts("a/1")])
        await eventually(lambda: catalog.snapshot.get("a/1"))
        first = catalog.snapshot
        await seed(database, [facts("a/1", quote=Quote(rates=rates(77)))])
        await eventually(lambda: catalog.snapshot.version == 2)
    old, new = first.get("a/1"), catalog.snapshot.get("a/1")
    assert old is not None
    assert new is not None
    assert old.price != new.price


async def test_what_did_not_change_is_not_read_again(database: Database):
    await seed(database, [facts("a/1")])
    catalog = Catalog(database)
    assert await catalog.refresh()
    held = catalog.snapshot
    assert not await catalog.refresh()
    assert catalog.snapshot is held


async def test_while_the_database_is_down_the_old_snapshot_stays_and_polling_goes_on(
    tmp_path: Path, eventually: Eventually
):
    with quick_server(tmp_path / "data") as server:
        url = create_catalog(server, "down")
        async with Database(url, application_name="tests") as database:
            await seed(database, [facts("a/1")])
            catalog = Catalog(database, poll_s=0.02)
            await catalog.load()
            held = catalog.snapshot
            with capture_logs() as logs:
                async with running(catalog):
                    await asyncio.to_thread(server.stop)
                    await eventually(lambda: "catalog_poll_failed" in events(logs))
                    assert catalog.snapshot is held
                    with pytest.raises(LedgerUnavailable):
                        await catalog.load()
                    assert catalog.snapshot is held
                    await asyncio.to_thread(server.start)
                    await _seed_when_up(database, eventually)
                    await eventually(lambda: catalog.snapshot.get("a/2"))


async def _seed_when_up(database: Database, eventually: Eventually) -> None:
    for _ in range(400):
        with suppress(LedgerUnavailable):
            await seed(database, [facts("a/1"), facts("a/2")])
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the database did not come back in time")


async def test_a_catalog_that_cannot_be_read_does_not_end_polling(
    database: Database, query: Query, eventually: Eventually
):
    await seed(database, [facts("a/1")])
    catalog = Catalog(database, poll_s=0.02)
    await catalog.load()
    held = catalog.snapshot
    with capture_logs() as logs:
        async with running(catalog):
            query("UPDATE offer SET mode = 'telepathy'")
            query("UPDATE catalog_state SET version = version + 1")
            await eventually(lambda: "catalog_poll_failed" in events(logs))
            assert catalog.snapshot is held
            query("UPDATE offer SET mode = 'chat'")
            await eventually(lambda: catalog.snapshot is not held)


async def test_other_tasks_have_turns_while_everything_is_loaded(seeded_url: str):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with patient_database(seeded_url, "tests") as database:
        catalog = Catalog(database)
        counting = asyncio.create_task(count())
        await catalog.load()
        counting.cancel()
    assert len(catalog.snapshot) > 4_000
    assert turns > 60


async def test_equal_facts_are_kept_once(seeded_url: str):
    async with patient_database(seeded_url, "tests") as database:
        offers = (await CatalogStore(database).read()).offers
    for attribute in ("provider", "model", "input_modalities", "context_tokens_max"):
        values = [getattr(one, attribute) for one in offers]
        assert len({id(value) for value in values}) == len(set(values))
    rates_held = [rate for one in offers if one.price for rate in one.price.rates]
    assert len({id(rate) for rate in rates_held}) == len(set(rates_held))


async def test_an_alias_counts_at_once_and_is_recorded(database: Database, query: Query):
    await seed(database, [facts("openai/gpt-4o"), facts("azure/gpt-4o")])
    catalog = Catalog(database)
    await catalog.load()
    await catalog.set_alias(Alias(name="smart", targets=("gpt-4o",)), actor="ann")
    assert [one.id for one in catalog.snapshot.resolve("smart")] == [
        "openai/gpt-4o",
        "azure/gpt-4o",
    ]
    await catalog.set_alias(Alias(name="default", targets=("smart",)), actor="ann")
    await catalog.set_alias(Alias(name="smart", targets=("azure/gpt-4o",)), actor="ben")
    assert [one.id for one in catalog.snapshot.resolve("default")] == ["azure/gpt-4o"]
    version = catalog.snapshot.version
    await catalog.set_alias(Alias(name="smart", targets=("azure/gpt-4o",)), actor="ben")
    assert catalog.snapshot.version == version
    await catalog.delete_alias("default", actor="cas")
    assert catalog.snapshot.resolve("default") == ()
    assert await CatalogStore(database).aliases() == (
        Alias(name="smart", targets=("azure/gpt-4o",)),
    )
    assert query(
        "SELECT subject, old_value, new_value, source, actor FROM model_change "
        "WHERE field = 'alias' ORDER BY id"
    ) == [
        ("smart", None, "gpt-4o", "operator", "ann"),
        ("default", None, "smart", "operator", "ann"),
        ("smart", "gpt-4o", "azure/gpt-4o", "operator", "ben"),
        ("default", "smart", None, "operator", "cas"),
    ]


async def test_an_alias_loop_is_refused_and_the_old_alias_stays(database: Database):
    await seed(database, [facts("openai/gpt-4o")])
    catalog = Catalog(database)
    await catalog.set_alias(Alias(name="a", targets=("gpt-4o",)), actor="ann")
    await catalog.set_alias(Alias(name="b", targets=("a",)), actor="ann")
    with pytest.raises(FieldInvalid, match="a → b → a"):
        await catalog.set_alias(Alias(name="a", targets=("b",)), actor="ann")
    assert [one.id for one in catalog.snapshot.resolve("b")] == ["openai/gpt-4o"]


async def test_two_aliases_set_at_once_make_no_loop(database: Database):
    await seed(database, [facts("openai/gpt-4o")])
    store = CatalogStore(database)
    results = await asyncio.gather(
        store.set_alias(Alias(name="a", targets=("b",)), actor="ann"),
        store.set_alias(Alias(name="b", targets=("a",)), actor="ben"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in results) == ["FieldInvalid", "NoneType"]


@pytest.mark.parametrize(
    ("alias", "field", "words"),
    [
        (Alias(name="new", targets=("gpt4o",)), "targets", "did you mean gpt-4o"),
        (Alias(name="new", targets=("omni/auto",)), "targets", "names no model"),
        (Alias(name="openai/gpt-4o", targets=("gpt-4o",)), "name", "name of an offer"),
        (Alias(name="omni/mine", targets=("gpt-4o",)), "name", "router's own"),
    ],
)
async def test_an_alias_that_could_not_work_is_refused(
    database: Database, alias: Alias, field: str, words: str
):
    await seed(database, [facts("openai/gpt-4o")])
    with pytest.raises(FieldInvalid, match=words) as caught:
        await Catalog(database).set_alias(alias, actor="ann")
    assert caught.value.field == field
    assert await CatalogStore(database).aliases() == ()


async def test_deleting_an_alias_that_is_not_there_says_so(database: Database):
    with pytest.raises(NotFound, match="nothing"):
        await Catalog(database).delete_alias("nothing", actor="ann")


async def test_a_reader_never_sees_half_a_version(database: Database):
    store = CatalogStore(database)

    async def write() -> None:
        for n in range(1, 15):
            offers = [facts(f"a/{i}", quote=Quote(rates=rates(n, n))) for i in range(40)]
            await seed(database, offers)

    writing = asyncio.create_task(write())
    seen = set()
    while not writing.done():
        content = await store.read()
        prices = {one.price.rates for one in content.offers if one.price}
        assert len(prices) == min(content.version, 1)
        for held in prices:
            assert held[0].nanousd_per_mtok == content.version
        seen.add(content.version)
    await writing
    assert len(seen) > 1


async def test_release_dates_survive_the_way_through_the_database(database: Database):
    await seed(database, [facts("a/1", release_date=dt.date(1999, 12, 31))])
    (read,) = (await CatalogStore(database).read()).offers
    assert read.release_date == dt.date(1999, 12, 31)
