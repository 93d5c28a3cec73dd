from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity import (
    format_key_name,
    format_org_name,
    parse_key_name,
    parse_org_name,
)
from omni_grpc.identity.names import check_display_name, check_slug

SLUGS = st.from_regex(r"[a-z][a-z0-9-]{1,62}", fullmatch=True)
PREFIXES = st.from_regex(r"[0-9a-hjkmnp-tv-z]{12}", fullmatch=True)


@given(SLUGS)
def test_an_org_name_survives_the_round_trip(slug):
    assert parse_org_name(format_org_name(slug)) == slug


@given(SLUGS, PREFIXES)
def test_a_key_name_survives_the_round_trip(slug, prefix):
    assert parse_key_name(format_key_name(slug, prefix)) == (slug, prefix)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orgs/",
        "orgs/a",
        "orgs/" + "a" * 64,
        "orgs/Acme",
        "orgs/acme/",
        "orgs/acme\n",
        "orgs/ac\0me",
        "orgs/acm\ud800",
        "orgs/acmé",
        "org/acme",
        "acme",
        "orgs/acme/apiKeys/0123456789ab",
    ],
)
def test_a_bad_org_name_is_a_bad_field(name):
    with pytest.raises(FieldInvalid) as caught:
        parse_org_name(name, field="org")
    assert caught.value.field == "org"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "orgs/acme",
        "orgs/acme/apiKeys/",
        "orgs/acme/apiKeys/0123456789a",
        "orgs/acme/apiKeys/0123456789abc",
        "orgs/acme/apiKeys/0123456789aB",
        "orgs/acme/apiKeys/0123456789a\0",
        "orgs/acme/apiKeys/0123456789ab\n",
        "orgs/acme/apikeys/0123456789ab",
        "orgs/acme/teams/0123456789ab",
        "0123456789ab",
    ],
)
def test_a_bad_key_name_is_a_bad_field(name):
    with pytest.raises(FieldInvalid) as caught:
        parse_key_name(name)
    assert caught.value.field == "name"


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_a_name_or_a_bad_field(text):
    for check in (
        parse_org_name,
        parse_key_name,
        check_display_name,
        lambda name: check_slug(name, field="slug"),
    ):
        with suppress(FieldInvalid):
            check(text)


@pytest.mark.parametrize("name", ["", "Acme", "Ünïcode, Inc. 株式会社 👩‍🚀", "a" * 128, " x "])
def test_a_display_name_is_any_text_on_one_line(name):
    assert check_display_name(name) == name


@pytest.mark.parametrize("name", ["a" * 129, "a\0b", "a\nb", "\x7f", "\x85", "\ud800", "a\u2028b"])
def test_a_display_name_that_cannot_be_shown_or_stored_is_a_bad_field(name):
    with pytest.raises(FieldInvalid) as caught:
        check_display_name(name)
    assert caught.value.field == "display_name"


@pytest.mark.parametrize(
    "slug", ["a", "a" * 64, "1a", "-a", "aB", "a_b", "a\n", "a\0", "a٣", "a/b"]
)
def test_a_slug_of_another_form_is_a_bad_field(slug):
    with pytest.raises(FieldInvalid) as caught:
        check_slug(slug, field="slug")
    assert caught.value.field == "slug"
