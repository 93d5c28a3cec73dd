"""What both clients' streams show; the reading of events is theirs."""

from typing import Generic, Protocol, TypeVar

from omni_grpc_client.errors import Internal, OmniError

Event = TypeVar("Event")
Item = TypeVar("Item")
Start = TypeVar("Start", bound="HasCallId")
Whole = TypeVar("Whole")

_Event_contra = TypeVar("_Event_contra", contravariant=True)
_Item_co = TypeVar("_Item_co", covariant=True)
_Start_co = TypeVar("_Start_co", covariant=True)
_Whole_co = TypeVar("_Whole_co", covariant=True)


class HasCallId(Protocol):
    """The first event of a stream."""

    @property
    def call_id(self) -> str:
        """The server's name of the call."""


class Gatherer(Protocol[_Event_contra, _Item_co, _Start_co, _Whole_co]):
    """Reads a stream's events in their order."""

    @property
    def started(self) -> _Start_co | None:
        """The first event; None before it."""

    @property
    def completion(self) -> _Whole_co | None:
        """The whole; None before the last event."""

    def take(self, event: _Event_contra, /) -> _Item_co | None:
        """Takes the next event; what the stream yields for it is returned, if anything."""


class Stream(Generic[Event, Item, Start, Whole]):
    """A call whose answer comes piece by piece."""

    def __init__(self, request_id: str, gatherer: Gatherer[Event, Item, Start, Whole]) -> None:
        self.request_id = request_id
        """The idempotency key of the call: repeating it with this never costs twice."""
        self._gatherer = gatherer

    @property
    def started(self) -> Start:
        """The first event: the call's id, and the model that answers.

        Raises:
            RuntimeError: the stream was not entered.
        """
        if self._gatherer.started is None:
            raise RuntimeError("the stream has not started: enter it with `with` or `async with`")
        return self._gatherer.started

    @property
    def completion(self) -> Whole:
        """The whole answer with its usage and cost, once the stream has ended.

        Raises:
            RuntimeError: it has not ended, or it failed.
        """
        if self._gatherer.completion is None:
            raise RuntimeError("the stream has no completion yet: read it to its end")
        return self._gatherer.completion

    def _take_first(self, event: Event | None) -> None:
        if event is not None:
            self._gatherer.take(event)
        if self._gatherer.started is None:
            raise Internal("The stream broke the contract: it did not begin with its start.")

    def _take(self, event: Event) -> Item | None:
        try:
            return self._gatherer.take(event)
        except OmniError as error:
            raise self._told(error) from None

    def _check_ended(self) -> None:
        if self._gatherer.completion is None:
            raise self._told(
                Internal("The stream broke the contract: it ended with OK but no completion.")
            )

    def _told(self, error: OmniError) -> OmniError:
        """The error with the call's id, by which its usage can be asked, and its request id."""
        error.request_id = self.request_id
        if error.call_id is None and self._gatherer.started is not None:
            error.call_id = self._gatherer.started.call_id
        return error
