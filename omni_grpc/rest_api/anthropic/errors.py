"""How an error looks in Anthropic's API: its types, its statuses, its headers.

Beside Anthropic's keys `omni` has the reason and the facts, all as texts, as in OpenAI's form.
"""

from typing import Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_grpc.core.errors import ContextTooLong, Interrupted, OmniError
from omni_grpc.limits import Standings, anthropic_headers
from omni_grpc.rest_api.errors import Headers, error_facts
from omni_grpc.rest_api.openai.chat_chunks import on_one_line

OVERLOADED: Final = 529
_UNAVAILABLE: Final = 503

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    _UNAVAILABLE: "overloaded_error",
    504: "timeout_error",
}
_OTHER: Final = "invalid_request_error"
"""Anthropic's type of all other statuses below 500."""

_TOO_LONG: Final = "prompt is too long"
"""Anthropic's own words, by which its clients know that they must shorten the conversation."""

THREADS: Final = "threads, where the server keeps the conversation,"
"""The feature by this name is refused so that Anthropic's SDK sends the conversation itself."""

_NO_THREADS: Final = {"error_code": "thread_unsupported_request"}

_encode: Final = msgspec.json.Encoder().encode


class AnthropicErrors:
    """Anthropic's form of errors; see `ErrorForm`."""

    def body(self, error: OmniError, call_id: str) -> bytes:
        """The error object."""
        message, facts = error.message, error_facts(error)
        if isinstance(error, ContextTooLong):
            message = f"{_TOO_LONG}: {message}"
        if error.field is not None:
            facts["field"] = error.field
        found: dict[str, object] = {"type": error_type(error), "message": message, "omni": facts}
        if error.metadata.get("feature") == THREADS:
            found["details"] = _NO_THREADS
        return _encode({"type": "error", "error": found, "request_id": call_id})

    def event(self, error: OmniError, call_id: str) -> bytes:
        """The same as an event."""
        return on_one_line(b"event: error\ndata: %b\n\n" % self.body(error, call_id))

    def limit_headers(self, limits: Standings, now_s: float) -> Headers:
        """Anthropic's names and times."""
        found = anthropic_headers(limits, now_s)
        return [(name.encode(), value.encode()) for name, value in found]


ANTHROPIC_ERRORS: Final = AnthropicErrors()


def error_type(error: OmniError) -> str:
    """Anthropic's word for an error. One that came after a charge is no fault of the request."""
    if isinstance(error, Interrupted):
        return "api_error"
    return _TYPES.get(error.http_status, _OTHER)


class AnthropicHeads:
    """An endpoint whose answers begin as Anthropic's do.

    `request-id` names the call as `x-request-id` does, and what cannot be served now is 529.
    """

    def __init__(self, endpoint: ASGIApp) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""

        async def send_in_form(message: Message) -> None:
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
                named = ((b"request-id", call) for name, call in headers if name == b"x-request-id")
                message = {
                    **message,
                    "status": OVERLOADED if status == _UNAVAILABLE else status,
                    "headers": [*headers, *named],
                }
            await send(message)

        await self._endpoint(scope, receive, send_in_form)
