"""Turns a failed RPC, as either gRPC API raises it, into the error tree. Never raises itself."""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

# googleapis-common-protos ships stubs without a py.typed marker; the protocols below type them.
from google.rpc import error_details_pb2  # type: ignore[import-untyped, unused-ignore]
from grpc_status import rpc_status

from omni_grpc_client.errors import (
    CLASS_OF_CODE,
    CLASS_OF_REASON,
    Cancelled,
    FieldInvalid,
    FieldViolation,
    OmniError,
    TooLarge,
)

DOMAIN = "omni"
PUSHBACK_KEY = "grpc-retry-pushback-ms"

_NANOS_PER_SECOND = 1_000_000_000


class _Status(Protocol):
    details: Sequence[AnyMessage]


class _ErrorInfo(Protocol):
    reason: str
    domain: str
    metadata: Mapping[str, str]


class _RetryInfo(Protocol):
    retry_delay: Duration


class _BadRequest(Protocol):
    field_violations: Sequence[FieldViolation]


def error_of(
    failure: grpc.RpcError, request_id: str | None = None, *, cancelled_here: bool = False
) -> OmniError:
    """The error to raise for a failed RPC.

    A reason of the service decides the class; where there is none, the status code does.
    `cancelled_here` says that this client cancelled the call or closed its channel. A CANCELLED
    that nobody here asked for is what a service that stops makes of a call that it has not read
    yet: that service is unavailable.
    """
    code, message = failure.code(), failure.details() or ""
    if cancelled_here and code is grpc.StatusCode.CANCELLED:
        return cancelled(request_id)
    details = _details(failure)
    info = cast("_ErrorInfo | None", details.get("google.rpc.ErrorInfo"))
    known = info is not None and info.domain == DOMAIN
    reason = info.reason if info is not None and known else None
    metadata = dict(info.metadata) if info is not None and known else {}
    error = _class_of(code, reason, message)(
        message or f"The call failed with {code.name} and no message.",
        code=code,
        metadata=metadata,
        retry_after_s=_retry_after_s(details),
        violations=_violations(details),
        request_id=request_id,
    )
    error.retry_forbidden = _forbids_retry(failure)
    error.reason = reason  # also where None: the class of a code may name a reason of its own
    if known:
        # The contract: a failed call that was charged says so, so silence means nothing was.
        said = "charged_nanousd" in metadata
        error.charged_nanousd = error.amount("charged_nanousd") if said else 0
    return error


def field_invalid(field: str, description: str) -> FieldInvalid:
    """The error for a request that this client can tell is wrong, before it is sent."""
    violation = FieldViolation(field, description)
    return FieldInvalid(f"{field}: {description}", violations=(violation,), charged_nanousd=0)


def cancelled(request_id: str | None = None) -> Cancelled:
    """The error for a call that this client cancelled while somebody waited for it."""
    return Cancelled(
        "The call was cancelled: its stream was left or its client was closed.",
        code=grpc.StatusCode.CANCELLED,
        request_id=request_id,
    )


def _class_of(code: grpc.StatusCode, reason: str | None, message: str) -> type[OmniError]:
    if reason is not None and reason in CLASS_OF_REASON:
        return CLASS_OF_REASON[reason]
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return TooLarge  # gRPC's own refusal, on either side, which carries no details
    return CLASS_OF_CODE.get(code, OmniError)


def _details(failure: grpc.RpcError) -> dict[str, object]:
    """The known details by type; empty where there are none or they cannot be read."""
    try:
        # Both APIs' errors have what from_call reads: code, details and trailing metadata.
        status = cast("_Status | None", rpc_status.from_call(cast("grpc.Call", failure)))
    except (ValueError, DecodeError):
        return {}
    found: dict[str, object] = {}
    for packed in status.details if status is not None else ():
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.RetryInfo,
            error_details_pb2.BadRequest,
        ):
            detail = kind()
            if packed.Is(detail.DESCRIPTOR):
                try:
                    packed.Unpack(detail)
                except DecodeError:
                    continue
                found[detail.DESCRIPTOR.full_name] = detail
    return found


def _forbids_retry(failure: grpc.RpcError) -> bool:
    """What gRPC's own retries read: a push-back that is negative, or no number."""
    # The two APIs' stubs disagree about what either gives: pairs.
    trailers = cast("Sequence[tuple[str, str | bytes]]", failure.trailing_metadata() or ())
    for key, value in trailers:
        if key == PUSHBACK_KEY:
            return not (isinstance(value, str) and value.isdecimal())
    return False


def _retry_after_s(details: Mapping[str, object]) -> float | None:
    info = cast("_RetryInfo | None", details.get("google.rpc.RetryInfo"))
    if info is None:
        return None
    return info.retry_delay.seconds + info.retry_delay.nanos / _NANOS_PER_SECOND


def _violations(details: Mapping[str, object]) -> tuple[FieldViolation, ...]:
    bad = cast("_BadRequest | None", details.get("google.rpc.BadRequest"))
    if bad is None:
        return ()
    return tuple(FieldViolation(one.field, one.description) for one in bad.field_violations)
