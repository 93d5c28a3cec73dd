"""Wider data: prompts that other models answered, which tell what is hard, not who is good at it.

LLMRouter's questions (14 tasks, 9 models) and RouteLLM's answers to MMLU (2 models). What is near
a prompt of the pools is left out: it would tell the answer to a prompt that is judged on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation.basis_training import Wider
from omni_grpc.evaluation.data import DataError, other_data
from omni_grpc.evaluation.routellm import nearest_likeness, read_answers
from omni_grpc.routing.learned.basis import Numbers, Stack
from omni_grpc.routing.learned.encoder import Encoder
from omni_grpc.routing.learned.features import read_features

NEAR: Final = 0.9


class _Question(msgspec.Struct, frozen=True):
    """One of LLMRouter's questions with each model's score."""

    question: str
    scores: dict[str, float]


def read_wider(
    folder: Path, encoder: Encoder, measured: Numbers, progress: Callable[[str], None]
) -> Wider | None:
    """Reads both data sets where they lie in or beside the folder of the pools; else None.

    Args:
        folder: of the pools.
        encoder: of the prompts.
        measured: the vectors of the pools' prompts, `[prompts, DIMENSIONS]`.
        progress: is told what is read.

    Raises:
        DataError: a file is not as it is published.
    """
    ulab, routellm = other_data(folder, "llmrouter_ulab"), other_data(folder, "routellm")
    if ulab is None or routellm is None:
        return None
    questions = _questions(ulab / "dcrouter_train.json")
    prompts, grades = read_answers(
        sorted((routellm / "mmlu").glob("*.csv")), routellm / "mmlu_contaminated.jsonl"
    )
    # Each prompt once: of a repeated one, what was read last.
    ease = {one.question: (float(np.mean(list(one.scores.values()))), 0) for one in questions}
    ease |= {one: (mean, 1) for one, mean in zip(prompts, grades.mean(axis=1), strict=True)}
    progress(f"reading {len(ease):,} prompts of other data")
    stack = Stack.of([read_features(prompt, encoder) for prompt in ease])
    apart = nearest_likeness(stack.whole, measured) < NEAR
    means, groups = zip(*ease.values(), strict=True)
    return Wider(stack.rows(apart), np.array(means)[apart], np.array(groups, dtype=np.intp)[apart])


def _questions(path: Path) -> list[_Question]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Question])
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be used: {error}.") from None
