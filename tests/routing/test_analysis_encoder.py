from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.routing.analysis import QuickEncoder
from omni_grpc.routing.learned import Encoder, shared_encoder

PROMPTS = Path(__file__).with_name("task_prompts.jsonl")


class Prompt(msgspec.Struct):
    user: str


@pytest.fixture(scope="module")
def quick() -> QuickEncoder:
    return QuickEncoder(shared_encoder())


def test_the_vectors_are_those_of_the_encoder_to_the_bit(quick: QuickEncoder) -> None:
    slow = shared_encoder()
    assert quick.kind == slow.kind
    for line in PROMPTS.read_text("utf-8").splitlines():
        text = msgspec.json.decode(line, type=Prompt).user
        assert np.array_equal(quick.total(text), slow.total(text)), text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_the_same(text: str) -> None:
    slow = shared_encoder()
    assert np.array_equal(QuickEncoder(slow).total(text), slow.total(text))


def test_nothing_gives_the_zero_vector(quick: QuickEncoder) -> None:
    assert not quick.encode("").any()


def test_without_its_files_it_is_the_hashed_encoder() -> None:
    hashed = Encoder(None)
    assert QuickEncoder(hashed).kind == "hashed"
    assert np.array_equal(QuickEncoder(hashed).total("a few words"), hashed.total("a few words"))
