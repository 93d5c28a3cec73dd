"""RouteLLM's benchmark: two models, MMLU and GSM8K, few labels.

APGR is the mean share of the gap between the weak and the strong model that is recovered, over
all shares of calls to the strong one; CPT50 and CPT80 are the shares of calls that recover 50 and
80 % of it.
"""

import csv
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation.basis_training import SEED, Mixing, Seen, train_basis
from omni_grpc.evaluation.data import Amounts, DataError
from omni_grpc.evaluation.recipe import Recipe
from omni_grpc.routing.learned.basis import Numbers, Stack
from omni_grpc.routing.learned.encoder import Encoder
from omni_grpc.routing.learned.features import read_features

LABELS: Final = 1_500
REPEATS: Final = 10
PENALTY: Final = 100.0
NEAR: Final = 0.9
_CHUNK: Final = 2_000
RECIPE: Final = Recipe(regions=32, landmarks=200, habits=0, form_habits=0)


class Recovered(msgspec.Struct, frozen=True):
    """Means over draws of the labelled prompts.

    `apgr_deviation` is between draws; `apgr_apart` leaves out tested prompts that are nearer than
    `NEAR` to a labelled one, such as questions about one and the same text.
    """

    task: str
    labels: int
    tested: int
    apgr: float
    apgr_deviation: float
    cpt50: float
    cpt80: float
    apgr_apart: float


class _Contaminated(msgspec.Struct, frozen=True):
    """A prompt of the test that RouteLLM found in its own training data."""

    eval_prompt: str = ""


def measure(folder: Path, encoder: Encoder) -> list[Recovered]:
    """Trains on few labels of each task and tests on the rest of it.

    Raises:
        DataError: a file is not as RouteLLM publishes it.
    """
    tasks = {
        "MMLU": (sorted((folder / "mmlu").glob("*.csv")), folder / "mmlu_contaminated.jsonl"),
        "GSM8K": ([folder / "gsm8k_responses.csv"], folder / "gsm8k_contaminated.jsonl"),
    }
    return [_measured(task, files, skip, encoder) for task, (files, skip) in tasks.items()]


def _measured(task: str, files: list[Path], skip: Path, encoder: Encoder) -> Recovered:
    prompts, grades = read_answers(files, skip)
    stack = Stack.of([read_features(prompt, encoder) for prompt in prompts])
    labels = min(LABELS, len(prompts) // 2)
    draws = []
    for repeat in range(REPEATS):
        order = np.random.default_rng(SEED + repeat).permutation(len(prompts))
        known, asked = order[:labels], order[labels:]
        gain = _gains(stack.rows(known), grades[known], stack.rows(asked))
        apart = nearest_likeness(stack.whole[asked], stack.whole[known]) < NEAR
        alone, _, _ = recovered(gain[apart], grades[asked][apart])
        draws.append((*recovered(gain, grades[asked]), alone))
    apgr, cpt50, cpt80, apart_apgr = np.mean(draws, axis=0).tolist()
    return Recovered(
        task,
        labels,
        len(prompts) - labels,
        apgr,
        float(np.std([d[0] for d in draws])),
        cpt50,
        cpt80,
        apart_apgr,
    )


def nearest_likeness(asked: Numbers, known: Numbers) -> Numbers:
    """The cosine of each prompt with the nearest known one."""
    parts = np.array_split(asked, max(1, len(asked) // _CHUNK))
    return np.concatenate([(part @ known.T).max(axis=1) for part in parts])


def _gains(known: Stack, grades: Amounts, asked: Stack) -> Amounts:
    """How much better the strong model is predicted to be."""
    basis = train_basis(Seen(known, ()), RECIPE)
    mixing = Mixing.of(basis)

    def coordinates(stack: Stack) -> Amounts:
        form = basis.form(stack)
        place = basis.place(stack, form)
        found = mixing.mixed(basis.coordinates(form, place, basis.likeness(place)))
        return found.astype(np.float64)

    ours, gain = coordinates(known), grades[:, 1] - grades[:, 0]
    free = np.eye(ours.shape[1])
    free[0, 0] = 1e-6
    heads = np.linalg.solve(ours.T @ ours + PENALTY * free, ours.T @ gain)
    predicted: Amounts = coordinates(asked) @ heads
    return predicted


def recovered(gain: Amounts, grades: Amounts) -> tuple[float, float, float]:
    """APGR, CPT50 and CPT80 of an order of prompts, by predicted gain.

    Args:
        gain: by prompt; those with the largest go to the strong model first.
        grades: `[prompts, (weak, strong)]`.
    """
    order = np.argsort(-gain, kind="stable")
    steps = np.concatenate([[0.0], np.cumsum((grades[:, 1] - grades[:, 0])[order])])
    share = steps / steps[-1]
    calls = np.linspace(0.0, 1.0, len(share))
    apgr = float(np.trapezoid(share, calls))
    half, most = (float(calls[np.argmax(share >= part)]) for part in (0.5, 0.8))
    return apgr, half, most


def read_answers(files: list[Path], skip: Path) -> tuple[list[str], Amounts]:
    """Prompts and grades `[prompts, (weak, strong)]`, without the prompts that `skip` lists.

    Raises:
        DataError: a file is not as RouteLLM publishes it.
    """
    left_out = {
        msgspec.json.decode(line, type=_Contaminated).eval_prompt
        for line in (skip.read_bytes().splitlines() if skip.is_file() else ())
    }
    prompts, grades = [], []
    for path in files:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    weak, strong = list(row.values())[1:3]
                    if row["prompt"] in left_out:
                        continue
                    prompts.append(row["prompt"])
                    grades.append([weak == "True", strong == "True"])
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path} cannot be used: {error}.") from None
    return prompts, np.array(grades, dtype=np.float64)
