"""Sealing: what is changed, moved or under another key does not open; nothing shows a secret."""

import os

import msgspec
import pytest

from omni_grpc.vault import MasterKeyError, MasterKeys, Secret, read_master_keys
from omni_grpc.vault.envelope import (
    Envelope,
    EnvelopeBrokenError,
    NoMasterKeyError,
    Place,
    open_envelope,
    rewrap,
    seal,
)
from omni_grpc.vault.master_keys import key_id, new_master_key

SECRET = Secret("sk-0123456789abcdef", {"AWS_REGION": "eu-west-1"})
PLACE = Place(7, 1, "t", 3, "openai")
OLD, NEW = os.urandom(32), os.urandom(32)


def test_a_secret_comes_out_as_it_went_in() -> None:
    keys = MasterKeys([OLD])
    found = open_envelope(seal(SECRET, PLACE, keys), PLACE, keys)
    assert (found.text, found.variables) == (SECRET.text, SECRET.variables)


def test_the_same_secret_is_never_sealed_alike() -> None:
    keys = MasterKeys([OLD])
    one, two = seal(SECRET, PLACE, keys), seal(SECRET, PLACE, keys)
    assert one.sealed != two.sealed
    assert one.sealed_key != two.sealed_key


@pytest.mark.parametrize(
    "moved",
    [
        {"id": 8},
        {"org_id": 2},
        {"subject_kind": "e"},
        {"subject_id": 4},
        {"provider": "anthropic"},
    ],
    ids=str,
)
def test_it_opens_in_no_other_row(moved: dict[str, object]) -> None:
    keys = MasterKeys([OLD])
    envelope = seal(SECRET, PLACE, keys)
    with pytest.raises(EnvelopeBrokenError):
        open_envelope(envelope, msgspec.structs.replace(PLACE, **moved), keys)
    with pytest.raises(EnvelopeBrokenError):
        rewrap(envelope, msgspec.structs.replace(PLACE, **moved), keys)


@pytest.mark.parametrize("field", ["sealed", "sealed_key"])
@pytest.mark.parametrize("place", [0, 5, 20, -1])
def test_a_flipped_bit_breaks_it(field: str, place: int) -> None:
    keys = MasterKeys([OLD])
    envelope = seal(SECRET, PLACE, keys)
    damaged = bytearray(getattr(envelope, field))
    damaged[place] ^= 1
    with pytest.raises(EnvelopeBrokenError):
        open_envelope(msgspec.structs.replace(envelope, **{field: bytes(damaged)}), PLACE, keys)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12)])
def test_a_cut_seal_breaks_it(sealed: bytes) -> None:
    keys = MasterKeys([OLD])
    envelope = seal(SECRET, PLACE, keys)
    with pytest.raises(EnvelopeBrokenError):
        open_envelope(msgspec.structs.replace(envelope, sealed=sealed), PLACE, keys)


def test_parts_of_two_envelopes_of_one_row_do_not_fit() -> None:
    keys = MasterKeys([OLD])
    one, two = seal(SECRET, PLACE, keys), seal(SECRET, PLACE, keys)
    with pytest.raises(EnvelopeBrokenError):
        open_envelope(Envelope(one.sealed, two.sealed_key, one.master_key_id), PLACE, keys)


def test_a_key_that_is_not_set_here_is_named_and_opens_nothing() -> None:
    envelope = seal(SECRET, PLACE, MasterKeys([OLD]))
    with pytest.raises(EnvelopeBrokenError, match=key_id(OLD)):
        open_envelope(envelope, PLACE, MasterKeys([NEW]))


def test_without_a_master_key_nothing_is_sealed() -> None:
    with pytest.raises(NoMasterKeyError):
        seal(SECRET, PLACE, MasterKeys())


def test_a_rotated_envelope_opens_with_the_new_key_alone() -> None:
    envelope = seal(SECRET, PLACE, MasterKeys([OLD]))
    rotated = rewrap(envelope, PLACE, MasterKeys([NEW, OLD]))
    assert rotated.sealed == envelope.sealed
    assert open_envelope(rotated, PLACE, MasterKeys([NEW])).text == SECRET.text
    with pytest.raises(EnvelopeBrokenError):
        open_envelope(rotated, PLACE, MasterKeys([OLD]))


def test_nothing_that_is_printed_shows_a_secret() -> None:
    assert SECRET.text not in repr(SECRET)
    assert "eu-west-1" not in repr(SECRET)
    keys = MasterKeys([OLD])
    assert OLD.hex() not in repr(keys) + str(vars(keys).keys())


# --- the settings ---------------------------------------------------------------------------------
def test_keys_are_read_from_a_text_the_current_one_first() -> None:
    text = f"{NEW.hex()}, {new_master_key()},"
    assert read_master_keys(text, None).current_id == key_id(NEW)
    assert len(read_master_keys(text, None).ids) == 2


def test_keys_are_read_from_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "keys"
    file.write_text(f"# of this year\n{NEW.hex()}\n\n{OLD.hex()}\n")
    assert read_master_keys(None, file).ids == (key_id(NEW), key_id(OLD))


def test_none_is_no_key() -> None:
    assert read_master_keys(None, None).current_id is None


@pytest.mark.parametrize(
    "text", ["short", "00" * 31, "zz" * 32, f"{'11' * 32},{'11' * 32}", ",".join(["x"] * 40)]
)
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(MasterKeyError) as caught:
        read_master_keys(text, None)
    assert text[:8] not in str(caught.value)


def test_a_file_and_a_text_are_not_taken_together(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MasterKeyError, match="not both"):
        read_master_keys(NEW.hex(), tmp_path / "keys")
    with pytest.raises(MasterKeyError, match="cannot be read"):
        read_master_keys(None, tmp_path / "keys")
