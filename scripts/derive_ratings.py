"""Writes omni_grpc/catalog/rating_facts.py: ratings derived from LiveBench's published results.

    python scripts/derive_ratings.py --data DIR > omni_grpc/catalog/rating_facts.py

DIR holds `livebench/table_<release>.csv` and `categories_<release>.json`. What is written are
derived ratings of models, never a release's table. docs/models.md tells the rule.
"""

import argparse
import csv
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    "CHAT": ("IF", "Language"),
    "CODING": ("Coding",),
    "REASONING": ("Reasoning", "Mathematics"),
    "SUMMARIZATION": ("summarize", "paraphrase", "simplify"),
    "AGENT_STEP": ("Agentic Coding",),
}
"""The categories, or single tests, whose mean is the score of a task."""

OVERALL: Final = "OVERALL"
LINKS_MIN: Final = 6
"""Fewest models that two releases share for one to be put on the other's scale."""

SURE: Final = 0.005
"""No share of right answers counts as nearer to none or all than this: tests are not endless."""

MODELS: Final[Mapping[str, str]] = {
    # OpenAI, at the effort that a call gets which names none.
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
    "gpt-4-turbo-preview": "gpt-4-0125-preview",
    "gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
    "gpt-4o-2024-08-06": "gpt-4o-2024-08-06",
    "gpt-4o": "gpt-4o-2024-11-20",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-4.5-preview": "gpt-4.5-preview-2025-02-27",
    "o1": "o1-2024-12-17-high",
    "o1-mini": "o1-mini-2024-09-12",
    "o1-preview": "o1-preview-2024-09-12",
    "o3": "o3-2025-04-16-medium",
    "o3-mini": "o3-mini-2025-01-31-medium",
    "o3-mini-high": "o3-mini-2025-01-31-high",
    "o3-mini-low": "o3-mini-2025-01-31-low",
    "o4-mini": "o4-mini-2025-04-16-medium",
    "o4-mini-high": "o4-mini-2025-04-16-high",
    "gpt-5": "gpt-5",
    "gpt-5-mini": "gpt-5-mini",
    "gpt-5-nano": "gpt-5-nano",
    "gpt-5-pro": "gpt-5-pro-2025-10-06",
    "gpt-5-codex": "gpt-5-codex",
    "gpt-5-chat": "gpt-5-chat",
    "gpt-5-chat-latest": "gpt-5-chat",
    "gpt-5.1": "gpt-5.1-2025-11-13-nothinking",
    "gpt-5.1-thinking": "gpt-5.1-2025-11-13-medium",
    "gpt-5.1-codex": "gpt-5.1-codex",
    "gpt-5.1-codex-max": "gpt-5.1-codex-max",
    "gpt-5.1-codex-mini": "gpt-5.1-codex-mini",
    "gpt-5.2": "gpt-5.2-2025-12-11-nothinking",
    "gpt-5.2-codex": "gpt-5.2-codex",
    "gpt-5.3-codex": "gpt-5.3-codex-high",
    "gpt-5.3-codex-xhigh": "gpt-5.3-codex-xhigh",
    "gpt-5.3-instant": "gpt-5.3-instant",
    "gpt-5.3-chat": "gpt-5.3-instant",
    "gpt-5.3-chat-latest": "gpt-5.3-instant",
    "gpt-5.4": "gpt-5.4-high",
    "gpt-5.4-mini": "gpt-5.4-mini",
    "gpt-5.4-nano": "gpt-5.4-nano",
    "gpt-5.5": "gpt-5.5-medium",
    "gpt-oss-120b": "gpt-oss-120b",
    # Anthropic, without thinking where that was measured.
    "claude-3-haiku": "claude-3-haiku-20240307",
    "claude-3-sonnet": "claude-3-sonnet-20240229",
    "claude-3-opus": "claude-3-opus-20240229",
    "claude-3-5-haiku": "claude-3-5-haiku-20241022",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet-20240620",
    "claude-3-5-sonnet": "claude-3-5-sonnet-20241022",
    "claude-3-7-sonnet": "claude-3-7-sonnet-20250219-base",
    "claude-3-7-sonnet-thinking": "claude-3-7-sonnet-20250219-thinking-64k",
    "claude-opus-4": "claude-4-opus-20250514-base",
    "claude-sonnet-4": "claude-4-sonnet-20250514-base",
    "claude-sonnet-4-thinking": "claude-4-sonnet-20250514-thinking-64k",
    "claude-opus-4-1": "claude-4-1-opus-20250805-base",
    "claude-opus-4-1-thinking": "claude-4-1-opus-20250805-thinking-32k",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-5-thinking": "claude-sonnet-4-5-20250929-thinking-64k",
    "claude-opus-4-5": "claude-opus-4-5-20251101-high-effort",
    "claude-opus-4-5-thinking": "claude-opus-4-5-20251101-thinking-64k-high-effort",
    "claude-sonnet-4-6": "claude-sonnet-4-6-thinking-auto-high-effort",
    "claude-opus-4-6": "claude-opus-4-6-thinking-auto-high-effort",
    "claude-opus-4-7": "claude-opus-4-7-high-effort",
    "claude-opus-4-8": "claude-opus-4-8-high-effort",
    # Google.
    "gemini-1.5-flash": "gemini-1.5-flash-002",
    "gemini-1.5-pro": "gemini-1.5-pro-002",
    "gemini-2.0-flash": "gemini-2.0-flash-001",
    "gemini-2.0-flash-001": "gemini-2.0-flash-001",
    "gemini-2.0-flash-lite": "gemini-2.0-flash-lite-001",
    "gemini-2.0-flash-lite-001": "gemini-2.0-flash-lite-001",
    "gemini-2.5-flash": "gemini-2.5-flash-06-05-highthinking",
    "gemini-2.5-flash-preview-09-2025": "gemini-2.5-flash-preview-09-2025-highthinking",
    "gemini-2.5-flash-lite": "gemini-2.5-flash-lite-highthinking",
    "gemini-2.5-flash-lite-preview-09-2025": "gemini-2.5-flash-lite-preview-09-2025-highthinking",
    "gemini-2.5-pro": "gemini-2.5-pro-06-05-highthinking",
    "gemini-3-flash-preview": "gemini-3-flash-preview-high",
    "gemini-3-flash": "gemini-3-flash-preview-high",
    "gemini-3-pro-preview": "gemini-3-pro-preview-11-2025-high",
    "gemini-3-pro": "gemini-3-pro-preview-11-2025-high",
    "gemini-3.1-pro-preview": "gemini-3.1-pro-preview-high",
    "gemini-3.1-pro": "gemini-3.1-pro-preview-high",
    "gemini-3.1-flash-lite-preview": "gemini-3.1-flash-lite-preview-high",
    "gemini-3.1-flash-lite": "gemini-3.1-flash-lite-preview-high",
    "gemini-3.5-flash": "gemini-3.5-flash-high",
    "gemma-2-9b-it": "gemma-2-9b-it",
    "gemma-2-27b-it": "gemma-2-27b-it",
    "gemma-3-4b-it": "gemma-3-4b-it",
    "gemma-3-12b-it": "gemma-3-12b-it",
    "gemma-3-27b-it": "gemma-3-27b-it",
    "gemma-4-31b-it": "gemma-4-31b-it",
    # xAI.
    "grok-2": "grok-2-1212",
    "grok-3": "grok-3-beta",
    "grok-3-mini": "grok-3-mini-beta-high",
    "grok-4": "grok-4-0709",
    "grok-4-0709": "grok-4-0709",
    "grok-4-fast-reasoning": "grok-4-fast-reasoning-2511",
    "grok-4-fast": "grok-4-fast-reasoning-2511",
    "grok-4-fast-non-reasoning": "grok-4-fast-non-reasoning-2511",
    "grok-4-1-fast-reasoning": "grok-4-1-fast-reasoning",
    "grok-4-1-fast": "grok-4-1-fast-reasoning",
    "grok-4-1-fast-non-reasoning": "grok-4-1-fast-non-reasoning",
    "grok-code-fast-1": "grok-code-fast-1-0825",
    "grok-4.20-reasoning": "grok-4.20-beta-0309-reasoning",
    "grok-4.20-0309-reasoning": "grok-4.20-beta-0309-reasoning",
    "grok-4.20-non-reasoning": "grok-4.20-beta-0309-non-reasoning",
    "grok-4.20-0309-non-reasoning": "grok-4.20-beta-0309-non-reasoning",
    "grok-4.3": "grok-4.3",
    "grok-build-0.1": "grok-build-0.1",
    # DeepSeek.
    "deepseek-r1": "deepseek-r1",
    "deepseek-r1-0528": "deepseek-r1-0528",
    "deepseek-r1-distill-llama-70b": "deepseek-r1-distill-llama-70b",
    "deepseek-r1-distill-qwen-32b": "deepseek-r1-distill-qwen-32b",
    "deepseek-v3": "deepseek-v3",
    "deepseek-v3-0324": "deepseek-v3-0324",
    "deepseek-v3.1-terminus": "deepseek-v3.1-terminus",
    "deepseek-v3.2": "deepseek-v3.2",
    "deepseek-v3.2-exp": "deepseek-v3.2-exp",
    "deepseek-v3.2-thinking": "deepseek-v3.2-thinking",
    "deepseek-chat": "deepseek-v3.2",
    "deepseek-reasoner": "deepseek-v3.2-thinking",
    "deepseek-v4-pro": "deepseek-v4-pro",
    "deepseek-v4-flash": "deepseek-v4-flash",
    # Meta.
    "llama-3-8b-instruct": "meta-llama-3-8b-instruct",
    "meta-llama-3-8b-instruct": "meta-llama-3-8b-instruct",
    "llama-3-70b-instruct": "meta-llama-3-70b-instruct",
    "meta-llama-3-70b-instruct": "meta-llama-3-70b-instruct",
    "llama-3.1-8b-instruct": "meta-llama-3.1-8b-instruct-turbo",
    "llama-3.1-8b-instant": "meta-llama-3.1-8b-instruct-turbo",
    "meta-llama-3.1-8b-instruct": "meta-llama-3.1-8b-instruct-turbo",
    "llama-3.1-70b-instruct": "meta-llama-3.1-70b-instruct-turbo",
    "meta-llama-3.1-70b-instruct": "meta-llama-3.1-70b-instruct-turbo",
    "llama-3.1-405b-instruct": "meta-llama-3.1-405b-instruct-turbo",
    "meta-llama-3.1-405b-instruct": "meta-llama-3.1-405b-instruct-turbo",
    "llama-3.3-70b-instruct": "llama-3.3-70b-instruct-turbo",
    "llama-3.3-70b-versatile": "llama-3.3-70b-instruct-turbo",
    "llama-3.3-70b-instruct-turbo": "llama-3.3-70b-instruct-turbo",
    "llama-4-maverick": "llama4-maverick-instruct-basic",
    "llama-4-maverick-17b-128e-instruct": "llama4-maverick-instruct-basic",
    "llama-4-maverick-17b-128e-instruct-fp8": "llama4-maverick-instruct-basic",
    # Mistral.
    "open-mistral-nemo": "open-mistral-nemo",
    "mistral-nemo": "open-mistral-nemo",
    "mistral-7b-instruct": "mistral-7b-instruct-v0.3",
    "mixtral-8x7b-instruct": "mixtral-8x7b-instruct-v0.1",
    "mixtral-8x22b-instruct": "mixtral-8x22b-instruct-v0.1",
    "mistral-large-2407": "mistral-large-2407",
    "mistral-large-2411": "mistral-large-2411",
    "mistral-medium-2505": "mistral-medium-2505",
    "mistral-medium-3": "mistral-medium-2505",
    "mistral-small-2503": "mistral-small-2503",
    "mistral-small-24b-instruct-2501": "mistral-small-2501",
    "devstral-2512": "devstral-2512",
    # Alibaba.
    "qwen-2.5-72b-instruct": "qwen2.5-72b-instruct-turbo",
    "qwen2-5-72b-instruct": "qwen2.5-72b-instruct-turbo",
    "qwen2-5-7b-instruct": "qwen2.5-7b-instruct-turbo",
    "qwen2.5-coder-32b-instruct": "qwen2.5-coder-32b-instruct",
    "qwen-max": "qwen2.5-max",
    "qwq-32b": "qwq-32b",
    "qwen3-14b": "qwen3-14b-thinking",
    "qwen3-32b": "qwen3-32b-thinking",
    "qwen3-30b-a3b": "qwen3-30b-a3b-thinking",
    "qwen3-235b-a22b": "qwen3-235b-a22b-thinking",
    "qwen3-235b-a22b-instruct-2507": "qwen3-235b-a22b-instruct-2507",
    "qwen3-235b-a22b-thinking-2507": "qwen3-235b-a22b-thinking-2507",
    "qwen3-coder-480b-a35b-instruct": "qwen3-coder-480b-a35b-instruct",
    "qwen3-max": "qwen3-max-2025-09-23",
    "qwen3-next-80b-a3b-instruct": "qwen3-next-80b-a3b-instruct",
    "qwen3-next-80b-a3b-thinking": "qwen3-next-80b-a3b-thinking",
    "qwen3.6-plus": "qwen3.6-plus",
    "qwen3.6-27b": "qwen3.6-27b",
    "qwen3.6-flash": "qwen3.6-flash",
    "qwen3.7-max": "qwen3.7-max",
    # Others.
    "glm-4.5": "glm-4.5",
    "glm-4.5-air": "glm-4.5-air",
    "glm-4.6": "glm-4.6",
    "glm-4.6v": "glm-4.6v",
    "glm-4.7": "glm-4.7",
    "glm-5": "glm-5",
    "glm-5v-turbo": "glm-5v-turbo",
    "glm-5.1": "glm-5.1",
    "glm-5.2": "glm-5.2",
    "kimi-k2": "kimi-k2-instruct",
    "kimi-k2-instruct": "kimi-k2-instruct",
    "kimi-k2-thinking": "kimi-k2-thinking",
    "kimi-k2.5": "kimi-k2.5-thinking",
    "kimi-k2.6": "kimi-k2.6-thinking",
    "kimi-k2.7-code": "kimi-k2.7-code",
    "minimax-m2": "minimax-m2",
    "minimax-m2.5": "minimax-m2.5",
    "minimax-m2.7": "minimax-m2.7",
    "minimax-m3": "minimax-m3",
    "mimo-v2-pro": "mimo-v2-pro",
    "nemotron-3-super-120b-a12b": "nemotron-3-super-120b-a12b",
    "nemotron-3-ultra-550b-a55b": "nemotron-3-ultra-550b-a55b",
    "trinity-large-preview": "arcee-trinity-large-preview",
    "arcee-ai/trinity-large-preview": "arcee-trinity-large-preview",
    "command-a": "command-a-03-2025",
    "command-a-03-2025": "command-a-03-2025",
    "command-r-08-2024": "command-r-08-2024",
    "command-r-plus-08-2024": "command-r-plus-08-2024",
    "nova-micro-v1": "amazon.nova-micro-v1:0",
    "nova-lite-v1": "amazon.nova-lite-v1:0",
    "nova-pro-v1": "amazon.nova-pro-v1:0",
    "sonar": "perplexity-sonar",
    "sonar-pro": "perplexity-sonar-pro",
    "phi-3-mini-128k-instruct": "phi-3-mini-128k-instruct",
    "phi-3-medium-128k-instruct": "phi-3-medium-128k-instruct",
    "phi-3.5-moe-instruct": "phi-3.5-moe-instruct",
    "phi-4": "phi-4",
    "phi-4-reasoning-plus": "phi-4-reasoning-plus",
    "step-2-16k": "step-2-16k-202411",
}
"""Canonical ids of the catalog, and what LiveBench calls the model behind each."""

