"""Prompts that others recorded: benchmark questions with what models made of them.

Reads the folder that is named on the command line; its README says what each part is. A source is
what was collected by one hand: two copies of one benchmark are one source.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

from omni_grpc.routing.analysis.view import view_of
from task_training.rows import UNKNOWN, Row, chance, request_of, varied

_TOOLED = re.compile(r"\[tools=(\d+)\] (.*)", re.DOTALL)
_PYTHON = re.compile(r"\[PYTHON\]\n(.*)\[/PYTHON\]", re.DOTALL)

_LABELS: dict[str, tuple[str | None, int, int, int]] = {
    "mmlu_pro": ("reasoning", 1, 0, 0),
    "gsm": ("reasoning", 1, 0, 0),
    "math": ("reasoning", 1, 0, 0),
    "gpqa": ("reasoning", 1, 0, 0),
    "logicgrid": ("reasoning", 1, 0, 0),
    "mmlu": ("reasoning", UNKNOWN, 0, 0),
    "arc": (None, UNKNOWN, 0, 0),
    "commonsense": (None, UNKNOWN, 0, 0),
    "openbook": (None, UNKNOWN, 0, 0),
    "crux": ("coding", 1, 1, 0),
    "mbpp": ("coding", UNKNOWN, 1, 0),
    "human_eval": ("coding", UNKNOWN, 1, 0),
    "natural_qa": ("chat", 0, 0, 0),
    "trivia_qa": ("chat", 0, 0, 0),
    "commongen": ("chat", 0, 0, 1),
}
"""Task, reasoning, code, creativity of a source. Short questions whose choices were left out may
be either knowledge or inference, so they have no task."""

_SOURCE = {
    "gsm8k": "gsm",
    "agentverse-mgsm": "gsm",
    "math-l5": "math",
    "math_l5": "math",
    "agentverse-logicgrid": "logicgrid",
    "arc_challenge": "arc",
    "commonsense_qa": "commonsense",
    "openbook_qa": "openbook",
}

_MMLU_THOUGHT = frozenset(
    (
        "abstract_algebra",
        "college_mathematics",
        "college_physics",
        "college_chemistry",
        "econometrics",
        "elementary_mathematics",
        "formal_logic",
        "high_school_mathematics",
        "high_school_physics",
        "high_school_statistics",
        "machine_learning",
        "professional_accounting",
        "professional_law",
        "high_school_chemistry",
        "electrical_engineering",
    )
)
_MMLU_KNOWN = frozenset(
    (
        "global_facts",
        "us_foreign_policy",
        "miscellaneous",
        "high_school_geography",
        "world_religions",
        "prehistory",
        "sociology",
        "public_relations",
        "marketing",
        "virology",
        "anatomy",
        "nutrition",
    )
)

_LANGUAGES = {
    "zh": "Chinese",
    "ja": "Japanese",
    "de": "German",
    "es": "Spanish",
    "cs": "Czech",
    "ru": "Russian",
    "uk": "Ukrainian",
    "hi": "Hindi",
    "is": "Icelandic",
}
_ASKED = (
    "Translate to {lang}: {text}",
    "Translate the following English text into {lang}.\n\n{text}",
    "{text}\n\nTranslate the above to {lang}, please.",
    "{lang} translation of: {text}",
    "Give me this in {lang}:\n{text}",
    "Please render in {lang}\n{text}",
)
_CODE_ASKED = (
    "What does this return?\n\n{code}",
    "{code}\nReplace ?? with the value.",
    "Fill in the result of the call.\n```python\n{code}\n```",
    "{code}",
    "Read the function and finish the assertion.\n{code}",
)


def recorded_rows(data: Path) -> list[Row]:
    """All prompts, with hardness on one scale across the sets of models that answered them."""
    rows = [
        *_pool(data, "A"),
        *_pool(data, "B"),
        *_ulab(data),
        *_mmlu(data),
        *_gsm(data),
        *_mt_bench(data),
        *_semantic(data),
        *_pictures(data),
        *_segments(data),
    ]
    return _levelled(rows)


def passages(data: Path) -> dict[str, list[str]]:
    """Texts to fill templates with: they are of no class."""
    found: list[str] = []
    for path in sorted((data / "routellm/mmlu").glob("mmlu_high_school_*_history.csv")):
        for row in _csv(path):
            body = row["prompt"].split("\n")[0]
            if len(body) > 400:  # noqa: PLR2004 - a passage, not a question
                found.append(body)
    segments = [row["src"] for row in _json_lines(data / "wmt24_esa/outcomes.jsonl")]
    return {"passage": found[:300], "segment": list(dict.fromkeys(segments))}


def _pool(data: Path, pool: str) -> Iterator[Row]:
    for record in _json_lines(data / f"routebench/pool_{pool}_dev.jsonl"):
        source = _SOURCE.get(record["source"], record["source"])
        hardness = 1.0 - fmean(record["quality"].values())
        yield _labelled(record["prompt"], source, hardness, pool)


def _labelled(prompt: str, source: str, hardness: float | None, pool: str) -> Row:
    rng = chance(source, prompt)
    tooled = _TOOLED.fullmatch(prompt)
    if tooled:
        count = int(tooled.group(1))
        *said, names = _rsplit(tooled.group(2), count)
        tools = [(name, name.replace("_", " ").replace(".", " ")) for name in names]
        view = view_of(request_of(" ".join(said), tools=tools))
        return Row(view, "agent_step", source, creativity=0, hardness=hardness, pool=pool)
    python = _PYTHON.search(prompt)
    if python and rng.random() < 0.7:  # noqa: PLR2004 - most, so that its wrapper is not learned
        prompt = rng.choice(_CODE_ASKED).format(code=python.group(1).strip())
    task, reasoning, code, creativity = _LABELS[source]
    return Row(
        varied(prompt, rng, tool_share=0.03),
        task,
        source,
        reasoning=reasoning,
        code=code,
        creativity=creativity,
        hardness=hardness,
        pool=pool,
    )


def _rsplit(text: str, count: int) -> tuple[str, list[str]]:
    words = text.rsplit(" ", count)
    return words[0], words[1:]


def _ulab(data: Path) -> Iterator[Row]:
    tasks: dict[str, str] = {}
    for part in ("train", "test"):
        for record in _json_lines(data / f"llmrouter_ulab/default_query_{part}.jsonl"):
            tasks[record["query"]] = record["task_name"]
    records = json.loads((data / "llmrouter_ulab/dcrouter_train.json").read_text("utf-8"))
    for record in records:
        prompt = record["question"]
        name = tasks.get(prompt)
        if name is None:
            continue
        source = _SOURCE.get(name, name)
        hardness = 1.0 - fmean(min(1.0, max(0.0, score)) for score in record["scores"].values())
        yield _labelled(prompt, source, hardness, "ulab")


def _mmlu(data: Path) -> Iterator[Row]:
    for path in sorted((data / "routellm/mmlu").glob("*.csv")):
        subject = path.stem.removeprefix("mmlu_")
        known = {**dict.fromkeys(_MMLU_THOUGHT, 1), **dict.fromkeys(_MMLU_KNOWN, 0)}
        for record in _csv(path):
            prompt = record.pop("prompt").removesuffix("\nAnswer:")
            right = [value == "True" for name, value in record.items() if "_response" not in name]
            yield Row(
                varied(prompt, chance(subject, prompt), tool_share=0.03),
                "reasoning",
                "mmlu",
                reasoning=known.get(subject, UNKNOWN),
                code=0,
                creativity=0,
                hardness=1.0 - fmean(right),
                pool="routellm",
            )


def _gsm(data: Path) -> Iterator[Row]:
    for record in _csv(data / "routellm/gsm8k_responses.csv"):
        right = [record[name] == "True" for name in record if name.endswith(("v0.1", "preview"))]
        yield _labelled(record["prompt"], "gsm", 1.0 - fmean(right), "routellm")


def _mt_bench(data: Path) -> Iterator[Row]:
    scores: dict[int, list[float]] = {}
    for record in _json_lines(data / "routellm/mt_bench_judgements.jsonl"):
        if record["turn"] == 1 and record["score"] >= 0:
            scores.setdefault(record["question_id"], []).append(record["score"] / 10.0)
    kinds: dict[str, tuple[str | None, int, int, int]] = {
        "writing": ("chat", 0, 0, 1),
        "roleplay": ("chat", UNKNOWN, 0, 1),
        "humanities": ("chat", UNKNOWN, 0, 0),
        "extraction": ("chat", 0, 0, 0),
        "reasoning": ("reasoning", 1, 0, 0),
        "math": ("reasoning", 1, 0, 0),
        "coding": ("coding", UNKNOWN, 1, 0),
        "stem": (None, UNKNOWN, 0, 0),
    }
    for record in _json_lines(data / "routellm/mt_bench_question.jsonl"):
        task, reasoning, code, creativity = kinds[record["category"]]
        judged = scores.get(record["question_id"])
        yield Row(
            view_of(request_of(record["turns"][0])),
            task,
            "mt_bench",
            reasoning=reasoning,
            code=code,
            creativity=creativity,
            hardness=1.0 - fmean(judged) if judged else None,
            pool="mt_bench",
        )


def _semantic(data: Path) -> Iterator[Row]:
    kinds = {"code": ("coding", UNKNOWN, 1, 0), "generate": ("chat", 0, 0, 1)}
    for record in _json_lines(data / "task_labels/semantic_train.jsonl"):
        task, reasoning, code, creativity = kinds.get(
            record["task_type"], ("chat", UNKNOWN, UNKNOWN, 0)
        )
        if record["subject"] == "math":
            task, reasoning, code = "reasoning", 1, 0
        elif record["task_type"] in ("analyze", "research"):
            continue
        yield Row(
            view_of(request_of(record["prompt"])),
            task,
            "semantic",
            reasoning=reasoning,
            code=code,
            creativity=creativity,
        )


def _pictures(data: Path) -> Iterator[Row]:
    """Descriptions of pictures. One or two words are no request that anybody could recognise."""
    for record in _csv(data / "task_labels/PartiPrompts.tsv", delimiter="\t"):
        prompt = record["Prompt"]
        if len(prompt.split()) > 2:  # noqa: PLR2004 - see above
            yield Row(
                varied(prompt, chance("parti", prompt), tool_share=0.0, plain=True),
                "image",
                "parti_prompts",
                reasoning=0,
                code=0,
                creativity=1,
            )


def _segments(data: Path) -> Iterator[Row]:
    for record in _json_lines(data / "wmt24_esa/outcomes.jsonl"):
        rng = chance("wmt24", record["id"])
        language = _LANGUAGES[record["langs"].split("-")[1]]
        prompt = rng.choice(_ASKED).format(lang=language, text=record["src"])
        yield Row(
            varied(prompt, rng, tool_share=0.03),
            "translation",
            "wmt24",
            reasoning=0,
            code=0,
            creativity=0,
            hardness=1.0 - fmean(score for score, *_ in record["r"].values()) / 100.0,
            pool="wmt24",
        )


def _levelled(rows: list[Row]) -> list[Row]:
    """Hardness as the models of pool A would have it.

    Other sets of models are weaker or stronger. Grade-school maths was given to most of them, so
    the difference of its mean logits is what is taken off; sets that never had it stay as they are.
    """
    means: dict[str, float] = {}
    for pool in {row.pool for row in rows}:
        shared = [row.hardness for row in rows if row.pool == pool and row.source == "gsm"]
        known = [hardness for hardness in shared if hardness is not None]
        if known:
            means[pool] = _logit(fmean(known))
    levelled = []
    for row in rows:
        if row.hardness is not None and row.pool in means:
            moved = _logit(row.hardness) - means[row.pool] + means["A"]
            row = row.with_hardness(float(1.0 / (1.0 + np.exp(-moved))))  # noqa: PLW2901 - moved
        levelled.append(row)
    return levelled


def _logit(share: float) -> float:
    share = min(0.95, max(0.05, share))
    return float(np.log(share / (1.0 - share)))


def _json_lines(path: Path) -> Iterator[dict]:  # type: ignore[type-arg]  # records of many shapes
    for line in path.read_text("utf-8").split("\n"):
        if line:
            yield json.loads(line)


def _csv(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)
