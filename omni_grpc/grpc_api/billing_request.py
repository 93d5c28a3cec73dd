"""Reads the fields of billing requests, or says which of them is wrong."""

import re
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from google.protobuf import timestamp_pb2
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import HoldId
from omni_grpc.core.limits import (
    AMOUNT_NANOUSD_MAX,
    API_HOLD_SECONDS_DEFAULT,
    API_HOLD_SECONDS_MAX,
    REASON_CHARS_MAX,
)
from omni_grpc.core.payments import Payment
from omni_grpc.core.usage import Usage

_HOLD: Final = re.compile(r"(accounts/[^/]+)/holds/([0-9a-f-]{36})", re.ASCII)
_ATTEMPT: Final = re.compile(r"(accounts/[^/]+)/unresolvedAttempts/([0-9a-f-]{36})", re.ASCII)

TOKEN_COUNT_MAX: Final = 10**9
"""Most tokens that anybody may say an attempt used: a thousand of the largest contexts."""

_Amounts = (
    pb.GrantCreditsRequest | pb.RefundChargeRequest | pb.CreateHoldRequest | pb.SettleHoldRequest
)


def amount(request: _Amounts, low: int) -> int:
    """`amount_nanousd`, at least `low`."""
    if not request.HasField("amount_nanousd"):
        raise FieldInvalid("amount_nanousd is required.", field="amount_nanousd")
    return _bounded(request.amount_nanousd, low, AMOUNT_NANOUSD_MAX, "amount_nanousd")


def reason(text: str) -> str:
    """A reason to be shown on an entry."""
    if len(text) > REASON_CHARS_MAX or "\x00" in text:
        raise FieldInvalid(
            f"reason must be at most {REASON_CHARS_MAX} characters without NUL.", field="reason"
        )
    return text


def named_account(text: str) -> str:
    """The name of an account that must be named."""
    if not text:
        raise FieldInvalid("account is required: accounts/{account}.", field="account")
    return text


def ttl_s(request: pb.CreateHoldRequest) -> int:
    """How long a hold lives."""
    if not request.HasField("ttl"):
        return API_HOLD_SECONDS_DEFAULT
    seconds = request.ttl.seconds
    if request.ttl.nanos or not 1 <= seconds <= API_HOLD_SECONDS_MAX:
        raise FieldInvalid(
            f"ttl must be whole seconds from 1 to {API_HOLD_SECONDS_MAX}.", field="ttl"
        )
    return seconds


def expire_time(request: pb.GrantCreditsRequest) -> datetime | None:
    """When a grant expires, if ever."""
    if not request.HasField("expire_time"):
        return None
    try:
        return _moment(request.expire_time)
    except (ValueError, OverflowError):
        raise FieldInvalid(
            "expire_time must be a timestamp from year 1 to 9999.", field="expire_time"
        ) from None


def payment(request: pb.GrantCreditsRequest) -> Payment | None:
    """The payment that a grant is for, if any."""
    if not request.HasField("payment"):
        return None
    try:
        return Payment.named(request.payment.network, request.payment.payment_id)
    except ValueError as error:
        raise FieldInvalid(str(error), field="payment") from None


def hold_name(name: str, *, field: str) -> tuple[str, UUID]:
    """The account's name and the id of a hold's name."""
    match = _HOLD.fullmatch(name)
    if match is None:
        raise FieldInvalid(f"{field} must be accounts/{{account}}/holds/{{hold}}.", field=field)
    return match.group(1), uuid(match.group(2), field)


def attempt_name(name: str) -> tuple[str, HoldId]:
    """The account's name and the hold's id of an unresolved attempt's name."""
    match = _ATTEMPT.fullmatch(name)
    if match is None:
        raise FieldInvalid(
            "name must be accounts/{account}/unresolvedAttempts/{unresolved_attempt}.",
            field="name",
        )
    return match.group(1), HoldId(uuid(match.group(2), "name"))


def uuid(text: str, field: str) -> UUID:
    """A UUID that the service gave."""
    try:
        return UUID(text)
    except ValueError:
        raise FieldInvalid(
            f"{field} must carry a UUID, as the service gave it.", field=field
        ) from None


def settled_usage(settlement: pb.Settlement) -> Usage:
    """What a provider says that an attempt used: parts are within their whole."""
    usage = Usage(
        prompt=_count(settlement, "prompt_token_count"),
        cached_read=_count(settlement, "cached_read_token_count"),
        cached_write=_count(settlement, "cached_write_token_count"),
        prompt_audio=_count(settlement, "prompt_audio_token_count"),
        completion=_count(settlement, "completion_token_count"),
        reasoning=_count(settlement, "reasoning_token_count"),
        completion_audio=_count(settlement, "completion_audio_token_count"),
        cached_write_1h=_count(settlement, "cached_write_1h_token_count"),
        prompt_image=_count(settlement, "prompt_image_token_count"),
        completion_image=_count(settlement, "completion_image_token_count"),
        image=_count(settlement, "image_count"),
        second=_count(settlement, "second_count"),
        character=_count(settlement, "character_count"),
    )
    read = (usage.cached_read, usage.cached_write, usage.prompt_audio, usage.prompt_image)
    written = (usage.reasoning, usage.completion_audio, usage.completion_image)
    if any(one is not None for one in (usage.image, usage.second, usage.character)):
        # Sold by those: it may have no tokens at all.
        usage_of_tokens = msgspec.structs.replace(
            usage, prompt=usage.prompt or 0, completion=usage.completion or 0
        )
    else:
        usage_of_tokens = usage
    _whole(usage_of_tokens.prompt, sum(one or 0 for one in read), "prompt_token_count")
    _whole(usage_of_tokens.completion, sum(one or 0 for one in written), "completion_token_count")
    hour = usage.cached_write_1h or 0
    _whole(usage.cached_write or 0, hour, "cached_write_token_count")
    return usage


def loss(write_off: pb.WriteOff) -> int | None:
    """What the operator books as its loss; None for what was held."""
    if not write_off.HasField("loss_nanousd"):
        return None
    field = "write_off.loss_nanousd"
    return _bounded(write_off.loss_nanousd, 0, AMOUNT_NANOUSD_MAX, field)


def _count(settlement: pb.Settlement, name: str) -> int | None:
    if not settlement.HasField(name):
        return None
    return _bounded(int(getattr(settlement, name)), 0, TOKEN_COUNT_MAX, f"settlement.{name}")


def _whole(count: int | None, parts: int, name: str) -> None:
    field = f"settlement.{name}"
    if count is None:
        raise FieldInvalid(f"{field} is required.", field=field)
    if parts > count:
        raise FieldInvalid(f"{field} is less than its parts together.", field=field)


def _bounded(value: int, low: int, high: int, field: str) -> int:
    if not low <= value <= high:
        raise FieldInvalid(f"{field} must be from {low} to {high}.", field=field)
    return value


def _moment(stamp: timestamp_pb2.Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
