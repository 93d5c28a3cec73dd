"""From a view of a request to its task, its complexity and its needs, locally and at once.

One matrix of trained weights gives all of it; two facts of form go before the weights, because
they are no matter of likelihood: a conversation in which tools have answered is a step of an
agent, and where nothing is said there is nothing to find. Never raises, whatever the text holds.
"""

import math
import operator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omni_grpc.core.task import Analysis, Complexity, Task
from omni_grpc.routing.analysis.features import dense_features, terms_of
from omni_grpc.routing.analysis.view import PromptView
from omni_grpc.routing.analysis.vocabulary import HEAD_WORDS, TAIL_WORDS
from omni_grpc.routing.analysis.weights import FILE, Weights
from omni_grpc.routing.learned import Encoder, Features

Vector = NDArray[np.float32]

SIMPLE_BELOW: Final = 0.2
"""Four models in five answer right."""

HARD_FROM: Final = 0.45
"""Nearly every second model fails."""

AGENT_PROBABILITY: Final = 0.99
"""Of a conversation in which tools have answered; the rest is for what nobody thought of."""

NOTHING_SAID: Final = Analysis(
    task=Task.CHAT,
    task_probability=0.5,
    complexity=Complexity.SIMPLE,
    complexity_score=0.0,
)
"""What is found where neither text nor part nor tool is given."""

_LOGIT_MAX: Final = 60.0

_ONES: Final = np.ones(4 * 3 * (HEAD_WORDS + TAIL_WORDS), dtype=np.float32)
"""One for each term that a prompt may have."""


class Analyst:
    """Analyses prompts; one instance serves a process."""

    def __init__(self, encoder: Encoder, path: Path = FILE) -> None:
        """Opens the weights; `encoder` is the one whose vectors and words they know.

        Raises:
            ValueError: they are of another form or of another encoder.
        """
        weights = Weights(path)
        self._encoder = encoder
        self._header = weights.header
        self._places = weights.vocabulary.in_all_zones()
        self._need_logits = [math.log(one / (1.0 - one)) for one in self._header.need_thresholds]
        self._tasks = tuple(Task(name) for name in weights.header.tasks)
        # Copied, 1.6 MB in all: widening and reading a map row by row takes longer than adding up.
        self._dense = np.array(weights.dense)
        self._terms = np.array(weights.terms, dtype=np.float32)

    def analyse(self, prompt: PromptView, read: Features) -> Analysis:
        """What a prompt is about. `read` is what was read of `prompt.text`."""
        if not (prompt.user or prompt.images or prompt.tool_results or prompt.tool_count):
            return NOTHING_SAID
        logits = self._logits(prompt, read)
        header = self._header
        count = len(self._tasks)
        said = logits.tolist()
        best = int(logits[:count].argmax())
        task, probability = self._tasks[best], _share(said[:count], best, header.temperature)
        if prompt.tool_results:
            task, probability = Task.AGENT_STEP, AGENT_PROBABILITY
        reasoning, code, creativity = map(operator.ge, said[count:-1], self._need_logits)
        score = _sigmoid(said[-1] * header.complexity_scale + header.complexity_shift)
        return Analysis(
            task=task,
            task_probability=probability,
            complexity=complexity_of(score),
            complexity_score=score,
            needs_reasoning=reasoning,
            needs_code=code,
            needs_creativity=creativity,
        )

    def _logits(self, prompt: PromptView, read: Features) -> Vector:
        """All outputs before calibration: tasks, needs, complexity."""
        logits: Vector = dense_features(prompt, read).dot(self._dense)
        places = self._places.take(terms_of(prompt, read, self._encoder))
        logits += _ONES[: len(places)].dot(self._terms.take(places, axis=0))
        return logits


def complexity_of(score: float) -> Complexity:
    """The class of a score of 0 to 1."""
    if score < SIMPLE_BELOW:
        return Complexity.SIMPLE
    return Complexity.HARD if score >= HARD_FROM else Complexity.MEDIUM


def _share(logits: list[float], best: int, temperature: float) -> float:
    """The softmax of the largest logit."""
    return 1.0 / sum([math.exp((logit - logits[best]) / temperature) for logit in logits])


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(_LOGIT_MAX, max(-_LOGIT_MAX, logit))))