Scores = dict[str, dict[str, float]]
"""By measure, then by LiveBench's name of the model."""


def read_release(folder: Path, release: str) -> Scores:
    """The scores of one release: the mean of each measure's parts; overall, of all categories."""
    categories = json.loads((folder / f"categories_{release}.json").read_text("utf-8"))
    scores: Scores = {measure: {} for measure in (OVERALL, *MEASURES)}
    with (folder / f"table_{release}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = row.pop("model")
            tests = {test: float(score) for test, score in row.items() if score}
            means = {
                category: statistics.fmean(tests[test] for test in members)
                for category, members in categories.items()
                if all(test in tests for test in members)
            }
            if len(means) == len(categories):
                scores[OVERALL][name] = statistics.fmean(means.values())
            known = tests | means
            for measure, parts in MEASURES.items():
                if all(part in known for part in parts):
                    scores[measure][name] = statistics.fmean(known[part] for part in parts)
    return scores


def link(old: Mapping[str, float], new: Mapping[str, float]) -> Callable[[float], float] | None:
    """From one scale to another: the models of both get the same mean and spread of log odds.

    Log odds, since neither scale goes below 0 or above 100.
    """
    shared = sorted(old.keys() & new.keys())
    if len(shared) < LINKS_MIN:
        return None
    before, after = ([_log_odds(scale[name]) for name in shared] for scale in (old, new))
    from_mean, to_mean = statistics.fmean(before), statistics.fmean(after)
    slope = statistics.pstdev(after) / statistics.pstdev(before)
    return lambda score: _percent(to_mean + (_log_odds(score) - from_mean) * slope)


def _log_odds(percent: float) -> float:
    share = min(1 - SURE, max(SURE, percent / 100))
    return math.log(share / (1 - share))


def _percent(log_odds: float) -> float:
    return 100 / (1 + math.exp(-log_odds))


def linked(folder: Path) -> Scores:
    """Every model of every release on the newest release's scale; the newest word counts."""
    releases = sorted(path.stem.removeprefix("table_") for path in folder.glob("table_*.csv"))
    found: Scores = {measure: {} for measure in (OVERALL, *MEASURES)}
    for release in reversed(releases):
        scores = read_release(folder, release)
        for measure, known in found.items():
            line = link(scores[measure], known) if known else (lambda score: score)
            if line is not None:
                known.update(
                    {
                        name: line(score)
                        for name, score in scores[measure].items()
                        if name not in known
                    }
                )
    for measure in MEASURES:
        # A task's scale is put on the overall one, so that the overall rating can stand for it.
        line = link(found[measure], found[OVERALL])
        if line is not None:
            found[measure] = {name: line(score) for name, score in found[measure].items()}
    return found


def ratings(scores: Scores) -> dict[str, dict[str, int]]:
    """Whole numbers from 1 to 99, by canonical id and measure."""
    return {
        model: {
            measure: min(99, max(1, round(known[name])))
            for measure, known in scores.items()
            if name in known
        }
        for model, name in MODELS.items()
        if name in scores[OVERALL]
    }


def render(found: Mapping[str, Mapping[str, int]], release: str) -> str:
    """The text of rating_facts.py."""
    year, month, day = map(int, release.split("_"))
    rows = (
        f'    ("{model}", ({", ".join(str(values.get(name)) for name in (OVERALL, *MEASURES))})),'
        for model, values in sorted(found.items())
    )
    tasks = "\n".join(f"    Task.{measure}," for measure in MEASURES)
    return TEMPLATE.format(year=year, month=month, day=day, tasks=tasks, rows="\n".join(rows))


TEMPLATE: Final = '''"""Ratings of well-known models, derived from LiveBench's results.

Written by scripts/derive_ratings.py; docs/models.md tells the rule. Every task is on the overall
scale, so that the overall rating can stand for a task that was not measured.
"""

import datetime as dt
from typing import Final

from omni_grpc.core.task import Task

RATING_FACTS_SOURCE: Final = "derived from LiveBench (livebench.ai)"
RATING_FACTS_DATE: Final = dt.date({year}, {month}, {day})

RATING_TASKS: Final = (
    None,
{tasks}
)
"""What the numbers are of; None is overall."""

RATING_FACTS: Final[tuple[tuple[str, tuple[int | None, ...]], ...]] = (
{rows}
)
'''


def main() -> None:
    """Prints the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds livebench/")
    folder = parser.parse_args().data / "livebench"
    newest = max(path.stem.removeprefix("table_") for path in folder.glob("table_*.csv"))
    sys.stdout.write(render(ratings(linked(folder)), newest))


if __name__ == "__main__":
    main()
