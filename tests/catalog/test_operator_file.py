import asyncio
import datetime as dt
import textwrap
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from catalog_offers import Rows, facts, rates
from structlog.testing import capture_logs

from omni_grpc.catalog import (
    Catalog,
    Offer,
    OperatorFile,
    OperatorFileError,
    OperatorFileWatch,
    Quote,
    read_operator_file,
    seed,
)
from omni_grpc.catalog.operator_file import parse_operator_file
from omni_grpc.catalog.words import expand
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.storage import Database

Query = Callable[[str], Rows]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

OFFERS = ("openai/gpt-4o", "azure/gpt-4o", "openai/gpt-4", "openai/gpt-4.1", "groq/llama-3")
CHANGES = (
    "SELECT subject, field, old_value, new_value, source, actor FROM model_change "
    "WHERE source IN ('models.yaml', 'operator') ORDER BY id"
)


def read(text: str) -> OperatorFile:
    return parse_operator_file(textwrap.dedent(text).encode())


def faults(text: str) -> list[str]:
    with pytest.raises(OperatorFileError) as caught:
        read(text)
    return caught.value.faults


async def filled(database: Database) -> Catalog:
    await seed(database, [facts(name) for name in OFFERS])
    catalog = Catalog(database)
    await catalog.load()
    return catalog


def offer_of(catalog: Catalog, name: str) -> Offer:
    found = catalog.snapshot.get(name)
    assert found is not None
    return found


def price_of(catalog: Catalog, name: str) -> Price:
    found = offer_of(catalog, name).price
    assert found is not None
    return found


def amounts(price: Price) -> set[int]:
    return {rate.nanousd_per_mtok for rate in price.rates}


async def apply(catalog: Catalog, text: str) -> tuple[str, ...]:
    return await catalog.apply_file(read(text), actor="models.yaml")


async def applied_faults(catalog: Catalog, text: str) -> list[str]:
    with pytest.raises(OperatorFileError) as caught:
        await apply(catalog, text)
    return caught.value.faults


def test_an_empty_file_says_nothing():
    assert read("") == read("models:\naliases:\n") == OperatorFile()


