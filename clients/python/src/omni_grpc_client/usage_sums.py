"""What an account used, cost and saved, added up by time and by what was called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, check_options, resource, stamp_of, time_of
from omni_grpc_client.errors import FieldInvalid
from omni_grpc_client.failures import field_invalid
from omni_grpc_client.usage import UsageRange

Bucket: TypeAlias = Literal["hour", "day", "month", "whole"]
Dimension: TypeAlias = Literal["provider", "model", "task", "key", "team"]

_BUCKETS: Mapping[str, pb.UsageBucket] = {
    "hour": pb.USAGE_BUCKET_HOUR,
    "day": pb.USAGE_BUCKET_DAY,
    "month": pb.USAGE_BUCKET_MONTH,
    "whole": pb.USAGE_BUCKET_WHOLE,
}
_DIMENSIONS: Mapping[str, pb.UsageDimension] = {
    "provider": pb.USAGE_DIMENSION_PROVIDER,
    "model": pb.USAGE_DIMENSION_MODEL,
    "task": pb.USAGE_DIMENSION_TASK,
    "key": pb.USAGE_DIMENSION_KEY,
    "team": pb.USAGE_DIMENSION_TEAM,
}


class UsageQuery(UsageRange, total=False):
    """How usage is added up. None is as unset."""

    bucket: Bucket | None
    """How time is divided; by days if unset, `whole` is not at all."""
    group_by: Dimension | Sequence[Dimension] | None
    """What sums are kept apart by; nothing if unset."""
    time_zone: str | None
    """In which days and months are meant, as `Europe/Berlin`; UTC if unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSums:
    """What was used. Tokens and amounts are those of all attempts.

    Attributes:
        calls: calls, each counted with its first attempt.
        attempts: attempts that ended.
        failed_attempts: of these, refused, failed or written off.
        cancelled_attempts: of these, left by their caller.
        estimated_attempts: of these, counted by the service itself.
        prompt_tokens: cached, audio and image ones included.
        cached_read_tokens: prompt tokens read from providers' caches.
        cached_write_tokens: prompt tokens written to providers' caches.
        prompt_audio_tokens: audio tokens of prompts.
        completion_tokens: generated tokens, reasoning, audio and image ones included.
        reasoning_tokens: generated tokens that are reasoning.
        completion_audio_tokens: generated tokens that are audio.
        cached_write_1h_tokens: of the tokens written to caches those that are kept for an hour.
        prompt_image_tokens: image tokens of prompts.
        completion_image_tokens: generated tokens that are of images.
        images: pictures that were sold by the image.
        seconds: seconds of audio that was sold by the second.
        characters: characters of speech that was sold by the character.
        cost_nanousd: what was charged, corrections included.
        refunded_nanousd: what was given back of that.
        compared_calls: answered calls that were compared with a premium model.
        premium_nanousd: what their tokens would have cost with it.
        saved_nanousd: that less their cost; negative where routing cost more.
        single_nanousd: what the tokens of the calls that have one would have cost with the best
            single model.
        single_saved_nanousd: that less their cost; negative where routing cost more.
    """

    calls: int
    attempts: int
    failed_attempts: int
    cancelled_attempts: int
    estimated_attempts: int
    prompt_tokens: int
    cached_read_tokens: int
    cached_write_tokens: int
    prompt_audio_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    completion_audio_tokens: int
    cached_write_1h_tokens: int
    prompt_image_tokens: int
    completion_image_tokens: int
    images: int
    seconds: int
    characters: int
    cost_nanousd: int
    refunded_nanousd: int
    compared_calls: int
    premium_nanousd: int
    saved_nanousd: int
    single_nanousd: int
    single_saved_nanousd: int
    raw: pb.UsageSums = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSummary:
    """The sums of one bucket.

    Attributes:
        start_time: when the bucket begins; the first may reach before the range, of which alone
            it tells.
        end_time: when it ends; the last may reach beyond the range.
        provider: the provider, where sums are kept apart by it; as the four below.
        model: the offer, `provider/model`.
        task: the task; empty also where it is not known.
        key: the key, by its public prefix.
        team: the key's team, `orgs/{org}/teams/{team}`; empty for none, and for a deleted one.
        sums: the sums.
    """

    start_time: datetime | None
    end_time: datetime | None
    provider: str
    model: str
    task: str
    key: str
    team: str
    sums: UsageSums
    raw: pb.UsageSummary = field(repr=False, compare=False)


