"""How an error looks in HTTP: OpenAI's error object, from the error's own attributes.

All four of OpenAI's keys are always there. Beside them `omni` has the reason and the facts, all as
texts, and `request_id` stands beside `error`.
"""

import base64
import math
from typing import Final, Protocol

import msgspec

from omni_grpc.core.errors import ApiKeyMissing, Interrupted, OmniError
from omni_grpc.limits import Standings, openai_headers
from omni_grpc.rest_api.omni_wire import FIELDS

Headers = list[tuple[bytes, bytes]]

_encode: Final = msgspec.json.Encoder().encode

_PARAMS: Final = {
    "max_output_token_count": "max_completion_tokens",
    **FIELDS,
}
"""Fields that OpenAI, or the object `omni`, names otherwise than the contract does."""


class MethodNotAllowed(OmniError):
    """The route exists, but not for this HTTP method. gRPC has no such thing.

    `allow` of the metadata names the methods that it takes.
    """

    reason = "METHOD_NOT_ALLOWED"
    grpc_code = "UNIMPLEMENTED"
    http_status = 405
    openai_type = "invalid_request_error"
    openai_code = "method_not_allowed"


def error_facts(error: OmniError) -> dict[str, str]:
    """What programs read of an error beside OpenAI's keys."""
    facts = {"reason": error.reason} | error.metadata
    if error.charged_nanousd or isinstance(error, Interrupted):
        facts["charged_nanousd"] = str(error.charged_nanousd)
    return facts


def error_body(error: OmniError, call_id: str) -> bytes:
    """The JSON of an error in OpenAI's form."""
    field = error.field
    # A client of x402 version 1 looks for these two in whatever body a 402 has.
    offer = {} if error.offer is None else _read_offer(error.offer.v1)
    return _encode(
        {
            "error": {
                "message": error.message,
                "type": error.openai_type,
                "param": field if field is None else _PARAMS.get(field, field),
                "code": error.openai_code,
                "omni": error_facts(error),
            },
            "request_id": call_id,
        }
        | offer
    )


def _read_offer(body: bytes) -> dict[str, msgspec.Raw]:
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {name: found[name] for name in ("x402Version", "accepts")}


class ErrorForm(Protocol):
    """How one of the REST APIs writes errors, and names its limits."""

    def body(self, error: OmniError, call_id: str) -> bytes:
        """The JSON of an answer that is an error."""
        ...

    def event(self, error: OmniError, call_id: str) -> bytes:
        """The last event of a stream that failed, framed."""
        ...

    def limit_headers(self, limits: Standings, now_s: float) -> Headers:
        """How rate limits stand. `now_s` is in Unix seconds."""
        ...


class OpenAIErrors:
    """OpenAI's form, which most routes use."""

    def body(self, error: OmniError, call_id: str) -> bytes:
        """The error object."""
        return error_body(error, call_id)

    def event(self, error: OmniError, call_id: str) -> bytes:
        """The same as data."""
        return b"data: %b\n\n" % error_body(error, call_id)

    def limit_headers(self, limits: Standings, now_s: float) -> Headers:  # noqa: ARG002 - the form's
        """OpenAI's names and durations."""
        return [(name.encode(), value.encode()) for name, value in openai_headers(limits)]


OPENAI_ERRORS: Final = OpenAIErrors()


def error_headers(error: OmniError) -> Headers:
    """What tells a client whether, when and with which credentials to come again."""
    headers: Headers = []
    if error.retryable is not None:
        headers.append((b"x-should-retry", b"true" if error.retryable else b"false"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(error.retry_after_s * 1000)))
    if error.offer is not None:
        headers.append((b"payment-required", base64.b64encode(error.offer.v2)))
    if isinstance(error, ApiKeyMissing):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.metadata["allow"].encode()))
    return headers
