"""An error of the service as a gRPC status with rich details, from the error's own attributes.

Texts are cut so that the trailers stay below what gRPC clients take, 8 KB by default: a client that
is sent more sees RESOURCE_EXHAUSTED instead of the error.
"""

from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from omni_grpc.core.errors import (
    BudgetExhausted,
    CreditsExhausted,
    FieldInvalid,
    Interrupted,
    ModelNotFound,
    OmniError,
    RateLimited,
)

DOMAIN = "omni"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"

TEXT_BYTES_MAX: Final = 1_600
"""Longest text as it is percent-encoded in the trailers; the details hold it once or twice more."""

Metadata = tuple[tuple[str, str | bytes], ...]


def message_of(error: OmniError) -> str:
    """The status message of an error."""
    return _short(error.message)


def code_of(error: OmniError) -> grpc.StatusCode:
    """The canonical code of an error."""
    return grpc.StatusCode[error.grpc_code]


def trailers(error: OmniError, call_id: str | None) -> Metadata:
    """The trailing metadata that carries the details.

    RetryInfo is what people and tools read; the push-back is what gRPC's own retries obey, and a
    negative one forbids them.
    """
    status = status_pb2.Status(code=code_of(error).value[0], message=message_of(error))
    for detail in _details(error, call_id):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    found: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if error.retry_after_s is not None:
        found.append((PUSHBACK_KEY, str(int(error.retry_after_s * 1000))))
    elif error.retryable is False:
        found.append((PUSHBACK_KEY, "-1"))
    if call_id is not None:
        found.append(("x-request-id", call_id))
    return tuple(found)


def _details(
    error: OmniError, call_id: str | None
) -> list[
    error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo
    | error_details_pb2.PreconditionFailure
    | error_details_pb2.QuotaFailure
    | error_details_pb2.ResourceInfo
]:
    metadata = dict(error.metadata)
    if call_id is not None:
        metadata.setdefault("call_id", call_id)  # a repeat is told of the call that it repeats
    if error.charged_nanousd or isinstance(error, Interrupted):
        metadata["charged_nanousd"] = str(error.charged_nanousd)
    if error.offer is not None:
        metadata["x402"] = error.offer.v2.decode()
    details: list[
        error_details_pb2.ErrorInfo
        | error_details_pb2.BadRequest
        | error_details_pb2.RetryInfo
        | error_details_pb2.PreconditionFailure
        | error_details_pb2.QuotaFailure
        | error_details_pb2.ResourceInfo
    ] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, FieldInvalid) and error.field:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=_short(error.field), description=message_of(error)
                    )
                ]
            )
        )
    if isinstance(error, CreditsExhausted):
        details.append(
            error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type="CREDITS", subject="account", description=message_of(error)
                    )
                ]
            )
        )
    if isinstance(error, BudgetExhausted | RateLimited):
        subject = error.metadata.get("budget") or error.metadata.get("rate_limit", "address")
        details.append(
            error_details_pb2.QuotaFailure(
                violations=[
                    error_details_pb2.QuotaFailure.Violation(
                        subject=subject, description=message_of(error)
                    )
                ]
            )
        )
    if isinstance(error, ModelNotFound):
        details.append(
            error_details_pb2.ResourceInfo(resource_type="model", description=message_of(error))
        )
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _short(text: str) -> str:
    if len(text) <= TEXT_BYTES_MAX and text.isascii():
        return text
    size = 0
    for place, char in enumerate(text):
        size += 1 if " " <= char <= "~" else 3 * len(char.encode())
        if size > TEXT_BYTES_MAX:
            return text[:place] + "…"
    return text
