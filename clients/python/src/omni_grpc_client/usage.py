"""What calls used and cost, one by one: their attempts, how they were routed, what they saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc_client.calls import (
    Call,
    Kind,
    Page,
    check_options,
    count_of,
    resource,
    stamp_of,
    time_of,
)


class UsageRange(TypedDict, total=False):
    """Of which time usage is told; moments have a time zone. None is as unset."""

    start_time: datetime | None
    """From when on. If unset: for records without a bound; for sums the last 24 hours by hours, 30
    days by days or in one, 365 days by months."""
    end_time: datetime | None
    """Until before when. If unset: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What one attempt of a call used and cost. Counts are None where nobody knows them.

    Attributes:
        attempt_number: position within the call, from 1.
        model: the offer that was tried, `provider/model`.
        outcome: `answered`, `refused`, `failed`, `cancelled`, `running`, `unresolved`, or
            `unknown` once it was written off.
        held_nanousd: what was held for it.
        cost_nanousd: what it was charged; None while that is not final.
        price_version: the price that it was charged at.
        markup_ppm: the markup on the provider's price, in millionths.
        estimated: whether the counts are the service's own.
        end_time: when it was settled or freed; None while it is not final.
        provider_ref: the provider's name of its answer; empty where it gave none.
    """

    attempt_number: int
    model: str
    outcome: str
    held_nanousd: int | None
    cost_nanousd: int | None
    price_version: int
    markup_ppm: int
    prompt_tokens: int | None
    cached_read_tokens: int | None
    cached_write_tokens: int | None
    prompt_audio_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    completion_audio_tokens: int | None
    cached_write_1h_tokens: int | None
    prompt_image_tokens: int | None
    completion_image_tokens: int | None
    images: int | None
    seconds: int | None
    characters: int | None
    estimated: bool
    end_time: datetime | None
    provider_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """How a call was routed, what it saved, and how long it took.

    Attributes:
        requested_model: the model that the request named.
        task: what it was about, such as `coding`; empty where it was not analysed.
        complexity: `simple`, `medium` or `hard`; empty where it was not analysed.
        policy: the policy that decided; empty for a named model.
        experiment: the experiment that it was part of; empty for none.
        arm: its arm there.
        premium_model: the premium model that it was compared with; empty for none.
        premium_price_version: the version of its price.
        premium_nanousd: what the same tokens would have cost with it.
        saved_nanousd: that less the call's cost; negative where routing cost more.
        single_model: the best single model for the task; empty where none is known.
        single_nanousd: what the same tokens would have cost with it.
        first_token_ms: how long the first of a stream took; None for an answer that came whole.
        duration_ms: how long the call took.
        reason: `OK`, `CANCELLED`, or the reason of the call's error.
        tags: what the caller attributed the call to.
        end_user: for whom the caller made it.
    """

    requested_model: str
    task: str
    complexity: str
    policy: str
    experiment: str
    arm: str
    premium_model: str
    premium_price_version: int
    premium_nanousd: int | None
    saved_nanousd: int | None
    single_model: str
    single_nanousd: int | None
    first_token_ms: int | None
    duration_ms: int
    reason: str
    tags: Mapping[str, str]
    end_user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """What a call used and cost, also one that was cut short.

    Attributes:
        call_id: the call's id.
        account: the account that paid, `accounts/{account}`.
        cost_nanousd: what it was charged in all; None while that is not known.
        attempts: each attempt, in order.
        create_time: when it began.
        key: the key that made it, by its public prefix; of a running call too.
        report: how it was routed and what it saved; None where that is not known.
    """

    call_id: str
    account: str
    cost_nanousd: int | None
    attempts: tuple[AttemptRecord, ...]
    create_time: datetime | None
    key: str
    report: CallReport | None
    raw: pb.UsageRecord = field(repr=False, compare=False)


def get_usage_record(
    call_id: str,
) -> Call[pb.GetUsageRecordRequest, pb.GetUsageRecordResponse, UsageRecord]:
    """GetUsageRecord."""
    return Call(
        request=pb.GetUsageRecordRequest(call_id=call_id),
        parse=lambda response: _usage_record(response.usage_record),
        kind=Kind.READ,
    )


def list_usage_records(
    account: str,
    where: str,
    between: UsageRange,
    page_size: int | None,
    page_token: str,
) -> Call[pb.ListUsageRecordsRequest, pb.ListUsageRecordsResponse, Page[UsageRecord]]:
    """ListUsageRecords, one page.

    Raises:
        TypeError: an option that there is not.
    """
    check_options(between, UsageRange.__annotations__, "a list of usage records")
    return Call(
        request=pb.ListUsageRecordsRequest(
            parent=resource("accounts", account),
            start_time=stamp_of(between.get("start_time"), "start_time"),
            end_time=stamp_of(between.get("end_time"), "end_time"),
            filter=where,
            page_size=page_size,
            page_token=page_token,
        ),
        parse=lambda response: Page(
            [_usage_record(raw) for raw in response.usage_records], response.next_page_token
        ),
        kind=Kind.READ,
    )


def attempt_record(raw: pb.AttemptRecord) -> AttemptRecord:
    """What one attempt used and cost."""
    return AttemptRecord(
        attempt_number=raw.attempt_number,
        model=raw.model,
        outcome=raw.outcome,
        held_nanousd=count_of(raw, "held_nanousd"),
        cost_nanousd=count_of(raw, "cost_nanousd"),
        price_version=raw.price_version,
        markup_ppm=raw.markup_ppm,
        prompt_tokens=count_of(raw, "prompt_token_count"),
        cached_read_tokens=count_of(raw, "cached_read_token_count"),
        cached_write_tokens=count_of(raw, "cached_write_token_count"),
        prompt_audio_tokens=count_of(raw, "prompt_audio_token_count"),
        completion_tokens=count_of(raw, "completion_token_count"),
        reasoning_tokens=count_of(raw, "reasoning_token_count"),
        completion_audio_tokens=count_of(raw, "completion_audio_token_count"),
        cached_write_1h_tokens=count_of(raw, "cached_write_1h_token_count"),
        prompt_image_tokens=count_of(raw, "prompt_image_token_count"),
        completion_image_tokens=count_of(raw, "completion_image_token_count"),
        images=count_of(raw, "image_count"),
        seconds=count_of(raw, "second_count"),
        characters=count_of(raw, "character_count"),
        estimated=raw.estimated,
        end_time=time_of(raw, "end_time"),
        provider_ref=raw.provider_ref,
    )


def _usage_record(raw: pb.UsageRecord) -> UsageRecord:
    return UsageRecord(
        call_id=raw.call_id,
        account=raw.account,
        cost_nanousd=count_of(raw, "cost_nanousd"),
        attempts=tuple(attempt_record(one) for one in raw.attempts),
        create_time=time_of(raw, "create_time"),
        key=raw.key,
        report=_report(raw.call_report) if raw.HasField("call_report") else None,
        raw=raw,
    )


def _report(raw: pb.CallReport) -> CallReport:
    return CallReport(
        requested_model=raw.requested_model,
        task=raw.task,
        complexity=raw.complexity,
        policy=raw.policy,
        experiment=raw.experiment,
        arm=raw.arm,
        premium_model=raw.premium_model,
        premium_price_version=raw.premium_price_version,
        premium_nanousd=count_of(raw, "premium_nanousd"),
        saved_nanousd=count_of(raw, "saved_nanousd"),
        single_model=raw.single_model,
        single_nanousd=count_of(raw, "single_nanousd"),
        first_token_ms=count_of(raw, "first_token_ms"),
        duration_ms=raw.duration_ms,
        reason=raw.reason,
        tags=dict(raw.tags),
        end_user=raw.end_user,
    )
