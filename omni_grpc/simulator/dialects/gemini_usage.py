"""What an answer says of its usage, as Google reports it, or with the lies that were asked for.

Thoughts stand beside the candidates, and what counts zero is left out.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from omni_grpc.simulator.answer import Counts
from omni_grpc.simulator.behaviour import Behaviour

__all__ = ("Report", "last_reports", "report_so_far", "whole_report")


class _Modality(msgspec.Struct, frozen=True, rename="camel"):
    modality: str
    token_count: int


class UsageReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A `usageMetadata` object."""

    prompt_token_count: int | UnsetType = UNSET
    cached_content_token_count: int | UnsetType = UNSET
    candidates_token_count: int | UnsetType = UNSET
    thoughts_token_count: int | UnsetType = UNSET
    total_token_count: int | UnsetType = UNSET
    prompt_tokens_details: list[_Modality] | UnsetType = UNSET
    candidates_tokens_details: list[_Modality] | UnsetType = UNSET


Report: TypeAlias = UsageReport | UnsetType | None
"""What stands in the field; unset where it is left out."""


def report_so_far(
    counts: Counts,
    completion: int,
    reasoning: int,
    behaviour: Behaviour,
    media: Mapping[str, int],
    *,
    is_first: bool,
) -> Report:
    """The report in the middle of an answer of which so much was sent.

    `media` are the prompt's tokens that are no text, by modality, here and below.
    """
    match behaviour.usage:
        case "none" | "half" | "null":
            return UNSET
        case "early":
            return _report(counts.prompt, counts.cached, 1, 0, media) if is_first else UNSET
        case "zero":
            return _zero()
        case _:
            return _report(counts.prompt, counts.cached, completion, reasoning, media)


def last_reports(
    counts: Counts, behaviour: Behaviour, media: Mapping[str, int]
) -> tuple[Report, ...]:
    """The reports at a stream's end: of its last event, and of events after it."""
    whole = whole_report(counts, behaviour, media)
    match behaviour.usage:
        case "early":
            return (UNSET,)
        case "twice":
            return (whole, whole)
        case "corrected":
            return (_report(counts.prompt, 0, 1, 0, media), whole)
        case _:
            return (whole,)


def whole_report(counts: Counts, behaviour: Behaviour, media: Mapping[str, int]) -> Report:
    """The report of a whole answer."""
    match behaviour.usage:
        case "none":
            return UNSET
        case "null":
            return None
        case "half":
            return UsageReport(prompt_token_count=counts.prompt, total_token_count=counts.prompt)
        case "zero":
            return _zero()
        case _:
            return _report(counts.prompt, counts.cached, counts.completion, counts.reasoning, media)


def _zero() -> UsageReport:
    return UsageReport(prompt_token_count=0, candidates_token_count=0, total_token_count=0)


def _report(
    prompt: int, cached: int, completion: int, reasoning: int, media: Mapping[str, int]
) -> UsageReport:
    text = max(prompt - sum(media.values()), 0)
    candidates = completion - reasoning
    return UsageReport(
        prompt_token_count=prompt,
        cached_content_token_count=cached or UNSET,
        candidates_token_count=candidates or UNSET,
        thoughts_token_count=reasoning or UNSET,
        total_token_count=prompt + completion,
        prompt_tokens_details=[
            _Modality(modality, count) for modality, count in {"TEXT": text, **media}.items()
        ],
        candidates_tokens_details=[_Modality("TEXT", candidates)] if candidates else UNSET,
    )
