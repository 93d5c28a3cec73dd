import random
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog.tokens import count_text
from omni_grpc.simulator.text import _WORDS, TextPiece, demo_text, prose, stable_pieces, topic_of


def assert_every_prefix_counts(pieces: list[TextPiece]) -> None:
    text, sent = "", 0
    for piece in pieces:
        text, sent = text + piece.text, sent + piece.tokens
        assert piece.tokens >= 1
        assert count_text(text) == sent, repr(text[-40:])


def test_prose_counts_at_every_prefix_and_each_piece_is_one_token() -> None:
    rng = random.Random(1)
    prefixes = 0
    for _ in range(60):
        pieces = prose(rng, 100)
        assert len(pieces) == 100
        assert all(count_text(piece.text) == piece.tokens == 1 for piece in pieces)
        assert_every_prefix_counts(pieces)
        prefixes += len(pieces)
    assert prefixes == 6_000


@pytest.mark.parametrize("count", range(12))
def test_prose_has_the_length_that_was_asked(count: int) -> None:
    for seed in range(50):
        pieces = prose(random.Random(seed), count)
        assert len(pieces) == count
        assert_every_prefix_counts(pieces)


def test_every_word_is_one_token_in_each_form() -> None:
    for word in _WORDS:
        forms = (f" {word}", f" {word.capitalize()}", word.capitalize())
        assert [count_text(form) for form in forms] == [1, 1, 1], word


@pytest.mark.parametrize(
    "question",
    ["Tell me about Kubernetes autoscaling", "", "日本語で", "pneumonoultramicroscopic naïveté?"],
)
def test_the_demo_answer_counts_at_every_prefix(question: str) -> None:
    for seed in range(20):
        assert_every_prefix_counts(stable_pieces(demo_text(random.Random(seed), question)))


@given(st.text(max_size=120))
def test_any_text_counts_at_every_prefix(text: str) -> None:
    pieces = stable_pieces(text)
    assert "".join(piece.text for piece in pieces) == text
    assert_every_prefix_counts(pieces)


@given(st.text(alphabet="  \n\t'\"sdtlm.,:/{}[]019aZé日😀\u200d", max_size=60))
def test_awkward_texts_count_at_every_prefix(text: str) -> None:
    pieces = stable_pieces(text)
    assert "".join(piece.text for piece in pieces) == text
    assert_every_prefix_counts(pieces)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=12,
    )
)
def test_json_counts_at_every_prefix(value: object) -> None:
    text = msgspec.json.encode(value).decode()
    pieces = stable_pieces(text)
    assert "".join(piece.text for piece in pieces) == text
    assert_every_prefix_counts(pieces)


def test_ordinary_texts_are_cut_into_single_tokens() -> None:
    text = 'He said: "call get_weather", then {"city":"Paris","days":3} in 2026, don\'t you?'
    assert all(piece.tokens == 1 for piece in stable_pieces(text))


def test_the_topic_is_what_the_question_is_about() -> None:
    assert topic_of("Tell me about Kubernetes autoscaling, please") == "Kubernetes autoscaling"
    assert topic_of("what is it?") == ""


def test_the_models_can_be_read_without_the_server_or_the_tokenizer() -> None:
    code = (
        "import sys; from omni_grpc.simulator.models import SIMULATED_MODELS; "
        "from omni_grpc.simulator import SIMULATED_MODELS as again; assert again; "
        "heavy = {'aiohttp', 'bpe_openai', 'omni_grpc.catalog', 'structlog', 'asyncio'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
