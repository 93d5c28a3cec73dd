"""Frames: whatever befalls a segment, every other record is found, and the loss is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.storage import JournalError
from omni_grpc.storage.journal_frames import (
    HEAD_BYTES,
    MARK,
    RECORD_BYTES_MAX,
    Damage,
    FrameReader,
    frame,
)

RECORDS = [b"", b"one", b"two " * 100, bytes(range(256)), MARK, b"last"]


def segment(records: list[bytes], first: int = 1) -> bytes:
    return b"".join(frame(number, record) for number, record in enumerate(records, first))


def read(content: bytes, *, is_last: bool = True) -> tuple[list[bytes], Damage]:
    reader = FrameReader()
    return list(reader.read(content, is_last=is_last)), reader.damage


def test_records_come_back_as_they_were() -> None:
    assert read(segment(RECORDS)) == (RECORDS, Damage())


def test_a_tail_torn_at_any_byte_is_cut_and_is_no_damage() -> None:
    whole = segment(RECORDS)
    start = len(segment(RECORDS[:-1]))
    for end in range(start, len(whole)):
        found, damage = read(whole[:end])
        assert found == RECORDS[:-1], end
        assert not damage
        assert damage.torn_bytes == end - start


def test_a_torn_tail_of_a_segment_that_others_follow_is_damage() -> None:
    found, damage = read(segment(RECORDS)[:-1], is_last=False)
    assert found == RECORDS[:-1]
    assert damage
    assert damage.skipped_bytes == HEAD_BYTES + len(RECORDS[-1]) - 1


@given(
    records=st.lists(st.binary(max_size=60), min_size=1, max_size=8),
    place=st.integers(min_value=0),
    flip=st.integers(1, 255),
)
def test_a_byte_flipped_anywhere_loses_its_record_alone_and_is_damage(
    records: list[bytes], place: int, flip: int
) -> None:
    content = bytearray(segment(records))
    at = place % len(content)
    content[at] ^= flip
    ends = [len(segment(records[: count + 1])) for count in range(len(records))]
    hit = next(index for index, end in enumerate(ends) if at < end)
    found, damage = read(bytes(content))
    assert found == records[:hit] + records[hit + 1 :]
    assert damage
    assert not damage.torn_bytes


@given(junk=st.binary(max_size=300), cut=st.integers(0, 300))
def test_whatever_lies_between_two_records_both_are_found(junk: bytes, cut: int) -> None:
    between = frame(2, b"lost")[: cut % (HEAD_BYTES + 4)] + junk
    found, damage = read(frame(1, b"before") + between + frame(3, b"after"))
    assert found[0] == b"before"
    assert found[-1] == b"after"
    assert bool(damage)


@given(st.binary(max_size=2_000))
def test_no_bytes_at_all_break_the_reader(content: bytes) -> None:
    read(content)
    read(content, is_last=False)


def test_a_tail_of_zeros_is_damage() -> None:
    """What a loss of power leaves where the size reached the disk and the content did not."""
    found, damage = read(segment([b"one"]) + bytes(500))
    assert found == [b"one"]
    assert damage.skipped_bytes == 500


def test_records_that_follow_a_piece_of_a_longer_one_are_found() -> None:
    """A write that failed half way, and could not be cut off, before others that did not."""
    content = frame(1, b"one") + frame(2, bytes(5_000))[:100] + frame(2, b"two") + frame(3, b"3")
    found, damage = read(content)
    assert found == [b"one", b"two", b"3"]
    assert damage.skipped_bytes == 100


def test_records_that_are_gone_between_two_segments_are_counted() -> None:
    reader = FrameReader()
    first = list(reader.read(segment([b"1", b"2"]), is_last=False))
    second = list(reader.read(segment([b"5"], first=5), is_last=True))
    assert first + second == [b"1", b"2", b"5"]
    assert reader.damage == Damage(records_missing=2)


def test_a_journal_may_begin_at_any_record() -> None:
    assert read(segment([b"7", b"8"], first=7)) == ([b"7", b"8"], Damage())


def test_an_old_record_after_a_newer_one_is_not_believed() -> None:
    found, damage = read(frame(5, b"five") + frame(4, b"four") + frame(6, b"six"))
    assert found == [b"five", b"six"]
    assert damage


def test_a_whole_frame_inside_a_damaged_record_is_not_taken_for_a_newer_one_if_it_is_older() -> (
    None
):
    copy = frame(1, b"forged")
    content = bytearray(frame(1, b"one") + frame(2, b"x" + copy) + frame(3, b"three"))
    content[len(frame(1, b"one")) + HEAD_BYTES] ^= 1
    assert read(bytes(content))[0] == [b"one", b"three"]


def test_no_text_looks_like_a_frame() -> None:
    with pytest.raises(UnicodeDecodeError):
        MARK.decode()


def test_a_record_that_is_too_large_is_refused() -> None:
    frame(1, bytes(RECORD_BYTES_MAX))
    with pytest.raises(JournalError):
        frame(1, bytes(RECORD_BYTES_MAX + 1))


def test_a_length_that_was_changed_is_damage_though_it_reaches_beyond_the_end() -> None:
    content = bytearray(segment([b"one", b"two"]))
    second = len(frame(1, b"one"))
    content[second + 6] ^= 0xFF
    found, damage = read(bytes(content))
    assert found == [b"one"]
    assert damage