def test_every_field_is_read():
    (rule,) = read(
        """
        models:
          openai/gpt-4o:
            enabled: false
            tags: [approved, team/red]
            regions: [eu]
            quality_weight_ppm: 1200000
            routing_weight: 3
            deprecation: {date: 2026-12-01, reason: retired, replacement: gpt-4.1}
            price: {input: 2.5, output: 10.000000001, cache_read: 1_000.25}
            ratings: {overall: 80, coding: 90}
        """
    ).rules
    words = rule.words
    assert (words.enabled, words.tags, words.regions) == (False, ("approved", "team/red"), ("eu",))
    assert (words.quality_weight_ppm, words.routing_weight) == (1_200_000, 3)
    assert words.deprecation_date == dt.date(2026, 12, 1)
    assert (words.deprecation_reason, words.replacement) == ("retired", "gpt-4.1")
    assert words.ratings == {"overall": 80, "coding": 90}
    assert words.price is not None
    assert Rate(Unit.COMPLETION, 0, 10_000_000_001) in words.price.rates


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("models: [", "is not YAML"),
        ("- a", "must be a mapping"),
        ("model: {}", "'model': there is no such key"),
        ("models: [a]", "models: must be a mapping"),
        ("models: {a/b: 3}", "models.a/b: must be a mapping"),
        ("models: {a/b: {}}", "models.a/b: must be a mapping"),
        ("models: {3: {enabled: true}}", "models.3: a model's name is text"),
        ("models: {a/b: {enable: true}}", "models.a/b.enable: object contains unknown field"),
        ("models: {a/b: {enabled: maybe}}", "models.a/b.enabled: expected `bool"),
        ("models: {a/b: {enabled: }}", "models.a/b.enabled: has no value"),
        ("models: {a/b: {quality_weight_ppm: 1.5}}", "quality_weight_ppm: expected `int"),
        ("models: {a/b: {quality_weight_ppm: -1}}", "between 0 and 10000000"),
        ("models: {a/b: {routing_weight: 1000001}}", "between 0 and 1000000"),
        ("models: {a/b: {tags: [x, x]}}", "tags: must be at most 32 names"),
        ("models: {a/b: {tags: ['x y']}}", "tags: must be at most 32 names"),
        ("models: {a/b: {ratings: {overall: 101}}}", "ratings.overall: must be between 0 and 100"),
        ("models: {a/b: {ratings: {poetry: 9}}}", "ratings.poetry: is no task"),
        ("models: {a/b: {deprecation: {replacement: c}}}", "missing required field `date`"),
        ("models: {a/b: {deprecation: {date: soon}}}", "deprecation: invalid"),
        ("models: {a/b: {price: 3}}", "price: expected `object"),
        ("models: {a/b: {price: {discount_ppm: 0}}}", "price: must have rates"),
        ("models: {a/b: {price: {discount_ppm: 1000000}}}", "price: must have rates"),
        ("models: {a/b: {price: {discount_ppm: 1, input: 2}}}", "discount_ppm stands alone"),
        ("models: {a/b: {price: {input: -1, output: 1}}}", "must be finite and not negative"),
        ("models: {a/b: {price: {input: .nan, output: 1}}}", "is not a number"),
        ("models: {a/b: {price: {input: 1000000.5, output: 1}}}", "cannot be a price"),
        ("models: {a/b: {price: {input: 1}}}", "no price for both input and output"),
        ("models: {a/b: {price: {input: 1, output: 2, seats: 3}}}", "unknown: 'seats'"),
        ("models: {a/b: {enabled: true}, a/b: {enabled: false}}", "stands there twice"),
        ("models: {a/b: &x {enabled: true}, b/c: [*x", "is not YAML"),
        ("aliases: {fast: a/b}", "aliases.fast: must be a mapping"),
        ("aliases: {teams/x: {fast: a/b}}", "is no scope"),
        ("aliases: {global: {omni/fast: a/b}}", "router's own"),
        ("aliases: {global: {fast: [fast]}}", "would mean itself"),
        ("aliases: {global: {fast: {a: b}}}", "must be a model's name or a list"),
        ("\x00", "is not YAML"),
        ("models: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(text: str, fault: str):
    (found,) = faults(text)
    assert fault in found


def test_all_faults_are_told_at_once():
    found = faults(
        """
        models:
          a/b: {enabled: 1, tags: 3}
          c/d: {price: {input: -1, output: 2}}
        aliases:
          global: {"": a/b}
        """
    )
    assert [one.split(":")[0] for one in found] == [
        "models.a/b.enabled",
        "models.a/b.tags",
        "models.c/d.price",
        "aliases.global.",
    ]


def test_a_file_that_is_not_there_or_too_large_is_told(tmp_path: Path):
    with pytest.raises(OperatorFileError, match="cannot be read: No such file"):
        read_operator_file(tmp_path / "models.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 4_000_001)
    with pytest.raises(OperatorFileError, match="larger than"):
        read_operator_file(large)


def test_later_entries_win_field_by_field_and_globs_mean_ids_or_models():
    rules = read(
        """
        models:
          "*": {tags: [all], routing_weight: 1}
          "openai/*": {routing_weight: 2}
          gpt-4o: {tags: [four-o]}
          azure/gpt-4o: {routing_weight: 9}
          "gpt-4?1": {routing_weight: 7}
        """
    ).rules
    offers = [(name, name.partition("/")[2]) for name in OFFERS]
    found = {key: word.value.decode() for key, word in expand(rules, offers).items()}
    weights = [found[name, "routing_weight"] for name in OFFERS]
    assert weights == ["2", "9", "2", "7", "1"]
    tags = [found[name, "tags"] for name in OFFERS]
    assert tags == ['["four-o"]', '["four-o"]', '["all"]', '["all"]', '["all"]']


async def test_the_file_holds_is_recorded_and_leaves_when_it_is_taken_back(
    database: Database, query: Query
):
    catalog = await filled(database)
    text = """
        models:
          gpt-4o: {enabled: false, regions: [eu]}
        aliases:
          global: {smart: [openai/gpt-4.1]}
          orgs/acme: {smart: [azure/gpt-4o]}
    """
    assert await apply(catalog, text) == ()
    for name in ("openai/gpt-4o", "azure/gpt-4o"):
        offer = offer_of(catalog, name)
        assert (offer.enabled, offer.regions) == (False, frozenset({"eu"}))
    assert [one.id for one in catalog.snapshot.resolve("smart")] == ["openai/gpt-4.1"]
    scopes = ("orgs/acme", "global")
    assert [one.id for one in catalog.snapshot.resolve("smart", scopes)] == ["azure/gpt-4o"]
    version = catalog.snapshot.version
    await apply(catalog, text)
    assert catalog.snapshot.version == version
    await apply(catalog, "")
    offer = offer_of(catalog, "azure/gpt-4o")
    assert (offer.enabled, offer.regions) == (True, frozenset())
    assert catalog.snapshot.resolve("smart") == ()
    told = query(CHANGES)
    assert ("azure/gpt-4o", "enabled", None, "false", "models.yaml", "models.yaml") in told
    assert ("azure/gpt-4o", "enabled", "false", None, "models.yaml", "models.yaml") in told
    assert ("smart", "alias", None, "openai/gpt-4.1", "models.yaml", "models.yaml") in told
    assert ("orgs/acme/aliases/smart", "alias", "azure/gpt-4o", None) in {one[:4] for one in told}
    assert len(told) == 12


async def test_no_sync_touches_an_operator_s_word_and_new_offers_get_it(database: Database):
    catalog = await filled(database)
    await apply(catalog, "models: {'openai/*': {tags: [ours]}}")
    await seed(
        database, [facts(name, tools=True) for name in (*OFFERS, "openai/gpt-9")], actor="sync"
    )
    await catalog.refresh()
    for name in ("openai/gpt-4o", "openai/gpt-9"):
        offer = offer_of(catalog, name)
        assert (offer.tools, offer.tags) == (True, frozenset({"ours"}))


async def test_an_own_price_is_a_new_version_and_a_discount_follows_the_source(
    database: Database, query: Query
):
    catalog = await filled(database)
    synced = price_of(catalog, "openai/gpt-4o")
    await apply(
        catalog,
        """
        models:
          openai/gpt-4o: {price: {input: 1, output: 3}}
          azure/gpt-4o: {price: {discount_ppm: 333333}}
        """,
    )
    own = price_of(catalog, "openai/gpt-4o")
    assert own.version > synced.version
    assert amounts(own) == {3 * 10**9, 10**9}
    # A part of a nano-dollar is never lost: 1000 and 2000 less a third, rounded up.
    assert amounts(price_of(catalog, "azure/gpt-4o")) == {667, 1334}
    await seed(database, [facts(name, quote=Quote(rates=rates(3_000, 6_000))) for name in OFFERS])
    await catalog.refresh()
    assert price_of(catalog, "openai/gpt-4o") == own
    assert amounts(price_of(catalog, "azure/gpt-4o")) == {2001, 4001}
    await apply(catalog, "")
    assert amounts(price_of(catalog, "openai/gpt-4o")) == {3_000, 6_000}
    kept = "SELECT count(*) FROM price_version WHERE offer = 'azure/gpt-4o'"
    assert query(kept) == [(4,)]
    told = [one[:4] for one in query(CHANGES) if one[1] == "price" and one[0] == "openai/gpt-4o"]
    assert told == [
        ("openai/gpt-4o", "price", "completion=0.000002 prompt=0.000001", "completion=3 prompt=1"),
        ("openai/gpt-4o", "price", "completion=3 prompt=1", "completion=0.000006 prompt=0.000003"),
    ]


async def test_an_own_price_makes_an_unpriced_offer_callable(database: Database):
    await seed(database, [facts("lab/x", quote=Quote(refusal="unknown"))])
    catalog = Catalog(database)
    await apply(catalog, "models: {lab/x: {price: {input: 1, output: 2}}}")
    offer = offer_of(catalog, "lab/x")
    assert offer.callable_at({"lab"})
    assert offer.unpriced_reason == ""
    await apply(catalog, "models: {lab/x: {price: {discount_ppm: 5}}}")
    offer = offer_of(catalog, "lab/x")
    assert (offer.price, offer.unpriced_reason) == (None, "unknown")


async def test_a_file_whose_names_mean_nothing_is_refused_whole(database: Database, query: Query):
    catalog = await filled(database)
    await apply(catalog, "models: {gpt-4o: {tags: [old]}}")
    found = await applied_faults(
        catalog,
        """
        models:
          gpt-4o: {tags: [new]}
          gpt-4: {deprecation: {date: 2026-01-01, replacement: gpt-4oo}}
        aliases:
          global: {smart: [nothing/here], openai/gpt-4: [gpt-4o], chain: [smart2], smart2: [gpt-4]}
        """,
    )
    assert len(found) == 3
    assert "did you mean gpt-4o" in found[2]
    offer = offer_of(catalog, "openai/gpt-4o")
    assert offer.tags == frozenset({"old"})
    assert query("SELECT count(*) FROM operator_rule") == [(1,)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aliases: {global: {a: [b], b: [a, gpt-4o]}}", "would mean itself: a → b → a"),
        (
            "models: {'gpt-4*': {deprecation: {date: 2026-01-01, replacement: gpt-4o}}}",
            "lead back to itself: gpt-4o → gpt-4o",
        ),
        (
            """
            models:
              gpt-4: {deprecation: {date: 2026-01-01, replacement: four}}
              gpt-4o: {deprecation: {date: 2026-01-01, replacement: openai/gpt-4}}
            aliases: {global: {four: [gpt-4o]}}
            """,
            "lead back to itself",
        ),
    ],
)
async def test_loops_are_refused_whole(database: Database, query: Query, text: str, words: str):
    catalog = await filled(database)
    (found,) = await applied_faults(catalog, text)
    assert words in found
    assert query("SELECT count(*) FROM operator_rule") == [(0,)]
    assert query("SELECT count(*) FROM alias") == [(0,)]


async def test_names_without_a_match_are_told_and_count_when_they_appear(database: Database):
    catalog = await filled(database)
    text = "models: {lab/new: {tags: [x]}, 'lab/*': {routing_weight: 2}, gpt-4o: {tags: [y]}}"
    assert await apply(catalog, text) == ("lab/new", "lab/*")
    await seed(database, [facts("lab/new")], source="file")
    await catalog.refresh()
    offer = offer_of(catalog, "lab/new")
    assert (offer.tags, offer.routing_weight) == (frozenset({"x"}), 2)


async def test_a_date_that_has_come_makes_a_model_deprecated(database: Database):
    catalog = await filled(database)
    await apply(
        catalog,
        """
        models:
          gpt-4: {deprecation: {date: 2020-01-01, reason: old, replacement: gpt-4.1}}
          gpt-4o: {deprecation: {date: 2999-01-01}}
        """,
    )
    old, new = offer_of(catalog, "openai/gpt-4"), offer_of(catalog, "openai/gpt-4o")
    assert (old.deprecated, old.deprecation_reason, old.replacement) == (True, "old", "gpt-4.1")
    assert (new.deprecated, new.deprecation_date) == (False, dt.date(2999, 1, 1))


async def test_the_watch_applies_changes_and_keeps_what_held_when_the_file_breaks(
    database: Database, tmp_path: Path
):
    catalog = await filled(database)
    path = tmp_path / "models.yaml"
    path.write_text("models: {gpt-4o: {tags: [one]}}")
    watch = OperatorFileWatch(catalog, path)

    def tags() -> frozenset[str]:
        offer = offer_of(catalog, "openai/gpt-4o")
        return offer.tags

    assert await watch.apply()
    assert tags() == frozenset({"one"})
    path.write_text("models: {gpt-4o: {tags: [two}}")
    with capture_logs() as logs:
        assert not await watch.apply()
    assert logs[0]["event"] == "models_file_refused"
    assert "is not YAML" in logs[0]["faults"][0]
    path.unlink()
    assert not await watch.apply()
    assert tags() == frozenset({"one"})


async def test_the_watch_warns_of_entries_that_name_nothing(database: Database, tmp_path: Path):
    catalog = await filled(database)
    path = tmp_path / "models.yaml"
    path.write_text('models: {gpt-4o: {tags: [one]}, "nobody/*": {tags: [two]}}')
    watch = OperatorFileWatch(catalog, path)
    with capture_logs() as logs:
        assert await watch.apply()
        path.write_text("models: {gpt-4o: {tags: [one]}}")
        assert await watch.apply()
    told = [(one["log_level"], one["without_match"]) for one in logs if "without_match" in one]
    assert told == [("warning", ("nobody/*",)), ("info", ())]


async def test_a_changed_file_is_followed(
    database: Database, tmp_path: Path, eventually: Eventually
):
    catalog = await filled(database)
    path = tmp_path / "models.yaml"
    path.write_text("models: {gpt-4o: {tags: [one]}}")
    watch = OperatorFileWatch(catalog, path, poll_s=0.02)
    task = asyncio.create_task(watch.run())

    def tagged(tag: str) -> bool:
        return tag in offer_of(catalog, "openai/gpt-4o").tags

    try:
        await eventually(lambda: tagged("one"))
        path.write_text("models: {gpt-4o: {tags: [two, three]}}")
        await eventually(lambda: tagged("three"))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_a_broken_file_is_refused_at_the_start(database: Database, tmp_path: Path):
    path = tmp_path / "models.yaml"
    path.write_text("models: 3")
    with pytest.raises(OperatorFileError, match="must be a mapping"):
        OperatorFileWatch(Catalog(database), path)
