"""The terms of a prompt are those that the long way finds, in each of its zones."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.routing.analysis.features import terms_of
from omni_grpc.routing.analysis.view import view_of
from omni_grpc.routing.analysis.vocabulary import (
    EARLIER,
    FIRST,
    FIRST_WORDS,
    HEAD_WORDS,
    SYSTEM,
    TAIL_WORDS,
    TERMS,
    Vocabulary,
    terms_in,
)
from omni_grpc.routing.learned import read_features, shared_encoder

MIXING = 40_503
WORDS = st.lists(
    st.sampled_from(["write", "a", "Summarization", "\u6771\u4eac", "f(x)", "12", "\n"])
)


def words_of(text: str) -> list[tuple[int, int]]:
    return [(word, longer) for _, word, longer in shared_encoder().read(text).tolist() if word]


def by_hand(words: list[tuple[int, int]]) -> list[int]:
    single = [number % TERMS for word in words for number in word]
    return single + [(one * MIXING + two) % TERMS for (one, _), (two, _) in pairwise(words)]


def asked(*said: tuple[str, str]) -> ChatRequest:
    messages = tuple(Message(role=role, content=text) for role, text in said)  # type: ignore[arg-type]
    return ChatRequest(model="omni/auto", messages=messages)


def found(request: ChatRequest) -> list[int]:
    view = view_of(request)
    encoder = shared_encoder()
    return terms_of(view, read_features(view.text, encoder), encoder).tolist()


@given(WORDS.map(" ".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_terms_are_the_words_and_their_pairs(text: str) -> None:
    words = words_of(text)
    if len(words) <= HEAD_WORDS + TAIL_WORDS:
        assert terms_in(shared_encoder().read(text), SYSTEM).tolist() == [
            SYSTEM + term for term in by_hand(words)
        ]


def test_of_a_long_text_its_ends_count() -> None:
    text = " ".join(f"w{chr(97 + at % 26)} and" for at in range(HEAD_WORDS + TAIL_WORDS))
    words = words_of(text)
    kept = words[:HEAD_WORDS] + words[-TAIL_WORDS:]
    first = [FIRST + term for term in by_hand(words[:FIRST_WORDS])[: 2 * FIRST_WORDS]]
    assert found(asked(("user", text))) == by_hand(kept) + first


def test_the_same_words_are_others_in_other_zones() -> None:
    plain = found(asked(("user", "Write a poem")))
    with_system = found(asked(("system", "Write a poem"), ("user", "Write a poem")))
    assert with_system[: len(plain)] == plain
    assert with_system[len(plain) :] == [SYSTEM + term for term in plain if term < FIRST]
    leaning = found(asked(("user", "Write a poem"), ("assistant", ""), ("user", "Write a poem")))
    assert leaning == plain + [EARLIER + term for term in plain if term < FIRST]


def test_an_item_of_a_list_is_no_instruction() -> None:
    text = "Which is a mammal?\nA. a carp\nB. a whale"
    assert found(asked(("user", text))) == found(asked(("user", "Which is a mammal?")))


def test_what_is_not_known_has_the_first_place_of_its_zone() -> None:
    places = np.zeros(TERMS, dtype=np.uint16)
    places[[7, 9]] = 1, 2
    where = Vocabulary(places, width=3).in_all_zones()
    assert where[[7, 9, 8, 0]].tolist() == [1, 2, 0, 0]
    assert where[[SYSTEM + 7, SYSTEM + 8, EARLIER + 9]].tolist() == [7, 6, 11]
