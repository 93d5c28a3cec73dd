"""Seals: what rests in the database opens with the right key, in its own row, unchanged."""

import pytest

from omni_grpc.storage import SealBrokenError, Sealer

SECRET = b"0123456789abcdef" * 2
ROW, OTHER_ROW = b"call one", b"call two"
TEXT = "an answer, é🜂".encode()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(SECRET, b"answers")


@pytest.mark.parametrize("text", [b"", TEXT, bytes(100_000)])
def test_a_sealed_text_opens_in_its_row(text: bytes, sealer: Sealer) -> None:
    assert Sealer(SECRET, b"answers").open(sealer.seal(text, ROW), ROW) == text


def test_a_sealed_text_tells_nothing_and_is_another_one_each_time(sealer: Sealer) -> None:
    sealed = {sealer.seal(TEXT, ROW) for _ in range(20)}
    assert len(sealed) == 20
    assert not [one for one in sealed if b"answer" in one]


def test_a_text_that_was_moved_to_another_row_does_not_open(sealer: Sealer) -> None:
    with pytest.raises(SealBrokenError):
        sealer.open(sealer.seal(TEXT, ROW), OTHER_ROW)


@pytest.mark.parametrize(
    "other", [Sealer(SECRET[::-1], b"answers"), Sealer(SECRET, b"others")], ids=["key", "purpose"]
)
def test_another_key_or_purpose_does_not_open(other: Sealer, sealer: Sealer) -> None:
    with pytest.raises(SealBrokenError):
        other.open(sealer.seal(TEXT, ROW), ROW)


def test_a_text_of_which_any_byte_was_changed_or_lost_does_not_open(sealer: Sealer) -> None:
    sealed = sealer.seal(TEXT, ROW)
    for at in range(len(sealed)):
        changed = bytes((*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]))
        for broken in (changed, sealed[:at]):
            with pytest.raises(SealBrokenError):
                sealer.open(broken, ROW)


def test_a_purpose_has_at_most_16_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Sealer(SECRET, bytes(17))
