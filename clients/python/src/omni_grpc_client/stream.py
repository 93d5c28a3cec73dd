"""What both clients' streams show; the reading of events is theirs."""

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.answer import Answer, Completion
from omni_grpc_client.errors import Internal, OmniError
from omni_grpc_client.gathering import Gathering, Piece, Started


class Stream:
    """A chat that is being answered."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        """The idempotency key of the call: repeating it with this never costs twice."""
        self._gathering = Gathering()

    @property
    def started(self) -> Started:
        """The call's id, the model that answers, and its output limit.

        Raises:
            RuntimeError: the stream was not entered.
        """
        if self._gathering.started is None:
            raise RuntimeError("the stream has not started: enter it with `with` or `async with`")
        return self._gathering.started

    @property
    def answer(self) -> Answer:
        """What has come so far, put together anew at each access; also after a failure."""
        return self._gathering.answer()

    @property
    def completion(self) -> Completion:
        """The whole answer with its usage and cost, once the stream has ended.

        Raises:
            RuntimeError: it has not ended, or it failed.
        """
        if self._gathering.completion is None:
            raise RuntimeError("the stream has no completion yet: read it to its end")
        return self._gathering.completion

    def _take_first(self, event: pb.StreamChatResponse | None) -> None:
        if event is None or event.WhichOneof("event") != "started":
            raise Internal("The stream broke the contract: it did not begin with its start.")
        self._gathering.take(event)

    def _take(self, event: pb.StreamChatResponse) -> Piece | None:
        return self._gathering.take(event)

    def _check_ended(self) -> None:
        if self._gathering.completion is None:
            raise self._told(
                Internal("The stream broke the contract: it ended with OK but no completion.")
            )

    def _told(self, error: OmniError) -> OmniError:
        """The error with the call's id, by which its usage can be asked, and its request id."""
        error.request_id = self.request_id
        if error.call_id is None and self._gathering.started is not None:
            error.call_id = self._gathering.started.call_id
        return error
