import time
from collections.abc import Sequence

import pytest
from catalog_offers import offer, rates
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog import Alias, CatalogSnapshot, parse_filter
from omni_grpc.core.money import Price


def ids(snapshot: CatalogSnapshot, name: str) -> list[str]:
    return [one.id for one in snapshot.resolve(name)]


def snapshot_of(*names: str, aliases: dict[str, Sequence[str]] | None = None) -> CatalogSnapshot:
    named = [Alias(name=name, targets=tuple(to)) for name, to in (aliases or {}).items()]
    return CatalogSnapshot(1, [offer(name) for name in names], named)


def test_the_empty_catalog_answers_everything_with_nothing():
    empty = CatalogSnapshot()
    assert (empty.version, len(empty), empty.offers(), empty.get("a/b")) == (0, 0, (), None)
    assert (empty.resolve("gpt-4o"), empty.suggestions("gpt-4o")) == ((), ())
    page = empty.list_offers(parse_filter(""), after_id=None, limit=1, providers=())
    assert (page.offers, page.next_after_id) == ((), None)


def test_a_full_name_means_exactly_that_offer():
    snapshot = snapshot_of("openai/gpt-4o", "azure/gpt-4o", "openrouter/openai/gpt-4o")
    assert ids(snapshot, "azure/gpt-4o") == ["azure/gpt-4o"]
    assert ids(snapshot, "openrouter/openai/gpt-4o") == ["openrouter/openai/gpt-4o"]


def test_names_compare_exactly():
    snapshot = snapshot_of("openai/gpt-4o")
    for name in ("GPT-4o", "gpt-4o ", " gpt-4o", "openai/GPT-4o", "gpt-4", "", "/", "openai/"):
        assert ids(snapshot, name) == []


def test_a_bare_name_means_its_maker_first_then_the_cheapest():
    snapshot = CatalogSnapshot(
        1,
        [
            offer("azure/gpt-4o", price=Price(1, rates(5))),
            offer("a-reseller/gpt-4o", price=Price(2, rates(9))),
            offer("openai/gpt-4o", price=Price(3, rates(7))),
            offer("openrouter/openai/gpt-4o", model="gpt-4o", price=Price(4, rates(3))),
        ],
    )
    assert ids(snapshot, "gpt-4o") == [
        "openai/gpt-4o",
        "openrouter/openai/gpt-4o",
        "azure/gpt-4o",
        "a-reseller/gpt-4o",
    ]


def test_what_is_disabled_unpriced_deprecated_or_free_comes_after_what_is_sold():
    snapshot = CatalogSnapshot(
        1,
        [
            offer("a/llama-3", enabled=False),
            offer("b/llama-3", price=None, unpriced_reason="unknown"),
            offer("c/llama-3", deprecated=True),
            offer("d/llama-3", free=True, price=Price(1, rates(0, 0))),
            offer("e/llama-3", price=Price(2, rates(9, 9))),
        ],
    )
    order = ["e/llama-3", "d/llama-3", "c/llama-3", "b/llama-3", "a/llama-3"]
    assert ids(snapshot, "llama-3") == order


def test_a_bare_name_with_a_slash_resolves_unless_it_begins_with_a_provider():
    snapshot = snapshot_of("groq/meta-llama/Llama-3", "groq/openai/gpt-oss", "openai/gpt-4o")
    assert ids(snapshot, "meta-llama/Llama-3") == ["groq/meta-llama/Llama-3"]
    assert ids(snapshot, "openai/gpt-oss") == []
    assert snapshot.suggestions("openai/gpt-oss")[0] == "groq/openai/gpt-oss"


def test_a_model_is_found_by_its_canonical_name_and_by_its_provider_s():
    snapshot = CatalogSnapshot(1, [offer("groq/meta-llama/Llama-3", model="llama-3")])
    assert ids(snapshot, "llama-3") == ids(snapshot, "meta-llama/Llama-3")


def test_an_alias_means_its_targets_in_their_order_through_any_chain():
    snapshot = snapshot_of(
        "openai/gpt-4o",
        "azure/gpt-4o",
        "anthropic/claude-x",
        aliases={
            "best": ["smart", "gpt-4o"],
            "smart": ["anthropic/claude-x", "gone", "azure/gpt-4o"],
            "gone": ["not-there"],
        },
    )
    assert ids(snapshot, "best") == ["anthropic/claude-x", "azure/gpt-4o", "openai/gpt-4o"]
    assert ids(snapshot, "gone") == []


