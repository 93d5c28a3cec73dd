"""OpenAI's Responses API, as the simulator speaks it: stateless, nothing is stored."""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects import openai_answer
from omni_grpc.simulator.dialects.responses_answer import ResponseWriter, told_error
from omni_grpc.simulator.dialects.responses_body import ResponsesBody, read_body
from omni_grpc.simulator.dialects.responses_items import Item, read_items
from omni_grpc.simulator.dialects.responses_request import understand
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import SSE, ErrorReply

__all__ = ("PATH", "ResponsesDialect")

PATH: Final = "/v1/responses"


class _Chat(msgspec.Struct, frozen=True):
    """One request."""

    body: ResponsesBody
    items: list[Item]

    @property
    def model(self) -> str:
        return self.body.model

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def tokens_max(self) -> int | None:
        return self.body.max_output_tokens

    @property
    def behaviour(self) -> str:
        return (self.body.metadata or {}).get("sim", "")

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        return understand(self.body, self.items, bare_model, facts)

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,
        counts: Counts,
    ) -> AnswerWriter:
        return ResponseWriter(
            self.body, answer, behaviour, response_id=answer_id, created=created, counts=counts
        )


class ResponsesDialect:
    """See `SimDialect`."""

    routes = (PATH,)
    framing = SSE

    def answer_id(self, run_id: str, call: int) -> str:
        """As OpenAI's ids begin."""
        return f"resp_sim{run_id}{call:08d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """A bearer."""
        return headers.get("authorization", "").removeprefix("Bearer ")

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        body = read_body(request.body)
        return _Chat(body, read_items(body.input))

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """OpenAI's error object."""
        return openai_answer.refusal(rejected)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """OpenAI's error object, and the event that holds it."""
        return told_error(status, code)
