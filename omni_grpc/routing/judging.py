"""Finds what a request is about, and predicts how well each model would do it, at what length.

Models that were trained on have heads of their own; all others are judged by their ratings, made
better or worse as the prompt is easier or harder. A prompt unlike all that was trained on goes to
the premium model, unless it is plain. Nobody is asked, and nothing waits.
"""

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.task import Analysis, Task
from omni_grpc.routing.analysis import Analyst, PromptView, view_of
from omni_grpc.routing.analysis.view import TEXT_CHARS_MAX
from omni_grpc.routing.learned import Encoded, Guard, Quality, shared_encoder, shared_quality
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


class Judge:
    """Judges by what ships with the package. Threads may share it."""

    def __init__(self, quality: Quality, analyst: Analyst) -> None:
        self.quality = quality
        self._analyst = analyst
        self._guard = Guard(quality)
        self._known_of: tuple[OfferTable | None, dict[str, int]] = (None, {})

    def look(self, request: ChatRequest, said: Analysis | None = None) -> Look:
        """Looks at a request; the task that its caller states is believed.

        `said` is what somebody else found, and takes the place of the analysis here.
        """
        view = view_of(request)
        encoded = self.quality.encode(view.text)
        analysis = said or self._analyst.analyse(view, encoded.vector)
        task = request.preferences.task
        if task is not None and task is not analysis.task:
            analysis = msgspec.structs.replace(
                analysis, task=task, task_probability=1.0, source="caller"
            )
        return Look(view, analysis, encoded)

    def predicted(self, look: Look, table: OfferTable, premium_model: str) -> Predicted:
        """How likely each row's model does the request well."""
        quality, doubt = self._rated(look, table, self.quality.difficulty(look.encoded))
        predictions = self.quality.predict(look.encoded, tuple(self._known(table)), premium_model)
        for model, place in self._known(table).items():
            one = predictions[model]
            quality[place] = one.mean
            doubt[place] = one.doubt
        rows = table.model_of
        return Predicted(quality[rows], doubt[rows])

    def predicted_by_ratings(self, look: Look, table: OfferTable) -> Predicted:
        """The same from measured ratings alone; of a model that nobody measured nothing is hoped.

        For prompts unlike all that was trained on, where no head says anything.
        """
        quality, doubt = self._rated(look, table, None)
        quality[~table.measured(look.analysis.task)] = 0.0
        rows = table.model_of
        return Predicted(quality[rows], doubt[rows])

    def _rated(
        self, look: Look, table: OfferTable, difficulty: float | None
    ) -> tuple[Amounts, Amounts]:
        """By model, what its rating says, whether it has a head or not."""
        return self.quality.scale.predict(
            table.rating_odds(look.analysis.task), difficulty, look.analysis.complexity_score
        )

    def is_blind(self, table: OfferTable) -> bool:
        """Whether nothing is known of how good any of the models is.

        That the dearest is the best would then be a guess that only its seller gains by.
        """
        return not (table.is_rated or self._known(table))

    def answer_tokens(self, look: Look, table: OfferTable) -> Amounts:
        """How many tokens each row's model will probably answer with, reasoning not among them."""
        counts = np.full(len(table.models), self.quality.typical_output_tokens(look.encoded))
        known = self._known(table)
        for model, count in self.quality.output_tokens(look.encoded, tuple(known)).items():
            counts[known[model]] = count
        return counts[table.model_of]

    def answer_tokens_of(self, look: Look, model: str) -> float:
        """The same of one model."""
        known = self.quality.output_tokens(look.encoded, (model,))
        found = known.get(model)
        return self.quality.typical_output_tokens(look.encoded) if found is None else found

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
    return Judge(shared_quality(), Analyst(encoder_kind=shared_encoder().kind))
