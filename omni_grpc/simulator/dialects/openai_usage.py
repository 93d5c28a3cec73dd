"""What an answer says of its usage, as OpenAI reports it, or with the lies that were asked for."""

import msgspec
from msgspec import UNSET, UnsetType

from omni_grpc.simulator.answer import Counts
from omni_grpc.simulator.behaviour import Behaviour

__all__ = ("UsageReport", "last_reports", "report_so_far", "whole_report")


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int
    audio_tokens: int = 0


class _CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class UsageReport(msgspec.Struct, frozen=True):
    """A `usage` object."""

    prompt_tokens: int | None
    completion_tokens: int | UnsetType | None
    total_tokens: int | None
    prompt_tokens_details: _PromptDetails | UnsetType
    completion_tokens_details: _CompletionDetails | UnsetType


def report_so_far(counts: Counts, completion: int, reasoning: int) -> UsageReport:
    """The report in the middle of an answer of which so much was sent."""
    return _report(counts.prompt, counts.cached, completion, reasoning)


def last_reports(counts: Counts, behaviour: Behaviour) -> tuple[UsageReport, ...]:
    """The reports at a stream's end."""
    whole = whole_report(counts, behaviour)
    match behaviour.usage:
        case "none" | "early":
            return ()
        case "twice":
            return (whole, whole)
        case "corrected":
            return (_report(counts.prompt, 0, 1, 0), whole)
        case _:
            return (whole,)


def whole_report(counts: Counts, behaviour: Behaviour) -> UsageReport:
    """The report of a whole answer."""
    prompt, reasoning = counts.prompt, counts.reasoning
    match behaviour.usage:
        case "half":
            return UsageReport(prompt, UNSET, prompt, UNSET, UNSET)
        case "null":
            return UsageReport(None, None, None, UNSET, UNSET)
        case "apart":
            beside = _report(prompt, counts.cached, counts.completion - reasoning, reasoning)
            return msgspec.structs.replace(beside, total_tokens=prompt + counts.completion)
        case _:
            return _report(prompt, counts.cached, counts.completion, reasoning)


def _report(prompt: int, cached: int, completion: int, reasoning: int) -> UsageReport:
    prompt_details = _PromptDetails(cached)
    details = _CompletionDetails(reasoning)
    return UsageReport(prompt, completion, prompt + completion, prompt_details, details)
