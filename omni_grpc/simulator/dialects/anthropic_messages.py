"""Anthropic's Messages API as the simulator speaks it, at its own path and at Vertex's."""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects.anthropic_answer import MessageWriter
from omni_grpc.simulator.dialects.anthropic_body import MessagesBody, decode_body
from omni_grpc.simulator.dialects.anthropic_checks import check_body, check_version
from omni_grpc.simulator.dialects.anthropic_request import count_prompt, understand
from omni_grpc.simulator.dialects.anthropic_usage import UsageReports
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import SSE, ErrorReply, Event

__all__ = ("PATH", "AnthropicMessagesDialect")

PATH: Final = "/v1/messages"
_VERTEX: Final = "/v1/projects/{project}/locations/{location}/publishers/anthropic/models/{model}:"

_ERRORS: Final = {
    400: ("invalid_request_error", "The simulator was told to refuse this."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key may not use this model."),
    404: ("not_found_error", "The requested resource could not be found."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request took too long."),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER_ERROR_MIN: Final = 500


class _Framing:
    """Server-sent events, kept alive by events of their own."""

    content_type = SSE.content_type

    def frame(self, event: Event, behaviour: Behaviour, *, broken: bool, padded: bool) -> bytes:
        return SSE.frame(event, behaviour, broken=broken, padded=padded)

    def ping(self, behaviour: Behaviour) -> bytes:
        event = Event(b'{"type":"ping"}', name="ping")
        return SSE.frame(event, behaviour, broken=False, padded=False)


class _Chat:
    """One request."""

    wants_usage = True
    behaviour = ""
    _asked: Asked

    def __init__(self, body: MessagesBody, model: str) -> None:
        self._body = body
        self.model = model
        self.streams = bool(body.stream)
        self.tokens_max: int | None = body.max_tokens
        self._prompt = count_prompt(body)

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        self._asked = understand(self._body, self._prompt.tokens, bare_model, facts)
        return self._asked

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,  # noqa: ARG002 - Anthropic tells no time
        counts: Counts,
    ) -> AnswerWriter:
        usage = UsageReports(counts, self._prompt, behaviour)
        return MessageWriter(
            self._body.display,
            self._asked,
            answer,
            behaviour,
            answer_id=answer_id,
            model=self.model,
            usage=usage,
        )


class AnthropicMessagesDialect:
    """See `SimDialect`."""

    routes = (PATH, f"{_VERTEX}rawPredict", f"{_VERTEX}streamRawPredict")
    framing = _Framing()

    def answer_id(self, run_id: str, call: int) -> str:
        """As Anthropic's ids begin."""
        return f"msg_sim{run_id}{call:08d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """Anthropic's own header, or a bearer, which its newest clients and Vertex's send."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return headers.get("x-api-key") or bearer

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        body = decode_body(request.body)
        vertex = "model" in request.variables
        check_body(body, check_version(request.headers, body, vertex=vertex))
        streams = request.path.endswith(":streamRawPredict")
        if vertex and streams != bool(body.stream):
            raise Rejected(400, "stream: must be true at streamRawPredict, and only there")
        return _Chat(body, request.variables["model"] if vertex else body.model or "")

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """Anthropic's error object."""
        return _reply(rejected.status, _kind(rejected.status), rejected.message)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """Anthropic's error object; `code` is its type."""
        kind = _kind(status)
        message = _ERRORS[status][1] if status in _ERRORS else "The simulator was told to fail."
        return _reply(status, code or kind, message)


def _kind(status: int) -> str:
    """The type of an error of this status."""
    if status in _ERRORS:
        return _ERRORS[status][0]
    return "api_error" if status >= _SERVER_ERROR_MIN else "invalid_request_error"


def _reply(status: int, kind: str, message: str) -> ErrorReply:
    error = {"type": kind, "message": message}
    body = msgspec.json.encode({"type": "error", "error": error, "request_id": "req_sim"})
    return ErrorReply(status, body, name="error", headers={"request-id": "req_sim"})
