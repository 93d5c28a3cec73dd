"""Google's generateContent, as the simulator speaks it: the Gemini API's, and Vertex AI's."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects.gemini_answer import GeminiWriter, refusal, told_error
from omni_grpc.simulator.dialects.gemini_body import GeminiBody, read_body
from omni_grpc.simulator.dialects.gemini_request import understand
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import SSE, ErrorReply

__all__ = ("GeminiDialect",)

_GEMINI = "/{version:v1|v1beta}/models/{model:.+}:"
_VERTEX = (
    "/{version:v1|v1beta1}/projects/{project}/locations/{location}/publishers/google/models/"
    "{model:.+}:"
)
_PLAIN = "generateContent"
_STREAM = "streamGenerateContent"


class _Chat(msgspec.Struct, frozen=True):
    """One request."""

    body: GeminiBody
    model: str
    streams: bool
    wants_usage: bool = True
    behaviour: str = ""

    @property
    def tokens_max(self) -> int | None:
        return self.body.generation_config.max_output_tokens

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        return understand(self.body, self.model, bare_model, facts)

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,
        counts: Counts,
    ) -> AnswerWriter:
        del created
        return GeminiWriter(
            self.body, self.model, answer, behaviour, answer_id=answer_id, counts=counts
        )


class GeminiDialect:
    """See `SimDialect`. `vertex` says whose routes and manners it has."""

    framing = SSE

    def __init__(self, *, vertex: bool) -> None:
        self.is_vertex = vertex
        start = _VERTEX if vertex else _GEMINI
        self.models = start
        self.routes = (start + _PLAIN, start + _STREAM)

    def answer_id(self, run_id: str, call: int) -> str:
        """A short random text there."""
        return f"sim{run_id}{call:08d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """A key in a header of its own, or a bearer."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return headers.get("x-goog-api-key", "") or bearer

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        streams = request.path.endswith(f":{_STREAM}")
        if streams and request.query.get("alt") != "sse":
            message = "The simulator streams server-sent events alone: ask with alt=sse."
            raise Rejected(HTTPStatus.BAD_REQUEST, message, param="alt")
        return _Chat(read_body(request.body), request.variables["model"], streams)

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """Google's error object."""
        return refusal(rejected, by_key=not self.is_vertex)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """Google's error object."""
        return told_error(status, code)