def summarize_usage(
    account: str, query: UsageQuery, page_size: int | None, page_token: str
) -> Call[pb.SummarizeUsageRequest, pb.SummarizeUsageResponse, Page[UsageSummary]]:
    """SummarizeUsage, one page.

    Raises:
        TypeError: an option that there is not.
        FieldInvalid: a bucket or a dimension that there is not.
    """
    return Call(
        request=_request(account, query, page_size, page_token),
        parse=lambda response: Page(
            [_summary(raw) for raw in response.usage_summaries], response.next_page_token
        ),
        kind=Kind.READ,
    )


def total_usage(
    account: str, between: UsageRange
) -> Call[pb.SummarizeUsageRequest, pb.SummarizeUsageResponse, UsageSums]:
    """SummarizeUsage for its total alone.

    Raises:
        TypeError: an option that there is not.
    """
    check_options(between, UsageRange.__annotations__, "a total of usage")
    query = UsageQuery(
        start_time=between.get("start_time"), end_time=between.get("end_time"), bucket="whole"
    )
    return Call(
        request=_request(account, query, 1, ""),
        parse=lambda response: _sums(response.total),
        kind=Kind.READ,
    )


def _request(
    account: str, query: UsageQuery, page_size: int | None, page_token: str
) -> pb.SummarizeUsageRequest:
    check_options(query, _QUERY_OPTIONS, "a summary of usage")
    bucket, group_by = query.get("bucket"), query.get("group_by") or ()
    if bucket is not None and bucket not in _BUCKETS:
        raise _unknown("bucket", bucket, _BUCKETS)
    dimensions: Sequence[str] = [group_by] if isinstance(group_by, str) else group_by
    for dimension in dimensions:
        if dimension not in _DIMENSIONS:
            raise _unknown("group_by", dimension, _DIMENSIONS)
    return pb.SummarizeUsageRequest(
        account=resource("accounts", account),
        start_time=stamp_of(query.get("start_time"), "start_time"),
        end_time=stamp_of(query.get("end_time"), "end_time"),
        bucket=None if bucket is None else _BUCKETS[bucket],
        group_by=[_DIMENSIONS[dimension] for dimension in dimensions],
        time_zone=query.get("time_zone"),
        page_size=page_size,
        page_token=page_token,
    )


_QUERY_OPTIONS = UsageRange.__annotations__ | UsageQuery.__annotations__


def _unknown(field_name: str, value: str, known: Mapping[str, object]) -> FieldInvalid:
    return field_invalid(field_name, f"{value!r} is none of {', '.join(known)}")


def _summary(raw: pb.UsageSummary) -> UsageSummary:
    return UsageSummary(
        start_time=time_of(raw, "start_time"),
        end_time=time_of(raw, "end_time"),
        provider=raw.provider,
        model=raw.model,
        task=raw.task,
        key=raw.key,
        team=raw.team,
        sums=_sums(raw.sums),
        raw=raw,
    )


def _sums(raw: pb.UsageSums) -> UsageSums:
    return UsageSums(
        calls=raw.call_count,
        attempts=raw.attempt_count,
        failed_attempts=raw.failed_attempt_count,
        cancelled_attempts=raw.cancelled_attempt_count,
        estimated_attempts=raw.estimated_attempt_count,
        prompt_tokens=raw.prompt_token_count,
        cached_read_tokens=raw.cached_read_token_count,
        cached_write_tokens=raw.cached_write_token_count,
        prompt_audio_tokens=raw.prompt_audio_token_count,
        completion_tokens=raw.completion_token_count,
        reasoning_tokens=raw.reasoning_token_count,
        completion_audio_tokens=raw.completion_audio_token_count,
        cached_write_1h_tokens=raw.cached_write_1h_token_count,
        prompt_image_tokens=raw.prompt_image_token_count,
        completion_image_tokens=raw.completion_image_token_count,
        images=raw.image_count,
        seconds=raw.second_count,
        characters=raw.character_count,
        cost_nanousd=raw.cost_nanousd,
        refunded_nanousd=raw.refunded_nanousd,
        compared_calls=raw.compared_call_count,
        premium_nanousd=raw.premium_nanousd,
        saved_nanousd=raw.saved_nanousd,
        single_nanousd=raw.single_nanousd,
        single_saved_nanousd=raw.single_saved_nanousd,
        raw=raw,
    )
