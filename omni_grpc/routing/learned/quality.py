"""The trained predictions, as the router asks for them: from a text to chances by model."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.routing.learned.encoder import Encoder, shared_encoder
from omni_grpc.routing.learned.features import Features, read_features
from omni_grpc.routing.learned.heads import Pool, Prediction
from omni_grpc.routing.learned.panel import Panel
from omni_grpc.routing.learned.ratings import Amounts, RatingScale
from omni_grpc.routing.learned.weights import read_weights

WEIGHTS: Final = Path(__file__).with_name("router.weights")

UNLIKE_DOUBT: Final = 0.5
"""What a prediction may be off by for a prompt unlike all that its pool has seen."""

SAME_MODELS: Final[Mapping[str, str]] = {
    "gpt-4o-2024-05-13": "A/gpt-4o",
    "gemini-1.5-pro": "A/gemini-pro",
    "gemini-1.5-pro-002": "A/gemini-pro",
    "gemini-1.5-flash": "A/gemini-flash",
    "gemini-1.5-flash-002": "A/gemini-flash",
    "llama-3.1-70b-instruct": "A/llama-70b",
    "meta-llama-3.1-70b-instruct": "A/llama-70b",
    "llama-3.1-8b-instruct": "A/llama-8b",
    "meta-llama-3.1-8b-instruct": "A/llama-8b",
    "claude-3-5-sonnet-20240620": "B/claude-3.5-sonnet",
    "claude-3.5-sonnet-20240620": "B/claude-3.5-sonnet",
    "gpt-4o-2024-08-06": "B/gpt-4o-0806",
    "gpt-4o": "B/gpt-4o-0806",
    "mistral-large-2407": "B/mistral-large-2",
    "claude-3-opus": "B/claude-3-opus",
    "claude-3-opus-20240229": "B/claude-3-opus",
    "llama-3-70b-instruct": "B/llama-3-70b",
    "meta-llama-3-70b-instruct": "B/llama-3-70b",
    "gpt-4o-mini": "B/gpt-4o-mini",
    "gpt-4o-mini-2024-07-18": "B/gpt-4o-mini",
    "claude-3-haiku": "B/claude-3-haiku",
    "claude-3-haiku-20240307": "B/claude-3-haiku",
    "gpt-3.5-turbo": "B/gpt-3.5-turbo",
    "gpt-3.5-turbo-0125": "B/gpt-3.5-turbo",
    "llama-3-8b-instruct": "B/llama-3-8b",
    "meta-llama-3-8b-instruct": "B/llama-3-8b",
}
"""The heads of models by the last part of their canonical ids, lower case."""


class Encoded(msgspec.Struct, frozen=True):
    """A prompt, ready for every prediction.

    Attributes:
        features: what was read of it; `features.whole` is its vector.
        chances: by head, of a good answer; the heads of all pools stand in one row.
        tokens: by head, of output.
        doubts: by pool, what its predictions may be off by.
        cautions: by pool, what it is to be doubted for besides: see `Reading`.
        unlike: the names of the pools that it is unlike.
    """

    features: Features
    chances: Amounts
    tokens: Amounts
    doubts: Amounts
    cautions: Amounts
    unlike: frozenset[str]


class Heads(msgspec.Struct, frozen=True):
    """Some of the heads, as predictions ask for them.

    Attributes:
        places: where they stand among those of all pools.
        pools: by head, the place of its pool.
        cautioned: by head, 1 where caution counts, 0 for the premium model.
    """

    places: NDArray[np.intp]
    pools: NDArray[np.intp]
    cautioned: Amounts


class Quality:
    """The heads of all pools. Threads may share it."""

    def __init__(self, pools: Sequence[Pool], scale: RatingScale, encoder: Encoder) -> None:
        """`encoder` is the one that the pools were trained with."""
        self.pools = {pool.name: pool for pool in pools}
        self.scale = scale
        self._typical = np.concatenate([pool.mean_quality for pool in pools], dtype=np.float64)
        self._shares_of: dict[frozenset[str], tuple[Amounts, float]] = {}
        """By the pools that a prompt is unlike: what each head counts in a mean, and that mean
        where a prompt is typical."""
        self._doubts = [pool.doubt for pool in pools]
        self._panel = Panel(pools)
        self._encoder = encoder
        self._heads = {
            f"{pool.name}/{model}": (pool, column)
            for pool in pools
            for column, model in enumerate(pool.models)
        }
        counts = [len(pool.models) for pool in pools]
        self._pool_of = np.repeat(np.arange(len(counts)), counts)
        self._starts = {pool.name: sum(counts[:at]) for at, pool in enumerate(pools)}
        for model, head in SAME_MODELS.items():
            if head in self._heads:
                self._heads.setdefault(model, self._heads[head])

    def encode(self, text: str) -> Encoded:
        """Reads a prompt."""
        return self.encoded(read_features(text, self._encoder))

    def encoded(self, features: Features) -> Encoded:
        """What the heads of all pools say of what was read of a prompt."""
        said = self._panel.opinion(features)
        return Encoded(
            features,
            said.chances,
            said.tokens,
            np.array(
                [
                    UNLIKE_DOUBT if one else doubt
                    for one, doubt in zip(said.unlike, self._doubts, strict=True)
                ]
            ),
            np.array(said.caution),
            frozenset(compress(self.pools, said.unlike)),
        )

    def knows(self, model: str) -> bool:
        """Whether there is a head for a model: a canonical id, or `{pool}/{name}`."""
        return self.head(model) is not None

    def predict(
        self, encoded: Encoded, models: Sequence[str], premium: str = ""
    ) -> dict[str, Prediction]:
        """The predictions for those of the models that there are heads for; see `predictions`."""
        known = {model: at for model in models if (at := self.place(model)) is not None}
        heads = self.heads([*known.values()], [model == premium for model in known])
        chances, doubts = self.predictions(encoded, heads)
        return {
            model: Prediction(chance, chance - doubt)
            for model, chance, doubt in zip(known, chances.tolist(), doubts.tolist(), strict=True)
        }

    def heads(self, places: Sequence[int], is_premium: Sequence[bool]) -> Heads:
        """Some heads, by their places; one may stand there more than once.

        `is_premium` says which of them are asked for the premium model.
        """
        at = np.array(places, dtype=np.intp)
        return Heads(at, self._pool_of[at], 1.0 - np.array(is_premium, dtype=np.float64))

    def predictions(self, encoded: Encoded, heads: Heads) -> tuple[Amounts, Amounts]:
        """By head, the chance of a good answer and what it may be off by.

        The less a prompt is known, the more all but the premium model are doubted.
        """
        chances, pools = encoded.chances[heads.places], heads.pools
        doubts = encoded.doubts[pools] + encoded.cautions[pools] * heads.cautioned
        return chances, np.minimum(chances, doubts)

    def output_tokens(self, encoded: Encoded, models: Sequence[str]) -> dict[str, float]:
        """The expected output tokens for those of the models that there are heads for."""
        known = {model: at for model in models if (at := self.place(model)) is not None}
        return {model: float(encoded.tokens[at]) for model, at in known.items()}

    def typical_output_tokens(self, encoded: Encoded) -> float:
        """The output tokens of a model without a head: the median of the models with one."""
        counts = sorted(encoded.tokens.tolist())
        return float(counts[len(counts) // 2])

    def difficulty(self, encoded: Encoded) -> float | None:
        """How much harder than typical a prompt is for the models with heads, in log-odds.

        Negative for an easier one; None for a prompt that is unlike anything known.
        """
        if len(encoded.unlike) == len(self.pools):
            return None
        found = self._shares_of.get(encoded.unlike)
        if found is None:
            known = np.array([name not in encoded.unlike for name in self.pools])[self._pool_of]
            shares = known / known.sum()
            found = self._shares_of[encoded.unlike] = (shares, float(shares @ self._typical))
        shares, typical = found
        return self.scale.odds_between(float(encoded.chances.dot(shares)), typical)

    def cost_weight(self, premium: str) -> float:
        """What cost weighs against quality beside a premium model, as trained.

        For a premium model without a head the most careful of all pools' weights.
        """
        head = self.head(premium)
        if head is not None:
            return head[0].cost_weight
        return min(pool.cost_weight for pool in self.pools.values())

    def typical_tokens(self, premium: str) -> tuple[float, float]:
        """Prompt and output tokens of a typical prompt, to which costs are compared."""
        head = self.head(premium)
        pool = next(iter(self.pools.values())) if head is None else head[0]
        return pool.typical_tokens

    def head(self, model: str) -> tuple[Pool, int] | None:
        """The pool of a model's head and its column there; None if it has none."""
        head = self._heads.get(model)
        if head is None:
            head = self._heads.get(model.rpartition("/")[2].lower())
        return head

    def place(self, model: str) -> int | None:
        """Where the head of a model stands among those of all pools; None if it has none."""
        head = self.head(model)
        return None if head is None else self._starts[head[0].name] + head[1]


class Guard:
    """Says when a prompt is so unlike anything known that only the premium model is safe."""

    def __init__(self, quality: Quality) -> None:
        """`quality` knows what is known."""
        self._quality = quality

    def escalates(self, encoded: Encoded, premium: str) -> bool:
        """Whether a prompt should go to the premium model, whatever is predicted.

        That is so where it is unlike the prompts that the premium model's own pool has seen, or
        where that model has no head: unlike those of every pool.
        """
        head = self._quality.head(premium)
        if head is not None:
            return head[0].name in encoded.unlike
        return len(encoded.unlike) == len(self._quality.pools)


@lru_cache(maxsize=1)
def shared_quality() -> Quality:
    """The trained predictions that this package ships, on the process's one encoder."""
    weights = read_weights(WEIGHTS)
    return Quality(weights.pools, weights.scale, shared_encoder())
