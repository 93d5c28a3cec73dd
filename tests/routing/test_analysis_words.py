"""Words and marks are found by short cuts, and are those that the long way finds."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.routing.analysis.structure import MARKS
from omni_grpc.routing.analysis.words import HEAD_CHARS, first_words_of, words_of

WORD = re.compile(r"[^\W\d_]+")


@given(st.text(max_size=HEAD_CHARS) | st.text(st.characters(codec="ascii"), max_size=HEAD_CHARS))
def test_words_are_runs_of_letters_in_any_text(text: str) -> None:
    words = WORD.findall(text.lower())
    if all(word < "\u0e00" for word in words):
        pairs = {f"{one} {two}" for one, two in pairwise(words)}
        stems = {word[:5] + "~" for word in words if len(word) >= 7}
        assert words_of(text) == {*words, *pairs, *stems}


def test_first_words_are_those_of_the_head() -> None:
    assert first_words_of("Write a short poem") == {"write", "a", "short", "write a", "a short"}
    assert first_words_of("Ein Überblick über Bäume") == {
        "ein", "überblick", "über", "überb~", "ein überblick", "überblick über",
    }  # fmt: skip
    assert first_words_of("\u7ffb\u8bd1\u4e00\u4e0b") == {
        "\u7ffb\u8bd1", "\u8bd1\u4e00", "\u4e00\u4e0b",
    }  # fmt: skip


def test_a_mark_is_looked_for_by_a_character_that_it_has() -> None:
    found = [(char, mark) for marks in MARKS for char, mark in marks]
    assert len(found) > 50
    for char, mark in found:
        assert char in {min(ord(one), 128) for one in mark}, mark
