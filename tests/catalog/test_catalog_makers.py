import pytest

from omni_grpc.catalog.makers import MAKERS, Spellings, maker_of, maker_rank

SPELLINGS = Spellings(
    [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("minimax", "MiniMax-M2"),
        ("nvidia", "nvidia/nemotron-4"),
        ("alibaba", "deepseek-v3"),
        ("groq", "openai/gpt-oss-120b"),
    ]
)


@pytest.mark.parametrize(
    ("sold_as", "canonical"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("OpenAI/GPT-4o", "gpt-4o"),
        ("openai/gpt-4o:extended", "gpt-4o:extended"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("MiniMaxAI/minimax-m2", "MiniMax-M2"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("nvidia/nemotron-4", "nemotron-4"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct"),
        ("some-lab/Model-1", "some-lab/model-1"),
        ("openai/", "openai/"),
        ("/gpt-4o", "/gpt-4o"),
    ],
)
def test_a_model_has_one_name_whoever_sells_it(sold_as: str, canonical: str):
    assert SPELLINGS.canonical(sold_as) == canonical


def test_the_maker_comes_before_everyone_else():
    assert maker_rank("openai", "gpt-4o") == 0
    assert maker_rank("google", "gemini-2.5-pro") < maker_rank("google-vertex", "gemini-2.5-pro")
    assert maker_rank("google-vertex", "gemini-2.5-pro") < maker_rank("azure", "gemini-2.5-pro")
    assert maker_rank("alibaba", "deepseek-v3") == maker_rank("groq", "deepseek-v3")
    assert maker_rank("groq", "nobody-s-model") == maker_rank("azure", "nobody-s-model")


def test_the_table_names_each_vendor_and_family_once():
    vendors = [vendor for maker in MAKERS for vendor in maker.vendors]
    families = [family for maker in MAKERS for family in maker.families]
    assert len(vendors) == len(set(vendors))
    assert len(families) == len(set(families))
    assert all(maker_of(family + "x") for family in families)
