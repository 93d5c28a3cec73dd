"""Syncs of whole catalogs: what several sources together make of it, and what stops them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from catalog_offers import Rows, facts
from source_server import SAMPLES, SourceServer, serving

from omni_grpc.catalog import (
    Catalog,
    CatalogStore,
    Offer,
    Progress,
    Source,
    SourceStore,
    Stage,
    Syncer,
    SyncReport,
    Words,
    opinions,
    own_price,
    parse_sources,
    rates_text,
    seed,
    validate,
)
from omni_grpc.catalog.prices import quote
from omni_grpc.core.errors import Busy
from omni_grpc.storage import Database

Query = Callable[[str], Rows]
HALF = 500_000
ALL = ("models.dev", "openrouter", "litellm", "genai-prices")
SAMPLE_OF = {
    "models.dev": "models_dev.json",
    "openrouter": "openrouter.json",
    "litellm": "litellm.json",
    "genai-prices": "genai_prices.json",
    "prices": "own.yaml",
}


class World:
    """One catalog, and a server of its sources."""

    def __init__(self, database: Database, server: SourceServer) -> None:
        self.database = database
        self.server = server
        self.syncer = Syncer(database, price_change_max_ppm=HALF)
        self.sources: dict[str, Source] = {}

    def samples(self, *names: str) -> None:
        for name in names:
            url = self.server.sample(f"/{name}", SAMPLE_OF[name], ETag=f'"{name}"')
            (self.sources[name],) = parse_sources([f"{name}={url}"])

    def own(self, name: str, *entries: dict[str, Any]) -> None:
        body = json.dumps({"models": entries}).encode()
        (self.sources[name],) = parse_sources([f"{name}={self.server.put(f'/{name}', body)}"])

    async def sync(self, *names: str, **given: Any) -> SyncReport:
        texts = [f"{one.name}={one.location}" for one in self.sources.values()]
        chosen = [one for one in parse_sources(texts) if not names or one.name in names]
        return await self.syncer.sync(chosen, actor="ann", **given)

    async def offers(self) -> dict[str, Offer]:
        return {one.id: one for one in (await CatalogStore(self.database).read()).offers}

    async def price(self, offer: str) -> str:
        found = (await self.offers())[offer]
        return rates_text(found.price.rates) if found.price else found.unpriced_reason


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with serving() as server:
        yield World(database, server)


def entry(name: str, prompt: object = 1, completion: object = 2, **more: Any) -> dict[str, Any]:
    prices = {"prompt": prompt, "completion": completion}
    return {"provider": "lab", "id": name, "usd_per_million": prices, **more}


def stages(report: SyncReport) -> dict[str, str]:
    return {one.source: one.stage.value for one in report.sources}


async def test_all_sources_together_make_one_catalog(world: World):
    world.samples(*ALL)
    report = await world.sync()
    assert stages(report) == dict.fromkeys(ALL, "read")
    assert (report.failed, report.needs_acceptance) == (False, False)
    found = await world.offers()
    assert found["openai/gpt-4o"].source == "models.dev"
    assert found["openrouter/lab/tiered"].source == "openrouter"
    assert found["google/gemini-mini"].source == "litellm"
    # genai-prices adds the unit that the others leave out, where the base prices are the same.
    assert await world.price("openai/gpt-4o") == (
        "cached_read=1.25 completion=10 prompt=2.5 prompt_audio=40"
    )
    # litellm adds the hour's cache and the tier; nobody makes an offer of genai-prices alone.
    assert "cached_write_1h=6" in await world.price("anthropic/claude-sonnet-4-5")
    assert "prompt@200001=6" in await world.price("anthropic/claude-sonnet-4-5")
    # Who sells it says that it charges by the request as well: no price is the whole one.
    assert "request" in await world.price("openrouter/perplexity/sonar")


async def test_the_same_again_changes_nothing_and_is_not_even_sent(world: World, query: Query):
    world.samples(*ALL)
    first = await world.sync()
    tables = ("offer", "price_version", "price_rate", "model_change", "source_offer")
    before = [query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    again = await world.sync()
    assert stages(again) == dict.fromkeys(ALL, "unchanged")
    assert (again.version, again.changes) == (first.version, ())
    assert [query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables] == before


async def test_a_dry_run_tells_the_same_and_writes_nothing(world: World, query: Query):
    world.samples(*ALL)
    dry = await world.sync(dry_run=True)
    assert (dry.version, dry.dry_run) == (0, True)
    tables = ("offer", "price_version", "model_change", "source_offer", "catalog_source")
    assert [query(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * len(tables)
    real = await world.sync()
    assert real.changes == dry.changes
    assert (real.added, real.version) == (dry.added, 1)


async def test_an_operator_s_own_price_goes_before_all_others(world: World):
    world.samples("prices", "models.dev", "litellm")
    await world.sync()
    found = (await world.offers())["openai/gpt-4o"]
    assert await world.price("openai/gpt-4o") == "cached_read=1.125 completion=9 prompt=2.25"
    assert found.hold_price is None
    # Its list says nothing but the price: the rest is what the next source says.
    assert (found.display_name, found.tools, found.context_tokens_max) == ("GPT-4o", True, 128_000)
    house = (await world.offers())["vllm/house-7b"]
    assert (house.regions, house.tools) == ({"eu"}, True)


async def test_every_change_is_a_row_with_its_source_and_who_asked(world: World, query: Query):
    world.own("prices", entry("a"), entry("b"))
    await world.sync()
    world.own("prices", entry("a", prompt="1.25", tools=True), entry("b"))
    report = await world.sync()
    assert (report.updated, report.repriced) == (1, 1)
    assert query(
        "SELECT subject, field, old_value, new_value, source, actor FROM model_change "
        "WHERE id > 2 ORDER BY id"
    ) == [
        ("lab/a", "price", "completion=2 prompt=1", "completion=2 prompt=1.25", "prices", "ann"),
        ("lab/a", "tools", "false", "true", "prices", "ann"),
    ]


async def test_an_old_price_version_stays_as_it_was(world: World):
    world.own("prices", entry("a"))
    await world.sync()
    old = (await world.offers())["lab/a"].price
    world.own("prices", entry("a", prompt="1.5"))
    await world.sync()
    new = (await world.offers())["lab/a"].price
    assert old is not None
    assert new is not None
    assert new.version > old.version
    assert await CatalogStore(world.database).prices([old.version]) == {old.version: old}


@pytest.mark.parametrize(("to", "waits"), [("1.5", 0), ("1.51", 1), ("0.5", 0), ("0.49", 1)])
async def test_a_price_that_moves_by_more_than_the_share_waits_to_be_accepted(
    world: World, to: str, waits: int
):
    world.own("prices", entry("a"), entry("b"))
    await world.sync()
    world.own("prices", entry("a", prompt=to), entry("b", completion="2.2"))
    report = await world.sync()
    assert (len(report.waiting), report.needs_acceptance) == (waits, bool(waits))
    moved = "prompt=1" if waits else f"prompt={to}"
    assert await world.price("lab/a") == f"completion=2 {moved}"
    assert await world.price("lab/b") == "completion=2.2 prompt=1"
    # It is found again each time, also where the source itself has nothing newer to say.
    assert len((await world.sync(dry_run=True)).waiting) == waits
    accepted = await world.sync(accept=True)
    assert (accepted.waiting, accepted.repriced) == ((), waits)
    assert await world.price("lab/a") == f"completion=2 prompt={to}"


async def test_a_price_that_becomes_nothing_waits_and_a_lost_one_does_not(world: World):
    world.own("prices", entry("a"), entry("b"))
    await world.sync()
    world.own("prices", entry("a", 0, 0), entry("b", -1))
    report = await world.sync()
    assert [(one.offer, one.change_ppm) for one in report.waiting] == [("lab/a", None)]
    assert await world.price("lab/a") == "completion=2 prompt=1"
    assert "not negative" in await world.price("lab/b")


async def test_a_price_that_comes_back_is_judged_against_the_last_accepted_one(world: World):
    """Else a source could move any price in two steps: by naming none in between."""
    world.own("prices", entry("a"), entry("near"), entry("new", -1))
    await world.sync()
    world.own("prices", entry("a", -1), entry("near", -1), entry("new", -1))
    assert (await world.sync()).waiting == ()
    world.own("prices", entry("a", 9, 18), entry("near", "1.4"), entry("new", 9, 18))
    back = await world.sync()
    assert [(one.offer, one.change_ppm) for one in back.waiting] == [("lab/a", 8_000_000)]
    assert rates_text(back.waiting[0].old) == "completion=2 prompt=1"
    # Until somebody accepts it the offer has no price, as before, and says what it waits for.
    assert "waits for an operator's word" in await world.price("lab/a")
    assert (await world.offers())["lab/a"].hold_price is None
    # What comes back near, and what never had a price, needs no word.
    assert await world.price("lab/near") == "completion=2 prompt=1.4"
    assert await world.price("lab/new") == "completion=18 prompt=9"
    # It is found again however often it is asked, and taken by itself once it is near.
    assert [one.offer for one in (await world.sync()).waiting] == ["lab/a"]
    look = validate(await SourceStore(world.database).view(), _now(), price_change_max_ppm=HALF)
    assert [one.offer for one in look.waiting] == ["lab/a"]
    world.own("prices", entry("a", "1.2"), entry("near"), entry("new", 9, 18))
    assert (await world.sync()).waiting == ()
    assert await world.price("lab/a") == "completion=2 prompt=1.2"


async def test_a_price_that_comes_back_far_is_taken_once_it_is_accepted(world: World):
    world.own("prices", entry("a", 0, 0))
    await world.sync()
    world.own("prices", entry("a", -1))
    await world.sync()
    world.own("prices", entry("a"))
    assert [one.change_ppm for one in (await world.sync()).waiting] == [None]
    assert (await world.sync(accept=True)).repriced == 1
    assert await world.price("lab/a") == "completion=2 prompt=1"


async def test_an_operator_s_own_price_is_not_what_a_source_s_is_judged_against(world: World):
    world.own("prices", entry("a"))
    await world.sync()
    await CatalogStore(world.database).set_words(
        "lab/a", Words(price=own_price({"discount_ppm": 900_000})), ["price"], etag="", actor="ann"
    )
    world.own("prices", entry("a", -1))
    await world.sync()
    world.own("prices", entry("a", "1.1"))
    assert (await world.sync()).waiting == ()
    assert await world.price("lab/a") == "completion=0.2 prompt=0.11"


async def test_while_a_price_waits_holds_are_made_at_the_dearer_one(world: World):
    world.own("prices", entry("a"))
    await world.sync()
    world.own("prices", entry("a", prompt=2))
    await world.sync()
    held = (await world.offers())["lab/a"].hold_price
    assert held is not None
    assert rates_text(held.rates) == "completion=2 prompt=2"


async def test_a_source_that_lost_a_fifth_of_its_offers_is_refused_whole(
    world: World, query: Query
):
    world.own("prices", *(entry(f"m{n}") for n in range(20)))
    await world.sync()
    world.own("prices", entry("m0", prompt="1.1"), *(entry(f"m{n}") for n in range(1, 15)))
    report = await world.sync()
    assert stages(report) == {"prices": "refused"}
    assert "5 of its 20 offers are not in it any more" in report.sources[0].failure
    assert report.changes == ()
    assert query("SELECT count(*) FROM offer WHERE delist_time IS NOT NULL") == [(0,)]
    assert await world.price("lab/m0") == "completion=2 prompt=1"
    accepted = await world.sync(accept=True)
    assert (accepted.delisted, accepted.repriced) == (5, 1)
    assert (await world.offers())["lab/m19"].deprecated


async def test_a_source_whose_prices_are_mostly_gone_is_refused_whole(world: World):
    world.own("prices", *(entry(f"m{n}") for n in range(10)))
    await world.sync()
    world.own("prices", *(entry(f"m{n}", prompt="3e9") for n in range(10)))
    report = await world.sync()
    assert "10 of its 10 offers have no price" in report.sources[0].failure
    assert await world.price("lab/m3") == "completion=2 prompt=1"


async def test_a_few_offers_that_vanish_are_an_edit_and_come_back(world: World):
    world.own("prices", *(entry(f"m{n}") for n in range(6)))
    await world.sync()
    world.own("prices", *(entry(f"m{n}") for n in range(2)))
    assert (await world.sync()).delisted == 4
    world.own("prices", *(entry(f"m{n}") for n in range(6)))
    assert (await world.sync()).relisted == 4
    assert not any(one.deprecated for one in (await world.offers()).values())


BAD = {
    "down": {"body": b"", "status": 500},
    "half": {"body": (SAMPLES / "models_dev.json").read_bytes()[:900]},
    "page": {"body": b"<html>", "content_type": "text/html"},
    "empty": {"body": b"{}"},
    "twice": {"body": b'{"lab": {"models": {}}, "lab": {"models": {}}}'},
}


@pytest.mark.parametrize("name", BAD)
async def test_a_source_that_fails_keeps_what_it_brought_and_the_others_count(
    world: World, name: str
):
    world.samples("models.dev")
    world.own("prices", entry("a"))
    await world.sync()
    before = await world.offers()
    world.server.put("/models.dev", **BAD[name])  # type: ignore[arg-type] # as `put` takes them
    world.own("prices", entry("a", prompt="1.1"))
    report = await world.sync()
    assert stages(report) == {"prices": "read", "models.dev": "failed"}
    assert report.failed
    after = await world.offers()
    assert {one for one in after if one != "lab/a"} == {one for one in before if one != "lab/a"}
    assert after["openai/gpt-4o"] == before["openai/gpt-4o"]
    assert await world.price("lab/a") == "completion=2 prompt=1.1"
    state = (await SourceStore(world.database).sources())["models.dev"]
    assert state.failure
    assert state.offer_count == 5
    world.samples("models.dev")
    assert not (await world.sync()).failed
    assert not (await SourceStore(world.database).sources())["models.dev"].failure


async def test_one_model_that_cannot_be_read_harms_no_other(world: World):
    world.own("prices", entry("a"), entry("b", mode="dance"), entry("c", prompt="NaN"))
    report = await world.sync()
    assert (report.added, len(report.sources[0].faults)) == (2, 1)
    assert "dance" in report.sources[0].faults[0]
    assert sum(report.sources[0].unpriced.values()) == 1


async def test_where_sources_disagree_holds_are_dear_and_charges_are_pinned(world: World):
    document = json.loads((SAMPLES / "litellm.json").read_bytes())
    document["gpt-4o"]["output_cost_per_token"] = 1.25e-05
    document["gpt-4o"]["input_cost_per_token"] = 2.5e-04
    world.samples("models.dev")
    world.sources["litellm"] = parse_sources(
        [f"litellm={world.server.put('/litellm', json.dumps(document).encode())}"]
    )[0]
    await world.sync()
    found = (await world.offers())["openai/gpt-4o"]
    assert found.price is not None
    assert found.hold_price is not None
    assert rates_text(found.price.rates) == "cached_read=1.25 completion=10 prompt=2.5"
    # A hundred times the price is no other list but a slip: it is told, and not held at.
    assert rates_text(found.hold_price.rates) == "cached_read=1.25 completion=12.5 prompt=2.5"
    state = await SourceStore(world.database).view()
    look = validate(state, _now(), price_change_max_ppm=HALF)
    told = {(one.unit, one.held) for one in look.disagreements if one.offer == "openai/gpt-4o"}
    assert told == {("completion", True), ("prompt", False)}
    assert (look.problems, look.offers) == (0, len(await world.offers()))
    assert [(one.said.source, one.price_counts) for one in opinions(state, "openai/gpt-4o")] == [
        ("models.dev", True),
        ("litellm", False),
    ]


async def test_a_look_at_the_catalog_tells_what_waits_and_who_fails(world: World, query: Query):
    world.own("prices", entry("a"))
    world.own("other", entry("b"))
    await world.sync()
    world.own("prices", entry("a", prompt=9))
    world.server.put("/other", b"", status=503)
    await world.sync()
    query("UPDATE catalog_source SET read_time = read_time - interval '8 days'")
    look = validate(await SourceStore(world.database).view(), _now(), price_change_max_ppm=HALF)
    assert [one.offer for one in look.waiting] == ["lab/a"]
    assert [one.name for one in look.failing] == ["other"]
    assert [one.name for one in look.stale] == ["prices"]
    assert look.problems == 3


async def test_a_seed_lies_beneath_what_was_synced_and_accepts_nothing_of_it(world: World):
    await seed(world.database, [facts("lab/a"), facts("lab/old")])
    world.own("prices", entry("a"))
    assert (await world.sync(accept=True)).repriced == 1
    world.own("prices", entry("a", prompt=9))
    assert len((await world.sync()).waiting) == 1
    cheaper = quote({"input": 7, "output": 7}, facts("lab/a").mode)
    await seed(world.database, [facts("lab/a", quote=cheaper), facts("lab/new")])
    assert await world.price("lab/a") == "completion=2 prompt=1"
    found = await world.offers()
    assert (found["lab/old"].deprecated, found["lab/new"].deprecated) == (True, False)


async def test_each_source_tells_its_steps(world: World):
    world.samples("models.dev")
    world.server.put("/down", b"", status=500)
    (world.sources["down"],) = parse_sources([f"down={world.server.url}/down"])
    told: list[Progress] = []
    await world.sync(on_progress=told.append)
    of = {name: [one.stage for one in told if one.source == name] for name in world.sources}
    assert list(dict.fromkeys(of["models.dev"])) == [Stage.FETCHING, Stage.READING, Stage.READ]
    assert list(dict.fromkeys(of["down"])) == [Stage.FETCHING, Stage.FAILED]
    assert next(one.offers for one in told if one.stage is Stage.READ) == 5


async def test_a_second_sync_in_one_process_is_refused_while_one_runs(world: World):
    world.samples("models.dev")
    results = await asyncio.gather(world.sync(), world.sync(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Busy", "SyncReport"]
    assert isinstance(results[1], Busy)
    assert stages(await world.sync()) == {"models.dev": "unchanged"}


async def test_two_processes_that_sync_at_once_write_it_once(world: World, query: Query):
    world.samples(*ALL)
    others = [Syncer(world.database, price_change_max_ppm=HALF) for _ in range(3)]
    sources = list(world.sources.values())
    reports = await asyncio.gather(*(one.sync(sources, actor="ann") for one in others))
    assert {one.version for one in reports} == {1}
    assert sorted(one.added > 0 for one in reports) == [False, False, True]
    assert query("SELECT count(*) = count(DISTINCT offer) FROM price_version") == [(True,)]


async def test_what_a_sync_changed_is_there_at_the_next_look(world: World):
    catalog = Catalog(world.database)
    world.own("prices", entry("a"))
    await world.sync()
    assert await catalog.refresh()
    assert catalog.snapshot.get("lab/a") is not None


def _now() -> Any:
    import datetime as dt

    return dt.datetime.now(dt.UTC)
