"""Finds what a request is about, and predicts how well each model would do it, at what length.

Models that were trained on have heads of their own; all others are judged by their ratings, made
better or worse as the prompt is easier or harder. Nobody is asked, and nothing waits.
"""

from functools import lru_cache

import msgspec
import numpy as np

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.task import Analysis
from omni_grpc.routing.analysis import Analyst, view_of
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
        self._known_of: tuple[OfferTable | None, tuple[str, ...]] = (None, ())

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
        known = self.quality.predict(look.encoded, self._known(table))
        difficulty = self.quality.difficulty(look.encoded)
        complexity = look.analysis.complexity_score
        rate = self.quality.scale.prediction
        ratings = table.model_ratings(look.analysis.task).tolist()
        found = [
            known.get(model) or rate(rating, difficulty, complexity)
            for model, rating in zip(table.models, ratings, strict=True)
        ]
        rows = table.model_of
        return Predicted(
            np.array([one.mean for one in found], dtype=np.float64)[rows],
            np.array([one.doubt for one in found], dtype=np.float64)[rows],
        )

    def output_tokens(self, look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with."""
        typical = self.quality.typical_output_tokens(look.encoded)
        known = self.quality.output_tokens(look.encoded, self._known(table))
        counts = [known.get(model, typical) for model in table.models]
        return np.array(counts, dtype=np.float64)[table.model_of]

    def _known(self, table: OfferTable) -> tuple[str, ...]:
        """The models of a table that have heads; found once for each table."""
        held = self._known_of
        if held[0] is not table:
            known = tuple(model for model in table.models if self.quality.knows(model))
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
    return Judge(shared_quality(), Analyst(encoder_kind=shared_encoder().kind))
