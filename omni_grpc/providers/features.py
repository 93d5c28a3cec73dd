"""What a chat may ask of a provider beyond plain text, and which of it a request asks.

Each dialect says of each feature whether it carries it natively, maps it onto something else, or
refuses it; docs/providers.md shows the table. What is refused is refused before a call, by the name
of the request's field, unless the caller declared that field optional.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from omni_grpc.core.chat import (
    NO_SAMPLING,
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Sampling,
    TextPart,
)


class Support(StrEnum):
    """How a dialect carries a feature."""

    NATIVE = "native"
    MAPPED = "mapped"
    REFUSED = "refused"


class Feature(StrEnum):
    """One thing that a request may ask; the values are the names in tables and in `refuses`."""

    SYSTEM = "system prompts"
    IMAGE_URL = "images by URL"
    IMAGE_DATA = "images inline"
    IMAGE_ID = "images by file id"
    AUDIO = "audio"
    FILE_DATA = "files inline"
    FILE_ID = "files by id"
    FILE_URL = "files by URL"
    TOOLS = "tools"
    PARALLEL_TOOLS = "parallel_tool_calls"
    FORCED_TOOL = "forced tool choice"
    STRICT_TOOLS = "strict tools"
    JSON_OBJECT = "JSON answers"
    JSON_SCHEMA = "structured output"
    REASONING_EFFORT = "reasoning effort"
    REASONING_BUDGET = "reasoning budget"
    REASONING_SUMMARY = "reasoning summary"
    REASONING_CARRIED = "reasoning carried back"
    CACHE_MARKS = "prompt-cache marks"
    SAMPLING = "temperature and top_p"
    TOP_K = "top_k"
    PENALTIES = "penalties"
    LOGIT_BIAS = "logit_bias"
    SEED = "seed"
    STOP = "stop sequences"
    LOGPROBS = "logprobs"
    CHOICES = "several choices"
    SAFETY = "safety settings"
    REFUSALS = "refusals carried back"
    TOOL_FAILURES = "failed tool results"


REASONING = frozenset(
    {Feature.REASONING_EFFORT, Feature.REASONING_BUDGET, Feature.REASONING_SUMMARY}
)
"""What only a model that reasons can do, whatever its provider can."""

FeatureSupport = Mapping[Feature, Support]


class Asked(msgspec.Struct, frozen=True):
    """A feature that a request asks, and the field by which it does."""

    feature: Feature
    field: str


_SYSTEM = frozenset({"system", "developer"})


class _LastAsked:
    """What the last request asked: one request is looked at for each of its candidates in turn."""

    __slots__ = ("asked", "request")

    def __init__(self) -> None:
        self.request: ChatRequest | None = None
        self.asked: tuple[Asked, ...] = ()


_last = _LastAsked()


def features_of(request: ChatRequest) -> tuple[Asked, ...]:
    """What a request asks, each feature at most once a place.

    Reasoning, refusals and failed tools of earlier turns are no demands: a dialect that has no form
    for them leaves them out, or says them as text.
    """
    if _last.request is not request:
        _last.asked = tuple(_features_of(request))
        _last.request = request
    return _last.asked


def _features_of(request: ChatRequest) -> Iterator[Asked]:
    for place, message in enumerate(request.messages):
        if isinstance(message.content, tuple) or message.role in _SYSTEM:
            yield from _of_message(message, f"messages[{place}]")
    if request.tools:
        yield from _of_tools(request)
    form = request.response_format
    if form is not None and form.kind != "text":
        is_schema = form.kind == "json_schema"
        yield Asked(Feature.JSON_SCHEMA if is_schema else Feature.JSON_OBJECT, "response_format")
    if request.reasoning_effort is not None:
        yield Asked(Feature.REASONING_EFFORT, "reasoning_effort")
    if request.reasoning_budget is not None:
        yield Asked(Feature.REASONING_BUDGET, "reasoning_budget")
    if request.reasoning_summary is not None:
        yield Asked(Feature.REASONING_SUMMARY, "reasoning_summary")
    if request.safety:
        yield Asked(Feature.SAFETY, "safety_settings")
    if request.sampling != NO_SAMPLING:
        yield from _of_sampling(request.sampling)


def _of_message(message: Message, field: str) -> Iterator[Asked]:
    if message.role in _SYSTEM:
        yield Asked(Feature.SYSTEM, field)
    content = message.content
    if isinstance(content, tuple):
        for place, part in enumerate(content):
            yield from _of_part(part, f"{field}.content[{place}]")


def _of_part(part: Part, field: str) -> Iterator[Asked]:
    if isinstance(part, TextPart | ImagePart | FilePart) and part.cache is not None:
        yield Asked(Feature.CACHE_MARKS, f"{field}.cache_control")
    match part:
        case ImagePart():
            yield Asked(_of_image(part), field)
        case AudioPart():
            yield Asked(Feature.AUDIO, field)
        case FilePart():
            yield Asked(_of_file(part), field)
        case TextPart() | RefusalPart():
            pass


def _of_image(part: ImagePart) -> Feature:
    if part.file_id is not None:
        return Feature.IMAGE_ID
    return Feature.IMAGE_DATA if part.url.startswith("data:") else Feature.IMAGE_URL


def _of_file(part: FilePart) -> Feature:
    if part.file_id is not None:
        return Feature.FILE_ID
    return Feature.FILE_DATA if part.file_url is None else Feature.FILE_URL


def _of_tools(request: ChatRequest) -> Iterator[Asked]:
    yield Asked(Feature.TOOLS, "tools")
    if any(tool.strict for tool in request.tools):
        yield Asked(Feature.STRICT_TOOLS, "tools.strict")
    if any(tool.cache is not None for tool in request.tools):
        yield Asked(Feature.CACHE_MARKS, "tools.cache_control")
    choice = request.tool_choice
    if choice is not None and (choice.name is not None or choice.mode == "required"):
        yield Asked(Feature.FORCED_TOOL, "tool_choice")
    # True is everybody's default, and one tool that is forced by name is called once anyhow.
    is_forced = choice is not None and choice.name is not None
    if request.parallel_tool_calls is False and not is_forced:
        yield Asked(Feature.PARALLEL_TOOLS, "parallel_tool_calls")


def _of_sampling(sampling: Sampling) -> Iterator[Asked]:
    for feature, field, is_asked in (
        (Feature.SAMPLING, "temperature", sampling.temperature is not None),
        (Feature.SAMPLING, "top_p", sampling.top_p is not None),
        (Feature.TOP_K, "top_k", sampling.top_k is not None),
        (Feature.PENALTIES, "frequency_penalty", bool(sampling.frequency_penalty)),
        (Feature.PENALTIES, "presence_penalty", bool(sampling.presence_penalty)),
        (Feature.LOGIT_BIAS, "logit_bias", bool(sampling.logit_bias)),
        (Feature.SEED, "seed", sampling.seed is not None),
        (Feature.STOP, "stop", bool(sampling.stop)),
        (Feature.LOGPROBS, "logprobs", bool(sampling.logprobs)),
        (Feature.CHOICES, "n", (sampling.choice_count or 1) > 1),
    ):
        if is_asked:
            yield Asked(feature, field)
