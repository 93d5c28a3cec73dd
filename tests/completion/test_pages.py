import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid

TOKENS = PageTokens(b"k" * 32)


@given(st.integers(0, 2**62), st.text(max_size=20))
def test_a_token_opens_for_its_own_list_only(position: int, name: str) -> None:
    token = TOKENS.seal(("entries", name), position)
    assert TOKENS.open_number(("entries", name), token) == position
    for other in (("entries", name + "x"), ("keys", name), ("entries",)):
        with pytest.raises(FieldInvalid):
            TOKENS.open_number(other, token)
    with pytest.raises(FieldInvalid):
        PageTokens(b"o" * 32).open_number(("entries", name), token)


@given(st.text(min_size=1, max_size=80))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        TOKENS.open_text(("entries",), token)
    assert refused.value.field == "page_token"


def test_the_empty_token_is_the_first_page() -> None:
    assert TOKENS.open_text(("entries",), "") is None


def test_a_number_does_not_open_as_a_text() -> None:
    with pytest.raises(FieldInvalid):
        TOKENS.open_text(("entries",), TOKENS.seal(("entries",), 7))


def test_page_sizes_have_a_default_and_a_ceiling() -> None:
    assert [page_size(0), page_size(7), page_size(10**6)] == [50, 7, 1000]
    with pytest.raises(FieldInvalid):
        page_size(-1)
