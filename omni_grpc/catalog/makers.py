"""Who makes which models, so that a bare name means its maker's own offer first.

A model's canonical id is its maker's spelling of it: `openai/gpt-4o` on an aggregator is
`gpt-4o`, and `anthropic/claude-sonnet-4.5` is `claude-sonnet-4-5`. Models whose maker sells none
(open weights) keep their lower-case name without the maker's prefix.
"""

from collections.abc import Iterable
from typing import Final

import msgspec


class Maker(msgspec.Struct, frozen=True):
    """A maker: its own providers (best first), how others prefix its models, how those begin."""

    providers: tuple[str, ...]
    vendors: tuple[str, ...]
    families: tuple[str, ...]


MAKERS: Final = (
    Maker(
        ("openai",),
        ("openai",),
        ("gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "text-embedding-", "dall-e-"),
    ),
    Maker(("anthropic",), ("anthropic",), ("claude-",)),
    Maker(("google", "google-vertex"), ("google",), ("gemini-", "gemma-", "imagen-", "veo-")),
    Maker(("xai",), ("xai", "x-ai"), ("grok-",)),
    Maker(
        ("mistral",),
        ("mistral", "mistralai", "mistral-ai"),
        ("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "open-mi"),
    ),
    Maker(("deepseek",), ("deepseek", "deepseek-ai"), ("deepseek-",)),
    Maker(("moonshotai", "moonshotai-cn"), ("moonshotai",), ("kimi-", "moonshot-")),
    Maker(("zai", "zhipuai"), ("zai", "zai-org", "z-ai", "thudm"), ("glm-",)),
    Maker(("minimax", "minimax-cn"), ("minimax", "minimaxai"), ("minimax-",)),
    Maker(("alibaba", "alibaba-cn"), ("alibaba", "qwen"), ("qwen", "qwq", "qvq")),
    Maker(("llama",), ("meta-llama", "meta"), ("llama-",)),
    Maker(("cohere",), ("cohere",), ("command-", "c4ai-", "embed-", "rerank-")),
    Maker(("perplexity",), ("perplexity",), ("sonar",)),
    Maker(("nova", "amazon-bedrock"), ("amazon",), ("nova-", "titan-")),
    Maker(("nvidia",), ("nvidia",), ("nemotron-",)),
    Maker(("xiaomi",), ("xiaomi", "xiaomimimo"), ("mimo-",)),
    Maker(("stepfun", "stepfun-ai"), ("stepfun", "stepfun-ai"), ("step-",)),
    Maker(("inception",), ("inception",), ("mercury",)),
    Maker(("upstage",), ("upstage",), ("solar-",)),
    Maker((), ("microsoft",), ("phi-",)),
)

_OF_VENDOR: Final = {vendor: maker for maker in MAKERS for vendor in maker.vendors}


def maker_of(model: str) -> Maker | None:
    """The maker of a model, by how its canonical id begins; None if nobody in the table."""
    name = model.lower()
    for maker in MAKERS:
        if name.startswith(maker.families):
            return maker
    return None


def maker_rank(provider: str, model: str) -> int:
    """0 for the maker's own first provider, 1 for its second, ...; all others come after."""
    maker = maker_of(model)
    if maker is None or provider not in maker.providers:
        return len(MAKERS)
    return maker.providers.index(provider)


class Spellings:
    """How those who sell models under their own name spell them."""

    def __init__(self, offered: Iterable[tuple[str, str]]) -> None:
        """Take every (provider, provider's model) that a source lists."""
        self._own: dict[tuple[str, str], str] = {}
        for provider, provider_model in offered:
            name, _ = _split(provider_model)
            self._own[provider, _folded(name)] = name

    def canonical(self, provider_model: str) -> str:
        """The canonical id of the model that some provider calls `provider_model`."""
        vendor, _, rest = provider_model.partition("/")
        own = self._own.get((vendor.lower(), _folded(rest)))
        if own is not None:
            return own
        name, maker = _split(provider_model)
        maker = maker or maker_of(name)
        if maker is None or not maker.providers:
            return name.lower()
        return self._own.get((maker.providers[0], _folded(name)), name.lower())


def _split(provider_model: str) -> tuple[str, Maker | None]:
    """The name without its maker's prefix, and the maker that the prefix names."""
    vendor, slash, rest = provider_model.partition("/")
    maker = _OF_VENDOR.get(vendor.lower()) if slash and rest else None
    return (rest, maker) if maker else (provider_model, None)


def _folded(name: str) -> str:
    return name.lower().replace(".", "-")
