import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog import tokens

ODD_WORDS = [" hello", " World", "  x", "\n", "don't", "naïve ", "日本", "😀", "123", " 4.5", "\t"]


def test_counts_are_those_of_the_published_tokenizers() -> None:
    # Taken from OpenAI's cookbook, "How to count tokens with tiktoken".
    assert tokens.count_text("antidisestablishmentarianism", "gpt-4o") == 6
    assert tokens.count_text("antidisestablishmentarianism", "gpt-4") == 6
    assert tokens.count_text("お誕生日おめでとう", "gpt-4o") == 8
    assert tokens.count_text("お誕生日おめでとう", "gpt-4") == 9


@pytest.mark.parametrize("model", ["gpt-4", "openai/gpt-4-turbo", "gpt-3.5-turbo", "gpt-35-turbo"])
def test_older_models_use_the_older_tokenizer(model: str) -> None:
    assert tokens.count_text("お誕生日おめでとう", model) == 9


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "openai/gpt-5", "sim/fast", "llama"])
def test_all_other_models_use_the_newer_tokenizer(model: str) -> None:
    assert tokens.count_text("お誕生日おめでとう", model) == 8


def test_the_cookbook_conversation_counts_as_openai_billed_it() -> None:
    # The cookbook's example: 129 prompt tokens counted by the API for gpt-4.
    messages = [
        (
            "system",
            (
                "You are a helpful, pattern-following assistant that translates corporate jargon "
                "into plain English."
            ),
            None,
        ),
        ("system", "New synergies will help drive top-line growth.", "example_user"),
        ("system", "Things working well together will increase revenue.", "example_assistant"),
        (
            "system",
            (
                "Let's circle back when we have more bandwidth to touch base on opportunities "
                "for increased leverage."
            ),
            "example_user",
        ),
        (
            "system",
            "Let's talk later when we're less busy about how to do better.",
            "example_assistant",
        ),
        (
            "user",
            (
                "This late pivot means we don't have time to boil the ocean for the client "
                "deliverable."
            ),
            None,
        ),
    ]
    counted = sum(
        tokens.count_message(role, [text], name, "gpt-4") for role, text, name in messages
    )
    assert counted + tokens.REPLY_PRIMING == 129


def test_a_message_counts_each_of_its_texts_by_itself() -> None:
    one = tokens.count_message("assistant", ["Hello"])
    assert tokens.count_message("assistant", ["Hello", "", "Hello"]) == one + 1
    assert tokens.count_message("assistant", ["Hello"], "bob") == one + 2


def test_special_tokens_are_plain_text() -> None:
    assert tokens.count_text("<|endoftext|>") > 1


def test_what_no_wire_can_carry_is_counted_all_the_same() -> None:
    assert tokens.count_text("a\ud800b\x00") >= 1
    assert tokens.upper_bound("\ud800") == 3


@given(st.text(max_size=300), st.sampled_from(["gpt-4o", "gpt-4"]))
def test_no_text_has_more_tokens_than_bytes(text: str, model: str) -> None:
    assert tokens.count_text(text, model) <= tokens.upper_bound(text)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_counting_in_slices_changes_nothing(model: str) -> None:
    rng = random.Random(5)
    for _ in range(5):
        text = "".join(rng.choices(ODD_WORDS, k=60_000))
        assert len(text) > 2 * tokens.SLICE_CHARS
        whole = tokens._tokenizer(model).count(text)
        assert tokens.count_text(text, model) == whole
        assert tokens.exceeds(text, whole - 1, model)
        assert not tokens.exceeds(text, whole, model)


def test_texts_without_a_place_to_cut_are_counted_to_within_a_few_tokens() -> None:
    for text in ("a1b2" * 50_000, "日" * 150_000, " " * 200_000):
        whole = tokens._tokenizer("gpt-4o").count(text)
        assert abs(tokens.count_text(text) - whole) <= 2 * (len(text) // tokens.SLICE_CHARS)


@given(st.text(max_size=200))
def test_token_texts_join_to_the_text(text: str) -> None:
    assert "".join(tokens.token_texts(text)) == text


def test_images_count_by_their_detail() -> None:
    assert [tokens.image_tokens(d) for d in ("low", "high", "auto", None)] == [85, 765, 765, 765]


def test_the_tokenizer_is_loaded_late_and_without_its_heavy_package() -> None:
    code = (
        "import sys; from omni_grpc.catalog import tokens; "
        "assert not [m for m in sys.modules if m.startswith('bpe_openai')]; "
        "assert tokens.count_text('hello world') == 2; "
        "assert 'bpe_openai' not in sys.modules; "
        "import bpe_openai; "
        "assert bpe_openai.get_encoding('o200k_base').encode('hello') == [24912]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
