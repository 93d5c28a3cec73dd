"""Writes reports of usage as messages of the billing contract."""

from datetime import datetime

from google.protobuf import timestamp_pb2
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.billing.usage import ListedCall, RoutedCall, UsageSummary, UsageSums
from omni_grpc.grpc_api import billing_response


def summary(row: UsageSummary) -> pb.UsageSummary:
    """One bucket."""
    return pb.UsageSummary(
        start_time=_timestamp(row.start),
        end_time=_timestamp(row.end),
        provider=row.provider,
        model=row.model,
        task=row.task,
        key=row.key,
        team=row.team,
        sums=sums(row.sums),
    )


def sums(found: UsageSums) -> pb.UsageSums:
    """What was used."""
    return pb.UsageSums(
        call_count=found.calls,
        attempt_count=found.attempts,
        failed_attempt_count=found.failed,
        cancelled_attempt_count=found.cancelled,
        estimated_attempt_count=found.estimated,
        prompt_token_count=found.prompt,
        cached_read_token_count=found.cached_read,
        cached_write_token_count=found.cached_write,
        prompt_audio_token_count=found.prompt_audio,
        completion_token_count=found.completion,
        reasoning_token_count=found.reasoning,
        completion_audio_token_count=found.completion_audio,
        cached_write_1h_token_count=found.cached_write_1h,
        prompt_image_token_count=found.prompt_image,
        completion_image_token_count=found.completion_image,
        image_count=found.image,
        second_count=found.second,
        character_count=found.character,
        cost_nanousd=found.cost,
        refunded_nanousd=found.refunded,
        compared_call_count=found.compared,
        premium_nanousd=found.premium,
        saved_nanousd=found.saved,
        single_nanousd=found.single,
        single_saved_nanousd=found.single_saved,
    )


def record(account: str, call: ListedCall) -> pb.UsageRecord:
    """A call, with what is noted of it."""
    return pb.UsageRecord(
        call_id=str(call.record.call_id),
        account=account,
        cost_nanousd=call.record.cost,
        attempts=[billing_response.attempt(attempt) for attempt in call.record.attempts],
        create_time=_timestamp(call.start),
        key=call.key,
        call_report=None if call.routed is None else _report(call.routed),
    )


def _report(routed: RoutedCall) -> pb.CallReport:
    return pb.CallReport(
        requested_model=routed.asked,
        task=routed.task,
        complexity=routed.complexity,
        policy=routed.policy,
        experiment=routed.experiment,
        arm=routed.arm,
        premium_model=routed.premium_model or "",
        premium_price_version=routed.premium_version or 0,
        premium_nanousd=routed.premium_nanousd,
        saved_nanousd=routed.saved_nanousd,
        single_model=routed.single_model or "",
        single_nanousd=routed.single_nanousd,
        first_token_ms=routed.first_token_ms,
        duration_ms=routed.duration_ms,
        reason=routed.reason,
        tags=dict(routed.tags),
        end_user=routed.end_user,
    )


def _timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment)
    return found
