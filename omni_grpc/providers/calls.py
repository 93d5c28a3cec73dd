"""What completion asks of a provider and gets from it, whatever the provider's dialect.

A call is made once: nothing here retries a request of which a byte may have reached the provider.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Protocol

import msgspec

from omni_grpc.core.chat import ChatDelta, ChatRequest, Choice
from omni_grpc.core.usage import Usage
from omni_grpc.providers.features import Asked
from omni_grpc.providers.spec import ProviderSpec


class UpstreamCall(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one provider.

    `model` is the provider's own name of it, `output_tokens_max` what the hold covers, `call_id`
    an ASCII text by which the provider's logs can be matched with ours, and `seconds_left` what
    remains of the caller's deadline. `retries` says that nobody else will be asked, so that a
    provider that brought no answer is asked again.
    """

    request: ChatRequest
    model: str
    output_tokens_max: int
    call_id: str
    seconds_left: float
    retries: bool = False


class ProviderCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `usage` is None where the provider reported none that can be believed.

    `id` is the provider's own name of it, by which its records can be asked.
    """

    choices: tuple[Choice, ...]
    usage: Usage | None
    id: str | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None


class ProviderAnswer(Protocol):
    """A plain answer: await it once to send the request and get all of it.

    Raises:
        ProviderFault: by its class, what went wrong.
        OmniError: that of `dispatched`, and nothing was sent.
    """

    @property
    def left_out(self) -> tuple[str, ...]:
        """Optional settings that the provider is not sent, since they clash with its model."""
        ...

    def __await__(self) -> Generator[object, None, ProviderCompletion]:
        """Send the request and wait for all of the answer.

        Cancelling the wait stops the provider, unless it bills on all the same.
        """
        ...

    async def cancel(self) -> ProviderCompletion | None:
        """Stop the provider; the answer, where the provider had sent all of it. As of a stream.

        Raises:
            ProviderFault: it had refused, and waited to be asked again.
        """
        ...

    async def drain(self) -> ProviderCompletion:
        """Wait on for a caller who was cancelled, where the provider bills on. As of a stream.

        Raises:
            ProviderFault: as waiting does.
            OmniError: that of `dispatched`.
        """
        ...


class ProviderStream(Protocol):
    """A streamed answer: await it to open it, then iterate, and always close it.

    Each item is what one read from the provider brought, at least one delta and at most one a
    choice. A fault is raised only after every delta that came before it was handed out. The
    facts (usage, model, …) grow while the stream runs and are final after its end.
    """

    def __await__(self) -> Generator[object, None, "ProviderStream"]:
        """Send the request and wait for a status line of success; returns itself.

        Raises:
            ProviderFault: there was none, by its class why.
            OmniError: that of `dispatched`, and nothing was sent.
        """
        ...

    def __aiter__(self) -> "ProviderStream":
        """The stream itself."""
        ...

    async def __anext__(self) -> tuple[ChatDelta, ...]:
        """The deltas of the next read that brings any.

        Raises:
            ProviderFault: the stream failed, or ended without being whole.
        """
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """Optional settings that the provider is not sent, since they clash with its model."""
        ...

    @property
    def usage(self) -> Usage | None:
        """The last usage that was reported; None where there was none.

        Where more of the answer came after it, it counts the prompt and no completion.
        """
        ...

    @property
    def model(self) -> str | None:
        """The model as the provider names it in its answer."""
        ...

    @property
    def system_fingerprint(self) -> str | None:
        """The provider's mark of the backend that answered."""
        ...

    @property
    def service_tier(self) -> str | None:
        """The tier that the provider served the call in."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the answer is whole: each choice has its finish reason, and the end came."""
        ...

    async def aclose(self) -> None:
        """Close the connection at once, unless the stream has ended; idempotent."""
        ...

    async def cancel(self) -> tuple[ChatDelta, ...]:
        """Stop the provider, and return what it had sent and nobody has read yet.

        Works in every state, also when the wait for the opening was itself cancelled; then call
        it at once, since what was sent is kept for no longer than it takes itself: a quarter of
        a second. Run it where it is not cancelled in turn.

        Raises:
            ProviderFault: it had refused, and waited to be asked again.
        """
        ...

    def drain(self) -> AsyncGenerator[tuple[ChatDelta, ...], None]:
        """Read on for a reader that was cancelled, in whatever state; else as iterating.

        Where cancelling does not stop the provider's bill, an opening goes on for a quarter of a
        second after its wait was cancelled, for this to take it up. It may itself be cancelled,
        and `cancel` called after it.

        Raises:
            ProviderFault: as opening and reading do.
        """
        ...


class ChatProvider(Protocol):
    """One provider, ready to be called."""

    @property
    def spec(self) -> ProviderSpec:
        """What the provider is."""
        ...

    def refused(self, request: ChatRequest) -> Asked | None:
        """The first thing that a request asks, not as optional, and this provider cannot do."""
        ...

    def fitted(self, request: ChatRequest, *, reasons: bool) -> tuple[ChatRequest, tuple[str, ...]]:
        """The request without optional settings that this provider cannot do.

        `reasons` says whether the model can. With the names of those, and of the unknown fields
        that the provider will not be sent.
        """
        ...

    def complete(
        self,
        call: UpstreamCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None = None,
    ) -> ProviderAnswer:
        """Prepare a plain answer: nothing is sent before the result is awaited.

        `dispatched` is called once, right before the first byte of the request may reach the
        provider; nothing is sent if it raises an OmniError. `named` is called at most once, as
        soon as the provider has named its answer.

        Raises:
            FieldInvalid: the request holds something that is no JSON.
        """
        ...

    def open_stream(
        self,
        call: UpstreamCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None = None,
    ) -> ProviderStream:
        """Prepare a streamed answer; nothing is sent before the result is awaited.

        `dispatched` and `named` are as in `complete`.

        Raises:
            FieldInvalid: the request holds something that is no JSON.
        """
        ...
