"""Amazon Bedrock's Converse and ConverseStream, as the simulator speaks them.

Written from AWS's service model and checked by boto3. A request is signed, with one made-up word as
access key id and as secret access key (see `bedrock_signature`), or it shows a bearer.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import AnswerWriter, Rejected, SimChat, SimRequest
from omni_grpc.simulator.dialects.bedrock_answer import ConverseWriter, refusal, told_error
from omni_grpc.simulator.dialects.bedrock_body import ConverseBody, read_body
from omni_grpc.simulator.dialects.bedrock_frames import EVENT_STREAM
from omni_grpc.simulator.dialects.bedrock_request import check_whole, understand
from omni_grpc.simulator.dialects.bedrock_signature import access_key_of, check_signature
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import ErrorReply

__all__ = ("PATH", "STREAM_PATH", "BedrockChatDialect")

PATH: Final = "/model/{model}/converse"
STREAM_PATH: Final = "/model/{model}/converse-stream"


class _Chat(msgspec.Struct, frozen=True):
    """One request."""

    model: str
    streams: bool
    body: ConverseBody

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def tokens_max(self) -> int | None:
        return self.body.inference_config.max_tokens

    @property
    def behaviour(self) -> str:
        return ""

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
        del answer_id, created  # Converse tells neither
        return ConverseWriter(answer, behaviour, counts)


class BedrockChatDialect:
    """See `SimDialect`."""

    routes = (PATH, STREAM_PATH)
    framing = EVENT_STREAM

    def answer_id(self, run_id: str, call: int) -> str:
        """A name for the log; the answer has none."""
        return f"bedrock-sim{run_id}{call:08d}"

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """The access key id of the signature, or the bearer."""
        return access_key_of(headers)

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked."""
        route = request.path.rpartition("/")[2]
        check_signature(request, route)
        body = read_body(request.body)
        model = request.variables["model"]
        check_whole(body, model)
        return _Chat(model, route == STREAM_PATH.rpartition("/")[2], body)

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """AWS's error."""
        return refusal(rejected)

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """AWS's error."""
        return told_error(status, code)
