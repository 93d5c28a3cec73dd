"""OpenAI's chat completions, as the simulator speaks it: by OpenAI's routes and by Azure's."""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects.openai_answer import ChatWriter, refusal, told_error
from omni_grpc.simulator.dialects.openai_body import ChatBody, read_body
from omni_grpc.simulator.dialects.openai_request import understand
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import SSE, ErrorReply

__all__ = ("PATH", "OpenAIChatDialect")

PATH: Final = "/v1/chat/completions"
AZURE_PATH: Final = "/openai/deployments/{deployment}/chat/completions"


class _Chat(msgspec.Struct, frozen=True):
    """One request. `deployment` is the model that Azure's path names, whatever the body says."""

    body: ChatBody
    deployment: str | None

    @property
    def model(self) -> str:
        return self.deployment or self.body.model

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)

    @property
    def wants_usage(self) -> bool:
        return self.body.wants_usage

    @property
    def tokens_max(self) -> int | None:
        return self.body.tokens_max

    @property
    def behaviour(self) -> str:
        return (self.body.metadata or {}).get("sim", "")

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        return understand(self.body, bare_model, facts)

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,
        counts: Counts,
    ) -> AnswerWriter:
        return ChatWriter(
            self.body,
            answer,
            behaviour,
            completion_id=answer_id,
            created=created,
            counts=counts,
        )


class OpenAIChatDialect:
    """See `SimDialect`."""

    routes = (PATH, AZURE_PATH)
    framing = SSE

    def answer_id(self, run_id: str, call: int) -> str:
        """As OpenAI's ids begin."""
        return f"chatcmpl-sim{run_id}{call:08d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """A bearer, or Azure's header."""
        return headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        deployment = request.variables.get("deployment")
        if deployment is not None and "api-version" not in request.query:
            raise Rejected(404, "Resource not found")  # as Azure says it
        return _Chat(read_body(request.body), deployment)

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """OpenAI's error object."""
        return refusal(rejected)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """OpenAI's error object."""
        return told_error(status, code)
