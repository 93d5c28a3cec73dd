"""Finds what a request is about, and predicts how well each model would do it, at what length.

Models that were trained on have heads of their own; all others are judged by their ratings, made
better or worse as the prompt is easier or harder. A prompt unlike all that was trained on goes to
the premium model, unless it is plain. Nobody is asked, and nothing waits.
"""

from functools import lru_cache
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.task import Analysis, Task
from omni_grpc.routing.analysis import Analyst, PromptView, view_of
from omni_grpc.routing.analysis.view import TEXT_CHARS_MAX
from omni_grpc.routing.learned import (
    Encoded,
    Guard,
    Heads,
    Quality,
    shared_encoder,
    shared_quality,
)
from omni_grpc.routing.offer_table import Amounts, OfferTable

PLAIN_TASKS: Final = frozenset({Task.CHAT, Task.SUMMARIZATION, Task.TRANSLATION})

PLAIN_PROBABILITY: Final = 0.55
"""From here on the task counts as sure."""

PLAIN_COMPLEXITY_MAX: Final = 0.26
"""Below it stand greetings and everyday questions; the mean of recorded exams is 0.31."""

PLAIN_CHARS_MAX: Final = 280
"""Of a chat's last turn: a longer one may ask for much."""

PLAIN_TEXT_CHARS_MAX: Final = TEXT_CHARS_MAX
"""Of a text to translate or to shorten: all of it was looked at."""


class Look(msgspec.Struct, frozen=True):
    """What was found about a request: once, however many offers are scored by it."""

    view: PromptView
    analysis: Analysis
    encoded: Encoded

    @property
    def is_plain(self) -> bool:
        """Whether nearly any model does it, as far as can be seen without recorded answers.

        Answers were recorded for exam questions, so everyday prompts are unlike all of them, and
        sending each of those to the premium model would pay most where least is gained. A greeting,
        a short question, a short translation or summary may be judged by ratings instead. What the
        analysis is not sure of, what needs reasoning or code, and what comes with tools or media
        is not plain.
        """
        analysis, view = self.analysis, self.view
        chars_max = PLAIN_CHARS_MAX if analysis.task is Task.CHAT else PLAIN_TEXT_CHARS_MAX
        return (
            analysis.task in PLAIN_TASKS
            and analysis.task_probability >= PLAIN_PROBABILITY
            and analysis.complexity_score < PLAIN_COMPLEXITY_MAX
            and not (analysis.needs_reasoning or analysis.needs_code)
            and view.user_chars <= chars_max
            and not (view.tool_count or view.tool_results)
            and not (view.images or view.images_before or view.audios or view.files)
        )


class Predicted(msgspec.Struct, frozen=True):
    """By row of a table: the chance of a good answer, and what it may be off by."""

    quality: Amounts
    doubt: Amounts


class HeadRows(msgspec.Struct, frozen=True):
    """The rows of a table whose models have heads, and those heads."""

    rows: NDArray[np.intp]
    heads: Heads


class Judge:
    """Judges by what ships with the package. Threads may share it."""

    def __init__(self, quality: Quality, analyst: Analyst) -> None:
        self.quality = quality
        self._analyst = analyst
        self._guard = Guard(quality)
        self._rows_of: WeakKeyDictionary[OfferTable, dict[str, HeadRows]] = WeakKeyDictionary()

    def look(self, request: ChatRequest, said: Analysis | None = None) -> Look:
        """Looks at a request; the task that its caller states is believed.

        `said` is what somebody else found, and takes the place of the analysis here.
        """
        view = view_of(request)
        encoded = self.quality.encode(view.text)
        analysis = said or self._analyst.analyse(view, encoded.features)
        task = request.preferences.task
        if task is not None and task is not analysis.task:
            analysis = msgspec.structs.replace(
                analysis, task=task, task_probability=1.0, source="caller"
            )
        return Look(view, analysis, encoded)

    def predicted(self, look: Look, table: OfferTable, premium_model: str) -> Predicted:
        """How likely each row's model does the request well."""
        quality, doubt = self._rated(look, table, self.quality.difficulty(look.encoded))
        found = self._with_heads(table, premium_model)
        quality[found.rows], doubt[found.rows] = self.quality.predictions(look.encoded, found.heads)
        return Predicted(quality, doubt)

    def predicted_by_ratings(self, look: Look, table: OfferTable) -> Predicted:
        """The same from measured ratings alone; of a model that nobody measured nothing is hoped.

        For prompts unlike all that was trained on, where no head says anything.
        """
        quality, doubt = self._rated(look, table, None)
        quality[~table.measured(look.analysis.task)] = 0.0
        return Predicted(quality, doubt)

    def _rated(
        self, look: Look, table: OfferTable, difficulty: float | None
    ) -> tuple[Amounts, Amounts]:
        """By row, what its model's rating says, whether that has a head or not."""
        return self.quality.scale.predict(
            table.rating_odds(look.analysis.task), difficulty, look.analysis.complexity_score
        )

    def is_blind(self, table: OfferTable) -> bool:
        """Whether nothing is known of how good any of the models is.

        That the dearest is the best would then be a guess that only its seller gains by.
        """
        return not (table.is_rated or len(self._with_heads(table).rows))

    def answer_tokens(self, look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with, reasoning not among them."""
        counts = np.empty(len(table))
        counts.fill(self.quality.typical_output_tokens(look.encoded))
        found = self._with_heads(table)
        counts[found.rows] = look.encoded.tokens[found.heads.places]
        return counts

    def answer_tokens_of(self, look: Look, model: str) -> float:
        """The same of one model."""
        known = self.quality.output_tokens(look.encoded, (model,))
        found = known.get(model)
        return self.quality.typical_output_tokens(look.encoded) if found is None else found

    def _with_heads(self, table: OfferTable, premium_model: str = "") -> HeadRows:
        """Which rows have heads; found once for each table and premium model, of which few are."""
        of_table = self._rows_of.setdefault(table, {})
        found = of_table.get(premium_model)
        if found is None:
            places = {
                row: place
                for row, offer in enumerate(table.offers)
                if (place := self.quality.place(offer.model)) is not None
            }
            is_premium = [table.offers[row].model == premium_model for row in places]
            heads = self.quality.heads([*places.values()], is_premium)
            found = of_table[premium_model] = HeadRows(np.array([*places], dtype=np.intp), heads)
        return found

    def escalates(self, look: Look, premium_model: str) -> bool:
        """Whether the prompt is so unlike anything known that only the premium model is safe."""
        return self._guard.escalates(look.encoded, premium_model)


@lru_cache(maxsize=1)
def shared_judge() -> Judge:
    """The one judge of this process; the first call opens its files.

    Raises:
        ValueError: the encoder's files are missing, or weights are not those of this version.
    """
    return Judge(shared_quality(), Analyst(shared_encoder()))
