"""What the simulator asks of a wire format: reading a request, writing its answer, framing it.

A dialect is one file below `dialects/`, registered there. It is written from the provider's own
documents, and checked by the provider's own SDK, never by what `omni_grpc.providers` encodes.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from omni_grpc.simulator.answer import Answer, Asked, Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.models import SimulatedModel
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("AnswerWriter", "Rejected", "SimChat", "SimDialect", "SimRequest", "StreamFraming")


class Rejected(Exception):
    """A request that is refused: an HTTP status, and words for the dialect's error object."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class SimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came. `path` and `query` are decoded; `variables` are the path's."""

    method: str
    path: str
    variables: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class AnswerWriter(Protocol):
    """One answer on its way out."""

    def body(self) -> bytes:
        """The plain answer."""
        ...

    def events(self) -> Iterator[Event]:
        """The streamed answer."""
        ...


class SimChat(Protocol):
    """A request that was read and checked."""

    @property
    def model(self) -> str:
        """As the caller wrote it."""
        ...

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream."""
        ...

    @property
    def wants_usage(self) -> bool:
        """Whether a stream shall tell its usage."""
        ...

    @property
    def tokens_max(self) -> int | None:
        """The output limit."""
        ...

    @property
    def behaviour(self) -> str:
        """What the body itself asks of the simulator; mostly nothing."""
        ...

    def asked(self, bare_model: str, facts: SimulatedModel | None) -> Asked:
        """What it wants, in no dialect.

        Raises:
            Rejected: the model cannot do it.
        """
        ...

    def writer(
        self,
        answer: Answer,
        behaviour: Behaviour,
        *,
        answer_id: str,
        created: int,
        counts: Counts,
    ) -> AnswerWriter:
        """Writes its answer; `created` is in Unix seconds."""
        ...


class StreamFraming(Protocol):
    """How the events of a stream are written."""

    @property
    def content_type(self) -> str:
        """The stream's."""
        ...

    def frame(self, event: Event, behaviour: Behaviour, *, broken: bool, padded: bool) -> bytes:
        """One event; `broken` makes its content unreadable, `padded` long."""
        ...

    def ping(self, behaviour: Behaviour) -> bytes:
        """What keeps a silent stream alive; empty where there is no such thing."""
        ...


class SimDialect(Protocol):
    """One wire format of chats."""

    @property
    def routes(self) -> tuple[str, ...]:
        """The paths that take its requests by POST, as aiohttp writes them."""
        ...

    @property
    def framing(self) -> StreamFraming:
        """Of its streams."""
        ...

    def answer_id(self, run_id: str, call: int) -> str:
        """The name of an answer."""
        ...

    def presented_key(self, headers: Mapping[str, str]) -> str:
        """The key that a caller shows, empty if none."""
        ...

    def read(self, request: SimRequest) -> SimChat:
        """The request, checked.

        Raises:
            Rejected: it is wrong.
        """
        ...

    def refusal(self, rejected: Rejected) -> ErrorReply:
        """What a request that is wrong gets."""
        ...

    def told_error(self, status: int, code: str | None) -> ErrorReply:
        """The error that a behaviour asked for."""
        ...
