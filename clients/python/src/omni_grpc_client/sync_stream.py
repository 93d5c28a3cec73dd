"""The synchronous streams: of a chat, of speech, and of a sync of the catalog."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import grpc
from omni.catalog.v1 import catalog_service_pb2
from omni.router.v1 import media_pb2, router_service_pb2

from omni_grpc_client.answer import Answer, Completion
from omni_grpc_client.catalog_sync import Syncing, SyncProgress, SyncReport
from omni_grpc_client.errors import OmniError
from omni_grpc_client.failures import cancelled, error_of
from omni_grpc_client.gathering import Gathering, Piece, Started
from omni_grpc_client.listening import Listening, SpeechStarted
from omni_grpc_client.media import Speech
from omni_grpc_client.retrying import Retries
from omni_grpc_client.stream import Event, Gatherer, Item, Start, Stream, Whole
from omni_grpc_client.sync_wire import Wire

_Event_co = TypeVar("_Event_co", covariant=True)


class _Call(Protocol[_Event_co]):
    def __iter__(self) -> Iterator[_Event_co]: ...
    def __next__(self) -> _Event_co: ...
    def cancel(self) -> bool: ...


class EventStream(Stream[Event, Item, Start, Whole], ABC, Generic[Event, Item, Start, Whole]):
    """A stream over gRPC's synchronous API; base of those of this module.

    Entering it sends the call and waits until a provider answers, so a refusal is raised there;
    until then the call is sent again where that is safe, and after it never.
    Iterating yields the pieces and raises `OmniError` if the call fails on the way; what came
    before stays. Leaving it before its end cancels the call.
    """

    def __init__(
        self,
        wire: Wire,
        request_id: str,
        timeout_s: float,
        gatherer: Gatherer[Event, Item, Start, Whole],
    ) -> None:
        super().__init__(request_id, gatherer)
        self._wire = wire
        self._timeout_s = timeout_s
        self._call: _Call[Event] | None = None
        self._cancelled = threading.Event()

    def __enter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a stream is entered once: ask for another")
        retries = Retries(self._wire.throttle, self._timeout_s)
        while True:
            self._call = self._send(retries.left_s())
            try:
                self._take_first(self._event(self._call))
            except OmniError as error:
                self._call.cancel()
                pause_s = retries.pause_s(error)
                if pause_s is None:
                    raise
                if self._cancelled.wait(pause_s) or self._wire.is_closed:
                    raise self._told(cancelled()) from error
            except BaseException:
                self.cancel()
                raise
            else:
                retries.succeeded()
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

    def __next__(self) -> Item:
        if self._call is None:
            raise RuntimeError("enter the stream first: `with … as stream`")
        while (event := self._event(self._call)) is not None:
            piece = self._take(event)
            if piece is not None:
                return piece
        self._check_ended()
        raise StopIteration

    def result(self) -> Whole:
        """Reads what is left and returns the whole."""
        for _ in self:
            pass
        return self.completion

    def cancel(self) -> None:
        """Cancels the call at the service, which charges what was generated until then.

        Another thread that iterates gets `Cancelled`. After the end it changes nothing.
        """
        self._cancelled.set()
        if self._call is not None:
            self._call.cancel()

    @abstractmethod
    def _send(self, timeout_s: float) -> _Call[Event]:
        """Sends the call."""

    def _event(self, call: _Call[Event]) -> Event | None:
        """The next event; None at the end."""
        try:
            return next(call, None)
        except grpc.RpcError as failure:
            here = self._cancelled.is_set() or self._wire.is_closed
            raise self._told(error_of(failure, cancelled_here=here)) from failure


class ChatStream(EventStream[router_service_pb2.StreamChatResponse, Piece, Started, Completion]):
    """A chat that is being answered; made by `Omni.stream_chat`."""

    def __init__(
        self, wire: Wire, request: router_service_pb2.StreamChatRequest, timeout_s: float
    ) -> None:
        self._gathering = Gathering()
        super().__init__(wire, request.request_id, timeout_s, self._gathering)
        self._request = request

    @property
    def answer(self) -> Answer:
        """What has come so far, put together anew at each access; also after a failure."""
        return self._gathering.answer()

    def _send(self, timeout_s: float) -> _Call[router_service_pb2.StreamChatResponse]:
        connection = self._wire.connection
        return self._wire.stubs.router.StreamChat(
            self._request,
            timeout=timeout_s,
            metadata=connection.metadata,
            wait_for_ready=connection.wait_for_ready,
        )


class SpeechStream(EventStream[media_pb2.SynthesizeSpeechResponse, bytes, SpeechStarted, Speech]):
    """A text that is being spoken; made by `Omni.synthesize_speech`. It yields bytes."""

    def __init__(
        self, wire: Wire, request: media_pb2.SynthesizeSpeechRequest, timeout_s: float
    ) -> None:
        self._listening = Listening()
        super().__init__(wire, request.request_id, timeout_s, self._listening)
        self._request = request

    @property
    def audio(self) -> bytes:
        """What has come so far, put together anew at each access; also after a failure."""
        return self._listening.audio()

    def _send(self, timeout_s: float) -> _Call[media_pb2.SynthesizeSpeechResponse]:
        connection = self._wire.connection
        return self._wire.stubs.router.SynthesizeSpeech(
            self._request,
            timeout=timeout_s,
            metadata=connection.metadata,
            wait_for_ready=connection.wait_for_ready,
        )


class CatalogSync(Syncing):
    """A sync of the catalog that is being done; made by `Omni.sync_catalog`.

    It begins when it is entered, and yields the steps of its sources. Leaving it before its end
    ends it: nothing is written then, unless it was being written.
    """

    def __init__(
        self, wire: Wire, request: catalog_service_pb2.SyncCatalogRequest, timeout_s: float
    ) -> None:
        super().__init__()
        self._wire = wire
        self._request = request
        self._timeout_s = timeout_s
        self._call: _Call[catalog_service_pb2.SyncCatalogResponse] | None = None

    def __enter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a sync is entered once: ask for another")
        connection = self._wire.connection
        self._call = self._wire.stubs.catalog.SyncCatalog(
            self._request,
            timeout=self._timeout_s,
            metadata=connection.metadata,
            wait_for_ready=connection.wait_for_ready,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._call is not None:
            self._call.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SyncProgress:
        if self._call is None:
            raise RuntimeError("enter the sync first: `with … as sync`")
        try:
            while (event := next(self._call, None)) is not None:
                step = self._take(event)
                if step is not None:
                    return step
        except grpc.RpcError as failure:
            raise error_of(failure, cancelled_here=self._wire.is_closed) from failure
        self._check_ended()
        raise StopIteration

    def result(self) -> SyncReport:
        """Reads what is left and returns the report."""
        for _ in self:
            pass
        return self.report
