import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.core.errors import ApiKeyInvalid
from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text

SECRET = b"a server secret of 32 bytes or more"


def test_a_key_has_the_documented_form():
    text = new_key_text()
    assert re.fullmatch(r"omni_[0-9a-z]{12}_[0-9A-Za-z]{43}", text)
    assert not set("ilou") & set(key_prefix(text))


def test_a_secret_carries_256_bits():
    assert 62**43 >= 2**256 > 62**42


def test_no_two_keys_are_alike():
    texts = {new_key_text() for _ in range(1_000)}
    assert len(texts) == 1_000
    assert len({key_prefix(text) for text in texts}) == 1_000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1],
        lambda key: key + "a",
        lambda key: key + "\n",
        lambda key: " " + key[:-1],
        lambda key: key[:-1] + "\n",
        lambda key: key[:-1] + "\0",
        lambda key: key[:-1] + "é",
        lambda key: key[:-1] + "\ud800",
        lambda key: key[:-1] + "٣",  # a digit, but not of ASCII
        lambda key: key[:-1] + "-",
        lambda key: key.upper(),
        lambda key: "OMNI" + key[4:],
        lambda key: key[:5] + "l" + key[6:],  # a look-alike in the prefix
        lambda key: key.replace("_", "-"),
        lambda key: key * 100_000,
        lambda key: "sk-" + "a" * 58,
        lambda key: "Bearer " + key,
    ],
)
def test_a_key_of_another_form_is_invalid(spoil):
    with pytest.raises(ApiKeyInvalid) as caught:
        key_prefix(spoil("omni_0123456789ab_" + "A" * 43))
    assert "AAAA" not in caught.value.message


@given(st.text(st.characters(), max_size=80))
def test_any_text_is_a_key_or_invalid(text):
    try:
        prefix = key_prefix(text)
    except ApiKeyInvalid:
        return
    assert text.startswith(f"omni_{prefix}_")


@settings(max_examples=50)
@given(
    position=st.integers(0, 60),
    char=st.characters(),
)
def test_a_key_with_one_changed_character_is_another_key_or_invalid(position, char):
    key = "omni_0123456789ab_" + "A" * 43
    changed = key[:position] + char + key[position + 1 :]
    hasher = KeyHasher(SECRET)
    try:
        key_prefix(changed)
    except ApiKeyInvalid:
        return
    assert (hasher.digest(changed) == hasher.digest(key)) is (changed == key)


def test_a_hash_needs_the_server_secret():
    text = new_key_text()
    assert KeyHasher(SECRET).digest(text) == KeyHasher(SECRET).digest(text)
    assert KeyHasher(SECRET).digest(text) != KeyHasher(SECRET + b"!").digest(text)
    assert len(KeyHasher(SECRET).digest(text)) == 32


def test_a_hash_binds_the_secret_to_its_prefix():
    secret = "A" * 43
    hasher = KeyHasher(SECRET)
    one, other = (hasher.digest(f"omni_{prefix * 12}_{secret}") for prefix in "ab")
    assert one != other


def test_a_short_server_secret_is_refused_and_not_shown():
    short = b"thirty-one bytes are not enough"
    with pytest.raises(ValueError, match="31 bytes; it needs at least 32") as caught:
        KeyHasher(short)
    assert "thirty" not in str(caught.value)


def test_a_hasher_does_not_show_its_secret():
    shown = repr(KeyHasher(SECRET)) + str(KeyHasher(SECRET))
    assert SECRET.decode() not in shown
    assert base64.b64encode(SECRET).decode() not in shown
