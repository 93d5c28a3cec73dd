"""The synchronous stream of one chat."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

import grpc
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.answer import Completion
from omni_grpc_client.failures import error_of
from omni_grpc_client.gathering import Piece
from omni_grpc_client.stream import Stream
from omni_grpc_client.sync_wire import Wire


class _Call(Protocol):
    def __iter__(self) -> Iterator[pb.StreamChatResponse]: ...
    def __next__(self) -> pb.StreamChatResponse: ...
    def cancel(self) -> bool: ...


class ChatStream(Stream):
    """A chat that is being answered; made by `Omni.stream_chat`.

    Entering it sends the call and waits until a provider answers, so a refusal is raised there.
    Iterating yields the pieces and raises `OmniError` if the call fails on the way; what came
    before stays in `answer`. Leaving it before its end cancels the call.
    """

    def __init__(self, wire: Wire, request: pb.StreamChatRequest, timeout_s: float) -> None:
        super().__init__()
        self._wire = wire
        self._request = request
        self._timeout_s = timeout_s
        self._call: _Call | None = None

    def __enter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a stream is entered once: ask for another")
        connection = self._wire.connection
        self._call = self._wire.stubs.router.StreamChat(
            self._request,
            timeout=self._timeout_s,
            metadata=connection.metadata,
            wait_for_ready=connection.wait_for_ready,
        )
        try:
            self._take_first(self._event(self._call))
        except BaseException:
            self.cancel()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        if self._call is None:
            raise RuntimeError("enter the stream first: `with omni.stream_chat(…) as stream`")
        while (event := self._event(self._call)) is not None:
            piece = self._take(event)
            if piece is not None:
                return piece
        self._check_ended()
        raise StopIteration

    def result(self) -> Completion:
        """Reads what is left and returns the whole."""
        for _ in self:
            pass
        return self.completion

    def cancel(self) -> None:
        """Cancels the call at the service, which charges what was generated until then.

        Another thread that iterates gets `Cancelled`. After the end it changes nothing.
        """
        if self._call is not None:
            self._call.cancel()

    def _event(self, call: _Call) -> pb.StreamChatResponse | None:
        """The next event; None at the end."""
        try:
            return next(call, None)
        except grpc.RpcError as failure:
            raise self._told(error_of(failure)) from failure
