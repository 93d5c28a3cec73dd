import pytest
from catalog_offers import offer
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog import Modality, Mode, Offer, parse_filter
from omni_grpc.core.errors import FieldInvalid

GPT = offer(
    "openai/gpt-4o",
    context_tokens_max=128_000,
    output_tokens_max=16_384,
    tools=True,
    structured_output=True,
    input_modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
)
LLAMA = offer("groq/meta-llama/Llama-3", model="llama-3", reasoning=True)
OLD = offer("openai/embed", mode=Mode.EMBEDDING, deprecated=True, price=None, enabled=False)
OFFERS = (GPT, LLAMA, OLD)


def wanted(text: str) -> list[Offer]:
    found = parse_filter(text)
    return [one for one in OFFERS if found.matches(one, {"openai"})]


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("", [GPT, LLAMA, OLD]),
        ("  ", [GPT, LLAMA, OLD]),
        ('provider = "openai"', [GPT, OLD]),
        ("provider='openai'", [GPT, OLD]),
        ("provider = openai", [GPT, OLD]),
        ('provider != "openai"', [LLAMA]),
        ('model = "openai/gpt-4o"', [GPT]),
        ('model = "llama-3"', [LLAMA]),
        ('model != "llama-3"', [GPT, OLD]),
        ('mode = "embedding"', [OLD]),
        ("context_token_count >= 128000", [GPT]),
        ("context_token_count > 128000", []),
        ("context_token_count < 128001", [GPT]),
        ("output_token_count = 16384", [GPT]),
        ("output_token_count <= 1", []),
        ("output_token_count != 16384", [LLAMA, OLD]),
        ("tools = true", [GPT]),
        ("tools != true", [LLAMA, OLD]),
        ("structured_output = false", [LLAMA, OLD]),
        ("reasoning = true", [LLAMA]),
        ("free = true", []),
        ("priced = false", [OLD]),
        ("deprecated = true", [OLD]),
        ("enabled = true", [GPT, LLAMA]),
        ("callable = true", [GPT]),
        ('input_modality:"image"', [GPT]),
        ("output_modality : text", [GPT, LLAMA, OLD]),
        ("provider = openai AND tools = true AND context_token_count > 5", [GPT]),
        ('provider = "openai"AND mode="chat"', [GPT]),
        (r'provider = "open\"ai"', []),
        ('provider = ""', []),
    ],
)
def test_a_filter_picks_what_it_says(text: str, offers: list[Offer]):
    assert wanted(text) == offers


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("colour = red", 1, "not a field"),
        ("provider", 9, "ends where an operator"),
        ("provider =", 11, "ends where a value"),
        ("provider = AND = 1", 16, "AND is expected"),
        ("provider ~ x", 10, "an operator is expected"),
        ("provider = openai OR tools = true", 19, "AND is expected"),
        ("provider = openai and tools = true", 19, "AND is expected"),
        ("NOT tools = true", 1, "not a field"),
        ("-tools = true", 1, "not a field"),
        ("(tools = true)", 1, "cannot stand here"),
        ("tools", 6, "an operator"),
        ("tools = yes", 9, "true or false"),
        ("tools > true", 7, "takes = and !="),
        ("tools:true", 6, "takes = and !="),
        ("provider < x", 10, "takes = and !="),
        ("provider:openai", 9, "takes = and !="),
        ("context_token_count = many", 23, "whole number"),
        ("context_token_count > -1", 23, "whole number"),
        ("context_token_count > 1.5", 23, "whole number"),
        ("context_token_count > ٣", 23, "whole number"),
        ("context_token_count > 99999999999999999999", 23, "whole number"),
        ("context_token_count:1", 20, "takes =, !=, <"),
        ("input_modality = image", 16, "takes :"),
        ("input_modality:smell", 16, "none of text, image"),
        ('provider = "open', 12, "cannot stand here"),
        ("provider = = 1", 12, "a value is expected"),
        ("tools = true AND", 17, "ends where a field"),
        ("tools = true tools = true", 14, "AND is expected"),
        ("tools = true \0", 14, "AND is expected"),
        ("tools = true AND " * 16 + "tools = true", 273, "more than 16"),
        ("a" * 1_025, 1_025, "longer than 1024"),
    ],
)
def test_anything_else_is_refused_with_its_position(text: str, position: int, words: str):
    with pytest.raises(FieldInvalid) as caught:
        parse_filter(text)
    assert caught.value.field == "filter"
    assert caught.value.metadata == {"position": str(position)}
    assert words in caught.value.message
    assert f"position {position}:" in caught.value.message


_WORDS = "provider model tools context_token_count input_modality AND OR NOT true false 12 -3 image"
_SIGNS = """= != < <= > >= : "x" 'y' ( ) " ' \\ \0 é"""
_PIECES = st.sampled_from((_WORDS + " " + _SIGNS).split(" "))


@given(st.one_of(st.text(), st.lists(_PIECES).map(" ".join), st.lists(_PIECES).map("".join)))
def test_any_text_is_a_filter_or_a_typed_error(text: str):
    try:
        found = parse_filter(text)
    except FieldInvalid as error:
        refused = error
    else:
        assert {found.matches(one, ()) for one in OFFERS} <= {True, False}
        return
    assert 1 <= int(refused.metadata["position"]) <= len(text) + 1