def test_an_alias_may_stand_before_a_model_of_the_same_name_but_not_before_an_offer():
    snapshot = snapshot_of(
        "openai/gpt-4o",
        "azure/gpt-4o",
        aliases={"gpt-4o": ["azure/gpt-4o"], "openai/gpt-4o": ["azure/gpt-4o"]},
    )
    assert ids(snapshot, "gpt-4o") == ["azure/gpt-4o"]
    assert ids(snapshot, "openai/gpt-4o") == ["openai/gpt-4o"]


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefx"), min_size=1, max_size=4)
    )
)
def test_resolving_ends_whatever_aliases_the_database_holds(aliases: dict[str, list[str]]):
    snapshot = snapshot_of("p/x", aliases=aliases)
    for name in "abcdefx":
        assert ids(snapshot, name) in ([], ["p/x"])


def test_pages_cover_every_offer_once_in_order_of_their_ids():
    names = [f"p{n % 3}/model-{n}" for n in range(20)]
    snapshot = snapshot_of(*names)
    seen: list[str] = []
    after = None
    for _ in range(10):
        page = snapshot.list_offers(parse_filter(""), after_id=after, limit=3, providers=())
        assert 1 <= len(page.offers) <= 3
        seen += [one.id for one in page.offers]
        after = page.next_after_id
        if after is None:
            break
    assert seen == sorted(names)


def test_a_page_that_ends_exactly_with_the_last_match_is_the_last_page():
    snapshot = snapshot_of("a/1", "a/2", "b/1")
    wanted = parse_filter('provider = "a"')
    page = snapshot.list_offers(wanted, after_id=None, limit=2, providers=())
    assert [one.id for one in page.offers] == ["a/1", "a/2"]
    assert page.next_after_id is None


def test_a_page_goes_on_after_an_offer_that_is_gone():
    page = snapshot_of("a/1", "a/3").list_offers(
        parse_filter(""), after_id="a/2", limit=5, providers=()
    )
    assert [one.id for one in page.offers] == ["a/3"]


def test_offers_of_a_provider_are_listed():
    snapshot = snapshot_of("a/2", "ab/1", "a/1")
    assert [one.id for one in snapshot.offers_of("a")] == ["a/1", "a/2"]
    assert snapshot.offers_of("c") == ()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("gpt4o", "gpt-4o"),
        ("claude-sonet-4-5", "claude-sonnet-4-5"),
        ("opanai/gpt-4o", "openai/gpt-4o"),
        ("openai/gpt4o", "openai/gpt-4o"),
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4-5"),
        ("GPT-4O", "gpt-4o"),
    ],
)
def test_a_name_with_a_slip_gets_the_right_one_suggested(
    real: CatalogSnapshot, asked: str, found: str
):
    assert real.resolve(asked) == ()
    near = real.suggestions(asked, {"openai", "anthropic"})
    assert near[0] == found
    assert len(near) <= 3


def test_suggestions_name_only_what_can_be_had_here():
    snapshot = CatalogSnapshot(
        1,
        [offer("openai/gpt-4o"), offer("azure/gpt-4o-x"), offer("openai/gpt-4p", enabled=False)],
        [Alias(name="gpt-4", targets=("openai/gpt-4o",))],
    )
    assert snapshot.suggestions("gpt-4oo", {"openai"}) == ("gpt-4o", "gpt-4")
    assert snapshot.suggestions("openai/gpt-4oo", {"openai", "azure"}) == ("openai/gpt-4o",)


def test_a_name_like_no_other_gets_no_suggestion(real: CatalogSnapshot):
    assert real.suggestions("zzzzzzzzzz") == ()


@pytest.mark.parametrize("asked", ["gpt4o", "opanai/gpt-4o", "a" * 256, "/" * 256, "é" * 256, ""])
def test_suggestions_take_a_few_milliseconds(real: CatalogSnapshot, asked: str):
    """Five at most; the bound here is wide, since other work shares the machine."""

    def once() -> float:
        began = time.process_time()
        real.suggestions(asked)
        return time.process_time() - began

    assert min(once() for _ in range(10)) < 0.02
