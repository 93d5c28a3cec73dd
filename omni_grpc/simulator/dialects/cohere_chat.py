"""Cohere's chat API, version 2, as the simulator speaks it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts, compose
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects.cohere_answer import ChatWriter, error_reply, told_error
from omni_grpc.simulator.dialects.cohere_body import CohereBody, read_body
from omni_grpc.simulator.dialects.cohere_request import understand
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import SSE, ErrorReply

__all__ = ("PATH", "CohereChatDialect")

PATH: Final = "/v2/chat"


class _Chat:
    """One request."""

    def __init__(self, body: CohereBody) -> None:
        self.body = body
        self._asked: Asked | None = None

    @property
    def model(self) -> str:
        return self.body.model

    @property
    def streams(self) -> bool:
        return self.body.stream

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def tokens_max(self) -> int | None:
        return self.body.max_tokens

    @property
    def behaviour(self) -> str:
        return ""

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        self._asked = understand(self.body, bare_model, facts)
        return self._asked

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,
        counts: Counts,
    ) -> AnswerWriter:
        del created  # Cohere does not tell it
        return ChatWriter(
            self.body,
            answer,
            behaviour,
            answer_id=answer_id,
            counts=counts,
            is_stopped=self._is_stopped(answer, behaviour),
        )

    def _is_stopped(self, answer: Answer, behaviour: Behaviour) -> bool:
        """Whether a stop sequence ended the answer: found by answering without any."""
        if not self.body.stop_sequences or answer.choices[0].finish != "stop":
            return False
        asked = self._asked or understand(self.body, self.model, None)
        unstopped = compose(msgspec.structs.replace(asked, stop=()), behaviour).choices[0]
        return unstopped.text("content") != answer.choices[0].text("content")


class CohereChatDialect:
    """See `SimDialect`."""

    routes = (PATH,)
    framing = SSE

    def answer_id(self, run_id: str, call: int) -> str:
        """A UUID, as Cohere's are."""
        return f"{run_id}-51b0-4000-8000-{call:012d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """A bearer."""
        return headers.get("authorization", "").removeprefix("Bearer ")

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        return _Chat(read_body(request.body))

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """Cohere's error object."""
        return error_reply(rejected.status, rejected.message)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """Cohere's error object."""
        return told_error(status, code)
