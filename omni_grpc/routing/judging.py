"""Finds what a request is about, and predicts how well each model would do it, at what length.

Models that were trained on have heads of their own; all others are judged by their ratings, made
better or worse as the prompt is easier or harder. Nobody is asked, and nothing waits.
"""

from functools import lru_cache

import msgspec
import numpy as np

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.task import Analysis
from omni_grpc.routing.analysis import Analyst, QuickEncoder, view_of
from omni_grpc.routing.learned import Encoded, Guard, Quality, shared_encoder, shared_quality
from omni_grpc.routing.offer_table import Amounts, OfferTable


class Look(msgspec.Struct, frozen=True):
    """What was found about a request: once, however many offers are scored by it."""

    analysis: Analysis
    encoded: Encoded


class Predicted(msgspec.Struct, frozen=True):
    """By row of a table: the chance of a good answer, and what it may be off by."""

    quality: Amounts
    doubt: Amounts


class Judge:
    """Judges by what ships with the package. Threads may share it."""

    def __init__(self, quality: Quality, analyst: Analyst) -> None:
        self.quality = quality
        self._analyst = analyst
        self._guard = Guard(quality)
        self._known_of: tuple[OfferTable | None, dict[str, int]] = (None, {})

    def look(self, request: ChatRequest) -> Look:
        """Looks at a request; the task that its caller states is believed."""
        view = view_of(request)
        encoded = self.quality.encode(view.text)
        analysis = self._analyst.analyse(view, encoded.vector)
        task = request.preferences.task
        if task is not None and task is not analysis.task:
            analysis = msgspec.structs.replace(
                analysis, task=task, task_probability=1.0, source="caller"
            )
        return Look(analysis, encoded)

    def predicted(self, look: Look, table: OfferTable) -> Predicted:
        """How likely each row's model does the request well."""
        quality, doubt = self._rated(look, table)
        predictions = self.quality.predict(look.encoded, tuple(self._known(table)))
        for model, place in self._known(table).items():
            one = predictions[model]
            quality[place] = one.mean
            doubt[place] = one.doubt
        rows = table.model_of
        return Predicted(quality[rows], doubt[rows])

    def _rated(self, look: Look, table: OfferTable) -> tuple[Amounts, Amounts]:
        """By model, what `RatingScale.prediction` says of its rating: of all at once."""
        scale = self.quality.scale
        difficulty = self.quality.difficulty(look.encoded)
        if difficulty is None:
            lowered = scale.complexity_slope * (look.analysis.complexity_score - 0.5)
            doubt = scale.unlike_doubt
        else:
            lowered = scale.slope * difficulty
            doubt = scale.doubt
        odds = table.rating_odds(look.analysis.task)
        mean: Amounts = 1.0 / (1.0 + np.exp(lowered - odds))
        return mean, np.minimum(mean, doubt)

    def output_tokens(self, look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with."""
        counts = np.full(len(table.models), self.quality.typical_output_tokens(look.encoded))
        known = self._known(table)
        for model, count in self.quality.output_tokens(look.encoded, tuple(known)).items():
            counts[known[model]] = count
        return counts[table.model_of]

    def _known(self, table: OfferTable) -> dict[str, int]:
        """The models of a table that have heads, by their places; found once for each table."""
        held = self._known_of
        if held[0] is not table:
            known = {
                model: place
                for place, model in enumerate(table.models)
                if self.quality.knows(model)
            }
            held = self._known_of = (table, known)
        return held[1]

    def escalates(self, look: Look, premium_model: str) -> bool:
        """Whether the prompt is so unlike anything known that only the premium model is safe."""
        return self._guard.escalates(look.encoded, premium_model)


@lru_cache(maxsize=1)
def shared_judge() -> Judge:
    """The one judge of this process; the first call opens its files.

    Raises:
        ValueError: the weights do not fit the installed encoder.
    """
    encoder, trained = QuickEncoder(shared_encoder()), shared_quality()
    quality = Quality(tuple(trained.pools.values()), trained.scale, encoder)
    return Judge(quality, Analyst(encoder_kind=encoder.kind))
