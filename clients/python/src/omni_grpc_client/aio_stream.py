"""The asynchronous stream of one chat."""

import asyncio
from types import TracebackType
from typing import Self, TypeAlias

import grpc
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.aio_wire import AsyncWire, task_is_cancelled
from omni_grpc_client.answer import Completion
from omni_grpc_client.errors import OmniError
from omni_grpc_client.failures import cancelled, error_of
from omni_grpc_client.gathering import Piece
from omni_grpc_client.retrying import Retries
from omni_grpc_client.stream import Stream

_Call: TypeAlias = "grpc.aio.UnaryStreamCall[pb.StreamChatRequest, pb.StreamChatResponse]"


class AsyncChatStream(Stream):
    """A chat that is being answered; made by `AsyncOmni.stream_chat`.

    Entering it sends the call and waits until a provider answers, so a refusal is raised there;
    until then the call is sent again where that is safe, and after it never.
    Iterating yields the pieces and raises `OmniError` if the call fails on the way; what came
    before stays in `answer`. Leaving it before its end cancels the call.
    """

    def __init__(self, wire: AsyncWire, request: pb.StreamChatRequest, timeout_s: float) -> None:
        super().__init__(request.request_id)
        self._wire = wire
        self._request = request
        self._timeout_s = timeout_s
        self._call: _Call | None = None
        self._cancelled = False

    async def __aenter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a stream is entered once: ask for another")
        retries = Retries(self._wire.throttle, self._timeout_s)
        while True:
            self._call = self._send(retries.left_s())
            try:
                self._take_first(await self._event(self._call))
            except OmniError as error:
                self._call.cancel()
                pause_s = retries.pause_s(error)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                if self._cancelled or self._wire.is_closed:
                    raise self._told(cancelled()) from error
            except BaseException:
                self.cancel()
                raise
            else:
                retries.succeeded()
                return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self._call is None:
            raise RuntimeError("enter the stream first: `async with omni.stream_chat(…) as stream`")
        while (event := await self._event(self._call)) is not None:
            piece = self._take(event)
            if piece is not None:
                return piece
        self._check_ended()
        raise StopAsyncIteration

    async def result(self) -> Completion:
        """Reads what is left and returns the whole."""
        async for _ in self:
            pass
        return self.completion

    def cancel(self) -> None:
        """Cancels the call at the service, which charges what was generated until then.

        Whoever iterates gets `Cancelled`. After the end it changes nothing.
        """
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _send(self, timeout_s: float) -> _Call:
        connection = self._wire.connection
        return self._wire.stubs.router.StreamChat(
            self._request,
            timeout=timeout_s,
            metadata=connection.metadata,
            wait_for_ready=connection.wait_for_ready,
        )

    async def _event(self, call: _Call) -> pb.StreamChatResponse | None:
        """The next event; None at the end."""
        try:
            event = await call.read()
        except grpc.RpcError as failure:
            raise self._told(error_of(failure)) from failure
        except asyncio.CancelledError:
            if task_is_cancelled():
                self.cancel()
                raise
            raise self._told(cancelled()) from None
        return event if isinstance(event, pb.StreamChatResponse) else None
