"""What a request is about, and how hard it is: found before a model is chosen for it.

Pure values. Who finds them is `routing`; usage reports group by the task.
"""

from enum import StrEnum

import msgspec


class Task(StrEnum):
    """A kind of work; models are rated for each."""

    CHAT = "chat"
    CODING = "coding"
    REASONING = "reasoning"
    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"
    IMAGE = "image"
    AGENT_STEP = "agent_step"


class Complexity(StrEnum):
    """How hard a request is."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    HARD = "hard"


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about one request.

    Attributes:
        task: the likeliest task.
        task_probability: how likely, 0 to 1.
        complexity: the class of `complexity_score`.
        complexity_score: 0 (any model does it) to 1 (the best may fail).
        needs_reasoning: whether several steps lead to the answer.
        needs_code: whether code is read or written.
        needs_creativity: whether there is no one right answer.
        source: who said so: `local`, `caller`, or `model:{offer}`.
    """

    task: Task
    task_probability: float = 1.0
    complexity: Complexity = Complexity.MEDIUM
    complexity_score: float = 0.5
    needs_reasoning: bool = False
    needs_code: bool = False
    needs_creativity: bool = False
    source: str = "local"
