import datetime as dt

import pytest
from catalog_offers import offer
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog import Alias, CatalogSnapshot, Offer, replaced
from omni_grpc.catalog.replacement import loop


def old(offer_id: str, replacement: str | None, **changed: object) -> Offer:
    return offer(offer_id, deprecated=True, replacement=replacement, **changed)


def asked(
    snapshot: CatalogSnapshot, name: str, providers: set[str] | None = None
) -> tuple[list[str], str | None]:
    order, warning = replaced(snapshot, snapshot.resolve(name), providers=providers)
    return [one.id for one in order], warning


def test_what_is_not_deprecated_stays_as_it_is():
    snapshot = CatalogSnapshot(1, [offer("a/x", replacement="y"), offer("a/y")])
    assert asked(snapshot, "x") == (["a/x"], None)


def test_a_deprecated_model_goes_to_its_replacement_with_a_warning_and_comes_last():
    gone = old("a/x", "y", deprecation_date=dt.date(2026, 1, 2), deprecation_reason="retired")
    snapshot = CatalogSnapshot(1, [gone, offer("a/y"), offer("b/y")])
    order, warning = asked(snapshot, "x")
    assert order == ["a/y", "b/y", "a/x"]
    assert warning == (
        "a/x is deprecated since 2026-01-02 (retired); a/y answers instead. Name it in its place."
    )


def test_a_chain_ends_at_the_first_that_is_not_deprecated():
    snapshot = CatalogSnapshot(1, [old("a/x", "y"), old("a/y", "z"), offer("a/z")])
    order, warning = asked(snapshot, "x")
    assert order == ["a/z", "a/x"]
    assert warning is not None


def test_without_a_replacement_the_model_answers_with_a_warning():
    snapshot = CatalogSnapshot(1, [old("a/x", None)])
    order, warning = asked(snapshot, "x")
    assert order == ["a/x"]
    assert warning == "a/x is deprecated, and no replacement is known."


def test_a_seller_that_still_sells_it_needs_no_replacement():
    snapshot = CatalogSnapshot(1, [old("a/x", "y"), offer("b/x"), offer("a/y")])
    order, warning = asked(snapshot, "x")
    assert order == ["b/x", "a/y", "a/x"]
    assert warning is None


def test_what_the_operator_switched_off_is_not_replaced():
    snapshot = CatalogSnapshot(1, [old("a/x", "y", enabled=False), offer("a/y")])
    assert asked(snapshot, "x") == (["a/x"], None)


def test_only_what_can_be_called_here_replaces_anything():
    snapshot = CatalogSnapshot(
        1,
        [
            old("a/x", "y"),
            offer("b/y"),
            offer("a/y", enabled=False),
            offer("c/y", price=None, unpriced_reason="unknown"),
        ],
    )
    assert asked(snapshot, "x", {"a", "b", "c"})[0] == ["b/y", "a/x"]
    order, warning = asked(snapshot, "x", {"a"})
    assert order == ["a/x"]
    assert warning is not None
    assert "no replacement" in warning


def test_the_warning_is_about_what_answers_here():
    snapshot = CatalogSnapshot(1, [old("a/x", "y"), offer("b/x"), offer("a/y")])
    order, warning = asked(snapshot, "x", {"a"})
    assert order == ["b/x", "a/y", "a/x"]
    assert warning is not None
    assert "a/y answers instead" in warning


def test_an_offer_may_replace_another_seller_s_and_an_alias_may_be_named():
    snapshot = CatalogSnapshot(
        1,
        [old("a/x", "next"), offer("b/x"), offer("b/z")],
        [Alias(name="next", targets=("b/z", "b/x"))],
    )
    order, _ = replaced(snapshot, [snapshot.offers()[0]])
    assert [one.id for one in order] == ["b/z", "b/x", "a/x"]


def test_a_replacement_that_means_nothing_replaces_nothing():
    snapshot = CatalogSnapshot(1, [old("a/x", "gone")])
    assert asked(snapshot, "x")[0] == ["a/x"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef")))
def test_replacing_ends_and_loses_nothing_whatever_the_database_holds(chains: dict[str, str]):
    offers = [
        old(f"p/{name}", chains[name]) if name in chains else offer(f"p/{name}")
        for name in "abcdef"
    ]
    snapshot = CatalogSnapshot(1, offers)
    for name in "abcdef":
        order, _ = asked(snapshot, name)
        assert f"p/{name}" in order
        assert len(order) == len(set(order))


@pytest.mark.parametrize(
    ("replacements", "chain"),
    [
        ({}, ()),
        ({"p/a": "b"}, ()),
        ({"p/a": "b", "p/b": "c", "p/c": "d", "p/x": "c"}, ()),
        ({"p/a": "a"}, ("a", "a")),
        ({"p/a": "b", "p/b": "a"}, ("a", "b", "a")),
        ({"p/a": "b", "p/b": "c", "p/c": "b"}, ("b", "c", "b")),
    ],
)
def test_loops_are_found(replacements: dict[str, str], chain: tuple[str, ...]):
    assert loop(replacements, lambda name: [f"p/{name}"]) == chain


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")))
def test_a_loop_is_found_exactly_where_there_is_one(leads: dict[str, str]):
    def ends(name: str) -> bool:
        for _ in range(9):
            if name not in leads:
                return True
            name = leads[name]
        return False

    found = loop({f"p/{name}": to for name, to in leads.items()}, lambda name: [f"p/{name}"])
    assert bool(found) is not all(map(ends, leads))
    if found:
        assert found[0] == found[-1]
