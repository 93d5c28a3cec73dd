"""The encoder's vectors beside those that the tokenizer and numpy give in their plain ways."""

import importlib.util
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from omni_grpc.routing.learned import DIMENSIONS, Encoder, shared_encoder
from omni_grpc.routing.learned.pieces import cut
from omni_grpc.routing.learned.remembered import (
    BYTES_MAX,
    CHARS_MAX,
    GENERATION_MAX,
    Remembered,
)

PROMPTS = Path(__file__).with_name("task_prompts.jsonl")
FOLDER = Path(str(importlib.util.find_spec("wordllama").origin)).parent  # type: ignore[union-attr]
TOKENIZER = FOLDER / "tokenizers/l2_supercat_tokenizer_config.json"
WORDS = ("the", "für", "don't", "\u6771\u4eac", "x\u00b2.", "f(x);\r", "  if", "3.14", "\n\n", "\t")


class Prompt(msgspec.Struct):
    user: str


class Plain:
    """What the encoder's total is by definition: the sum of the heads of all tokens' rows."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.from_file(str(TOKENIZER))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        weights = FOLDER / "weights/l2_supercat_256.safetensors"
        self.table = load_file(weights)["embedding.weight"][:, :DIMENSIONS]

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def is_total(self, text: str, total: NDArray[np.float32]) -> bool:
        """Whether it is the sum but for roundings; a token more or less changes it by 0.1."""
        return np.allclose(self.total(text), total, rtol=1e-5, atol=1e-4)

    def total(self, text: str) -> NDArray[np.float32]:
        summed: NDArray[np.float32] = self.table[self.tokens(text)].sum(axis=0, dtype=np.float32)
        return summed


@pytest.fixture(scope="module")
def plain() -> Plain:
    return Plain()


def total(text: str) -> NDArray[np.float32]:
    return shared_encoder().total(shared_encoder().read(text))


def test_the_sums_are_the_plain_ones(plain: Plain) -> None:
    for line in PROMPTS.read_text("utf-8").splitlines():
        text = msgspec.json.decode(line, type=Prompt).user
        assert plain.is_total(text, total(text)), text


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.lists(st.sampled_from(WORDS)).map(" ".join),
        st.lists(st.sampled_from(WORDS)).map("".join),
    )
)
def test_any_text_is_read_the_same(plain: Plain, text: str) -> None:
    assert plain.is_total(text, total(text))


@pytest.mark.parametrize("text", ["<s>", " a <s> b</s>", "<unk><unk> ", "a <s", "x<s>1"])
def test_marks_of_the_vocabulary_are_read_as_marks(plain: Plain, text: str) -> None:
    assert plain.is_total(text, total(text))


def test_no_token_crosses_a_border_at_which_texts_are_cut() -> None:
    vocabulary = json.loads(TOKENIZER.read_text("utf-8"))["model"]["vocab"]
    marks = re.compile(r"<unk>|</?s>|<0x..>")
    texts = [token.replace("\u2581", " ") for token in vocabulary if not marks.fullmatch(token)]
    assert len(texts) > 30_000
    assert [text for text in texts if cut(text) != [text]] == []


def test_what_is_often_met_stays_remembered_within_bounds() -> None:
    made: list[str] = []

    def make(text: str) -> bytes:
        made.append(text)
        return text.encode()

    remembered = Remembered(make)
    for number in range(3 * GENERATION_MAX):
        assert remembered["often"] == b"often"
        assert remembered[str(number)] == str(number).encode()
        assert len(remembered) <= GENERATION_MAX
    assert made.count("often") == 1
    assert len(made) == 1 + 3 * GENERATION_MAX
    assert remembered["0"] == b"0"
    assert made.count("0") == 2, "what is not met in two generations is forgotten"


def test_what_is_long_is_not_remembered() -> None:
    made: list[str] = []

    def make(text: str) -> bytes:
        made.append(text)
        return bytes(BYTES_MAX + text.startswith("rare"))

    remembered = Remembered(make)
    short, long, rare = "x" * CHARS_MAX, "y" * (CHARS_MAX + 1), "rare"
    for text in (short, long, rare) * 2:
        assert remembered[text] == make(text)
        made.pop()
    assert made == [short, long, rare, long, rare]


def test_nothing_gives_the_zero_vector() -> None:
    assert not total("").any()


def test_without_its_files_it_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"l2_supercat.* reinstall the wordllama package"):
        Encoder(tmp_path)


def words(text: str) -> list[tuple[int, int]]:
    """What stands for the words of a text: a number, and another of longer words."""
    return [(word, longer) for _, word, longer in shared_encoder().read(text).tolist() if word]


def test_a_word_is_the_same_wherever_it_stands() -> None:
    assert words("Write") == words("write") == words(" Write") == words("\nwrite")[1:]
    assert words("write(a)") == [*words("write"), *words("a")]
    assert len({*words("write poem letter x \u6771 \u4eac \u0434")}) == 7
    assert [longer for _, longer in words("write a poem")] == [0, 0, 0]


def test_what_has_no_letter_is_no_word_but_a_byte_is() -> None:
    assert words("12 + 3.5 = (7) -- \u2014 \u3002") == []
    assert len(words("\n")) == 1
    assert len(words("\U0001f9d9")) == len("\U0001f9d9".encode())


def test_a_word_of_several_tokens_counts_its_first_and_its_second() -> None:
    (stem, longer), (same_stem, other) = words("summarization summarizes")
    assert stem == same_stem
    assert 0 < longer != other > 0
    assert stem not in {word for word, _ in words("summar")}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_words_stand_with_the_first_tokens_of_theirs(text: str) -> None:
    read = shared_encoder().read(text)
    assert read.shape == (len(read), 3)
    assert (read >= 0).all()
    assert not read[read[:, 1] == 0, 2].any()
