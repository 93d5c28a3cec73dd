from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity.names import check_display_name, check_slug


@given(st.text(st.characters(), max_size=200))
def test_any_text_is_a_name_or_a_bad_field(text):
    for check in (
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
