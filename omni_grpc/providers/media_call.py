"""One provider, called for what is no chat: one plain answer, or speech as its bytes come in.

Opening, cancelling and giving back connections are those of chats (`Exchange`, `Upstream`).
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Generator
from typing import Final

import aiohttp

from omni_grpc.core.errors import OmniError
from omni_grpc.core.media import MediaRequest, SpeechRequest
from omni_grpc.core.patience import Patience
from omni_grpc.core.usage import Usage
from omni_grpc.providers.answer import HttpAnswer
from omni_grpc.providers.dispatch import Dispatch
from omni_grpc.providers.errors import ProviderFault, Wait
from omni_grpc.providers.exchange import Exchange, moment, sockets_read
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.media_dialect import MediaCall, MediaDialect, MediaRefusal, ProviderMedia
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.sse import EventTooLongError

_READ_FAILED: Final = (aiohttp.ClientError, OSError, RuntimeError)

_CONTENT_TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


class MediaProvider:
    """One provider, asked for everything beside chats that its dialect has."""

    def __init__(self, upstream: Upstream, dialect: MediaDialect) -> None:
        self._upstream = upstream
        self._dialect = dialect

    @property
    def spec(self) -> ProviderSpec:
        """What the provider is."""
        return self._upstream.spec

    @property
    def hears_in_chats(self) -> bool:
        """Whether its models of chats that take audio write down what is said."""
        return self._dialect.hears_in_chats

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """The first thing of a request that it cannot do; `model` is its own name of it."""
        return self._dialect.refused(request, model)

    def ask(
        self, call: MediaCall, dispatched: Callable[[], None], named: Callable[[str], None]
    ) -> HttpAnswer[ProviderMedia]:
        """Prepares a plain answer; nothing is sent before it is awaited."""
        return HttpAnswer(
            self._upstream,
            self._dialect.encode(call),
            self._dialect.decoder(call),
            call=call,
            dispatched=dispatched,
            named=named,
            counted=self._dialect.counted,
        )

    def speak(
        self, call: MediaCall, dispatched: Callable[[], None], named: Callable[[str], None]
    ) -> "SpeechStream":
        """Prepares speech; nothing is sent before it is opened."""
        return SpeechStream(self._upstream, self._dialect, call, dispatched, named)


class SpeechStream:
    """Audio on its way: `open` it, `read` it to its end, and always `close` it."""

    def __init__(
        self,
        upstream: Upstream,
        dialect: MediaDialect,
        call: MediaCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None],
    ) -> None:
        if not isinstance(call.request, SpeechRequest):
            raise TypeError("only speech is streamed")
        self._upstream = upstream
        self._dialect = dialect
        self._call = call
        self._format = call.request.format
        self._named = named
        self._seconds = min(call.seconds_left, upstream.spec.timeouts.total_s)
        self._due = 0.0
        self._reader = dialect.reader(call, upstream.faults)
        self._response: aiohttp.ClientResponse | None = None
        self._over = False
        self._fault: ProviderFault | None = None
        self._left_bytes = 0
        self._opening = Exchange(
            self._request,
            Dispatch(dispatched),
            bills_on=upstream.spec.bills_after_cancel,
            shut=self._shut,
        )

    @property
    def usage(self) -> Usage | None:
        """What the provider reported; None where it did not, or not yet."""
        return self._reader.usage

    @property
    def content_type(self) -> str:
        """Of the audio."""
        return _CONTENT_TYPES[self._format]

    def __await__(self) -> Generator[object, None, None]:
        """Sends the request and waits for a status line of success.

        Raises:
            ProviderFault: there was none, by its class why.
            OmniError: that of `dispatched`, and nothing was sent.
        """
        return self._open().__await__()

    async def _open(self) -> None:
        self._due = asyncio.get_running_loop().time() + self._seconds
        self._response = await self._opening.start()

    async def _request(self) -> aiohttp.ClientResponse:
        upstream, call = self._upstream, self._call
        response = await upstream.post(
            self._dialect.encode(call),
            self._opening.dispatch,
            call_id=call.call_id,
            due=self._due,
            first_byte_s=upstream.spec.timeouts.first_byte_s,
            retries=call.retries,
        )
        name = upstream.name_in(response)
        if name is not None:
            self._named(name)
        if response.headers.get("Content-Type", "").startswith("application/json"):
            raise upstream.faults.not_a_stream(await upstream.read(response, self._due))
        return response

    async def read(self) -> bytes:
        """The audio of the next read; empty at its end.

        Raises:
            ProviderFault: it broke off.
        """
        while not self._over:
            data = await self._next()
            if not data:
                self._end()
                break
            audio = self._audio(data)
            if audio:
                return audio
        return b""

    async def _next(self) -> bytes:
        if self._response is None:
            raise RuntimeError("speech is opened before it is read")
        if self._fault is not None:
            self._shut()
            raise self._fault
        content = self._response.content
        now = asyncio.get_running_loop().time()
        until = min(self._due, now + self._upstream.spec.timeouts.between_bytes_s)
        faults = self._upstream.faults
        try:
            with Patience(until):
                return await content.readany()
        except TimeoutError as error:
            self._shut()
            wait: Wait = "total" if until == self._due else "between_bytes"
            raise faults.timed_out(wait, dispatched=True) from error
        except _READ_FAILED as error:
            fault = faults.truncated("its audio was cut before its end")
            # What came before it; aiohttp hides that behind the exception.
            left: bytes = content._read_nowait(-1)  # noqa: SLF001 - the public one raises
            if left:
                self._fault = fault
                return left
            self._shut()
            raise fault from error

    def _audio(self, data: bytes) -> bytes:
        """The audio that this read made whole."""
        try:
            return self._reader.feed(data)
        except EventTooLongError as error:
            self._shut()
            raise self._upstream.faults.malformed("an event of its stream is too large") from error
        except ProviderFault:
            self._shut()
            raise

    def _end(self) -> None:
        """The body has ended in order."""
        self._over = True
        if not self._reader.is_whole:
            self._shut()
            raise self._upstream.faults.truncated("its stream ended before its audio did")
        if self._response is not None:
            self._upstream.linger(self._response)

    async def drain(self) -> int:
        """Reads on for a caller who went away; how many bytes of audio still came.

        What it had read when it ended otherwise, `cancel` tells.

        Raises:
            ProviderFault: as opening and reading do.
        """
        await self._read_left()
        return self._take_left()

    async def _read_left(self) -> None:
        if self._response is None:
            self._response = await self._opening.outcome()
        while part := await self.read():
            self._left_bytes += len(part)

    async def cancel(self) -> int:
        """Stops the provider; how many bytes of audio it had sent and nobody has read."""
        if self._over or not self._opening.is_started:
            self._shut()
            return self._take_left()
        self._opening.keep()
        refused = self._opening.dispatch.refused
        if refused is not None:
            self._shut()
            raise refused
        try:
            await sockets_read()
            if self._opening.stop_provider() or self._response is not None:
                self._due = math.inf  # from here on the moment below is its time
                with contextlib.suppress(TimeoutError, ProviderFault, OmniError), moment():
                    await self._read_left()
        finally:
            self._shut()
        return self._take_left()

    def _take_left(self) -> int:
        left, self._left_bytes = self._left_bytes, 0
        return left

    def close(self) -> None:
        """Closes the connection at once, unless all of the audio came; idempotent."""
        if not self._over:
            self._shut()

    def _shut(self) -> None:
        self._over = True
        self._opening.keep()
        self._opening.abort()
        response = self._opening.found
        if response is not None and response.connection is not None:
            response.close()
            self._opening.dispatch.abort()
