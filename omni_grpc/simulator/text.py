"""Texts in pieces whose token counts add up, for every prefix of what was sent.

The promise: the o200k count of the first k pieces joined equals the sum of their `tokens`, for
every k. So whoever was cut off anywhere can count what arrived and finds what the log says was
sent. Prose is made of whole words that are one token each; any other text is cut only where the
count grows, which is one token a piece except where a character or a merge spans several.
"""

import re
from random import Random
from typing import Final

import msgspec

from omni_grpc.catalog import tokens

__all__ = ("TextPiece", "demo_text", "prose", "stable_pieces", "topic_of")

TOPIC_WORDS_MAX: Final = 6

_WORDS_TEXT: Final = """
    able about above across after again against age air all almost along already also always
    among and another answer any area around as at away back base be because become before begin
    behind being below best better between big black blue board body book both boy bring build but
    by call can car care carry case center change check child city clear close cold color come
    common complete could country course cover cross day deep did different direct do does door
    down draw dry during each early earth east easy eat end enough even ever every example eye
    face fact fall family far fast few field figure fill final find fine fire first five fly
    follow food foot for force form found four free friend from front full game get girl give go
    gold good great green ground group grow had half hand hard has have head hear heat help here
    high hold home horse hot hour house how if in into is island it just keep kind know land
    language large last late lay lead learn leave left less let letter life light like line list
    little live long look lot love low machine made main make many map mark may mean measure mind
    minute money month moon more morning most mother mountain move much music must name near need
    never new next night no north note nothing notice now number object of off often old on once
    one only open or order other our out over own page paper part pass pattern people person
    picture piece place plain plan plane plant play point port power press problem process
    question quick rain reach read ready real record red rest right river road rock room round
    rule run same say school sea second see self sentence serve set several shape she ship short
    should show side simple since sing sit six size sleep slow small snow so some song soon sound
    south special spell stand star start state stay step still stop story street strong study
    such sun sure surface system table take talk teach tell ten test than that the their them
    then there these thing think this those though thought three through time together too top
    town travel tree true try turn two under unit until up us use very voice wait walk want war
    warm was watch water way we week well went were west what wheel when where which while white
    who whole why will wind wood word work world would write year young
"""
_WORDS: Final = tuple(_WORDS_TEXT.split())
_STOP_WORDS_TEXT: Final = """
    about all also and any are but can could did does explain for from give had has have how
    into its just like make may more not now one our out please say should some tell than that the
    their them then there these this was were what when where which who why will with would write
    you your
"""
_STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())
_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_LETTERS_AROUND_SPACE: Final = re.compile(r"[A-Za-z] [A-Za-z]")

_SENTENCE_WORDS: Final = (5, 14)
_COMMA_SHARE: Final = 0.08


class TextPiece(msgspec.Struct, frozen=True):
    """What goes out at once, and by how many tokens it lengthens the answer."""

    text: str
    tokens: int = 1


def prose(rng: Random, count: int) -> list[TextPiece]:
    """`count` pieces of plain sentences, one token each."""
    pieces: list[TextPiece] = []
    left = 0
    while len(pieces) < count:
        word = rng.choice(_WORDS)
        if left == 0:
            left = rng.randrange(*_SENTENCE_WORDS)
            pieces.append(TextPiece(f" {word.capitalize()}" if pieces else word.capitalize()))
        elif left == 1:
            pieces.append(TextPiece("."))
        else:
            if pieces[-1].text.islower() and rng.random() < _COMMA_SHARE:
                pieces.append(TextPiece(","))
            pieces.append(TextPiece(f" {word}"))
        left -= 1
    del pieces[count:]
    if count > 1 and pieces[-1].text != "." and pieces[-2].text not in (".", ","):
        pieces[-1] = TextPiece(".")
    return pieces


def topic_of(text: str) -> str:
    """The words of `text` that say what it is about; empty if there are none."""
    words: list[str] = []
    for word in _WORD.findall(text):
        if word.lower() not in _STOP_WORDS and word not in words:
            words.append(word)
    return " ".join(words[:TOPIC_WORDS_MAX])


def demo_text(rng: Random, question: str) -> str:
    """An answer that nobody takes for a model's."""
    topic = topic_of(question)
    about = f"You asked about: {topic}." if topic else "You asked in words that I cannot repeat."
    middle = rng.choice(
        (
            "A real model would now explain it to you; I only count tokens, but I count them well.",
            "I know nothing about it, and I am very sure of every token that I send you.",
            "There is no model behind these words, only a table of them and a steady clock.",
        )
    )
    return (
        "This answer was made by the simulator that comes with omni-grpc: no provider was called "
        f"and nothing left your machine. {about} {middle} "
        "Set a provider key and restart to talk to a real model."
    )


def stable_pieces(text: str) -> list[TextPiece]:
    """`text` in pieces as small as the promise above allows."""
    pieces: list[TextPiece] = []
    window = begin = end = 0  # counts before `window` are settled: no token spans it
    counted = 0  # tokens of text[window:begin]
    for part in tokens.token_texts(text):
        if _is_cut(text, end) and begin == end:
            window, counted = end, 0
        end += len(part)
        count = tokens.count_text(text[window:end])
        if count > counted:
            pieces.append(TextPiece(text[begin:end], count - counted))
            begin, counted = end, count
    if begin == len(text):
        return pieces
    # The rest never made the count grow, so it belongs to what came before it.
    rest, total = text[begin:], tokens.count_text(text)
    sent = sum(piece.tokens for piece in pieces)
    while pieces and sent >= total:
        last = pieces.pop()
        rest, sent = last.text + rest, sent - last.tokens
    return [*pieces, TextPiece(rest, total - sent)]


def _is_cut(text: str, index: int) -> bool:
    """Whether a word ends before `index` and another begins with the space at it."""
    return index > 0 and _LETTERS_AROUND_SPACE.match(text, index - 1) is not None
