"""One provider's connections, and the sending of one request over them.

The only file that asks aiohttp for connections. Nothing is sent twice: only a request of which
provably no byte left (the pooled connection had been closed by the provider) is tried on another
connection. Redirects, cookies, proxies of the environment and compression are not used.
"""

import asyncio
import contextlib
import itertools
import os
from functools import partial
from typing import Final

import aiohttp
import structlog
from yarl import URL

from omni_grpc.core.errors import OmniError
from omni_grpc.core.patience import Patience
from omni_grpc.providers.credentials import Credentials, CredentialsError
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.dispatch import ConnectionGoneError, Dispatch, RequestBody
from omni_grpc.providers.errors import ProviderFault, Wait
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.spec import ProviderSpec

log = structlog.get_logger(__name__)

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest plain answer: a few generated files in base64 fit."""

ERROR_BODY_BYTES_MAX: Final = 64 * 1024
"""As much of an error's body is read; its message is far shorter."""

ERROR_BODY_SECONDS_MAX: Final = 5.0
"""An error's status is known already: its words are not awaited longer."""

READ_BUFFER_BYTES: Final = 64 * 1024
"""Bytes of a stream that wait for a slow reader before the provider is held back (twice this)."""

KEEPALIVE_SECONDS: Final = 30.0
"""How long an idle connection is kept: less than the idle limit of common load balancers."""

LINGER_SECONDS: Final = 1.0
"""How long an ended stream's connection may take to end its body, so as to be used again."""

CONNECTIONS_TRIED_MAX: Final = 3
"""Connections tried for one request while each proves dead before a byte is sent."""

URLS_KEPT_MAX: Final = 1_024
"""Addresses kept made; some dialects have the model in them."""

DNS_SECONDS: Final = 30
"""How long a resolved name is believed, so that a burst of calls is one look-up."""

CLIENT_REQUEST_ID: Final = "X-Client-Request-Id"
"""The header by which OpenAI lets a client name a request, to be found in its logs."""

GENERATION_ID: Final = "X-Generation-Id"
"""The header by which OpenRouter names its answer before the first byte of it."""

GENERATION_ID_CHARS_MAX: Final = 128
"""Longest name of an answer that is believed; those known have up to fifty characters."""

_USER_AGENT: Final = "omni-grpc"
_SUCCESS: Final = 2
_NO_CONTENT: Final = 204


class Pool:
    """Connections that many accounts at one provider share: nothing of theirs stays on them.

    So thousands of accounts open no more connections than their calls need.
    """

    def __init__(self, spec: ProviderSpec) -> None:
        self._spec = spec
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    def session(self) -> aiohttp.ClientSession | None:
        """The connections, made with the first call; None once they are closed."""
        if self._session is None and not self._is_closed:
            self._session = _session(self._spec, _common_headers(self._spec))
        return self._session

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None


class Upstream:
    """The connections to one provider. Open it inside the loop, close it at the end."""

    def __init__(
        self,
        spec: ProviderSpec,
        base_url: URL,
        credentials: Credentials,
        faults: Faults,
        pool: Pool | None = None,
    ) -> None:
        """With a `pool` its connections are used, and it is not for this to close them."""
        self.spec = spec
        self.faults = faults
        self._base_url = str(base_url).rstrip("/")
        self._credentials = credentials
        self._pool = pool
        self._own_headers = dict(credentials.headers) if pool is not None else {}
        """What each request carries, since the pool's other users must not."""
        self._headers = _common_headers(spec) | dict(credentials.headers)
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._lingering: dict[aiohttp.ClientResponse, asyncio.TimerHandle] = {}

    def url(self, path: str) -> URL:
        """The address of an endpoint below the base URL; `path` is percent-encoded."""
        found = self._urls.get(path)
        if found is None:
            if len(self._urls) >= URLS_KEPT_MAX:
                self._urls.clear()
            found = self._urls[path] = URL(f"{self._base_url}/{path}", encoded=True)
        return found

    def name_in(self, response: aiohttp.ClientResponse) -> str | None:
        """The provider's name of its answer, where it stands in the head; else in the body."""
        if self.spec.records is None:
            return None
        return generation_id_of(response.headers.get(GENERATION_ID))

    async def open(self) -> None:
        """Make the pool; no connection is made yet."""
        if self._pool is None:
            self._session = _session(self.spec, self._headers)

    def _connections(self) -> aiohttp.ClientSession | None:
        return self._session if self._pool is None else self._pool.session()

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        for response in tuple(self._lingering):
            self._end_linger(response)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def linger(self, response: aiohttp.ClientResponse) -> None:
        """Give an answer of which all was read its moment to end its body.

        aiohttp gives the connection back at that end, and none is awaited for it.
        """
        if response.connection is None:
            return
        if response.content.exception() is not None:
            response.close()
            return
        loop = asyncio.get_running_loop()
        self._lingering[response] = loop.call_later(LINGER_SECONDS, self._end_linger, response)
        response.content.on_eof(lambda: self._end_linger(response))

    def _end_linger(self, response: aiohttp.ClientResponse) -> None:
        timer = self._lingering.pop(response, None)
        if timer is not None:
            timer.cancel()
            response.close()

    async def post(
        self,
        request: WireRequest,
        dispatch: Dispatch,
        *,
        call_id: str,
        due: float,
        first_byte_s: float | None,
        retries: bool,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer when a status line of success has come.

        Args:
            request: what is sent, and to which endpoint.
            dispatch: is told how far the request got.
            call_id: names the request in the provider's logs.
            due: the loop's time at which the call is over.
            first_byte_s: longest wait for the status line; None leaves it to `due`.
            retries: whether it may be sent again where that can help; see `Retries`.

        Raises:
            ProviderFault: there was no such status line.
            OmniError: `dispatch` refused to be sent.
        """
        loop = asyncio.get_running_loop()
        spec = self.spec
        for tries in itertools.count():
            try:
                return await self._post(request, dispatch, call_id, due, first_byte_s)
            except ProviderFault as fault:
                left = due - loop.time()
                pause_s = (
                    spec.retries.pause_s(fault, tries, left, bills_on=spec.bills_after_cancel)
                    if retries and not dispatch.forbidden
                    else None
                )
                if pause_s is None:
                    raise
                dispatch.wait(fault)
                log.info("provider_asked_again", pause_s=round(pause_s, 3), because=fault.message)
            await asyncio.sleep(pause_s)
        raise AssertionError("count() has no end")

    async def _post(
        self,
        request: WireRequest,
        dispatch: Dispatch,
        call_id: str,
        due: float,
        first_byte_s: float | None,
    ) -> aiohttp.ClientResponse:
        url = self.url(request.path)
        headers = {CLIENT_REQUEST_ID: call_id, **self._own_headers, **request.headers}
        if self._credentials.signs:
            headers |= await self._signed(url, headers, request.body, due)
        for _ in range(CONNECTIONS_TRIED_MAX):
            try:
                response = await self._try(url, request.body, headers, dispatch, due, first_byte_s)
            except BaseException:
                dispatch.drop()  # aiohttp's own closing would first write what is left
                raise
            if response is not None:
                response.content.on_eof(partial(dispatch.end, dispatch.transport))
                await self._check(response)
                return response
            await asyncio.sleep(0)  # the loop hears of the other dead connections
        raise self.faults.unreachable("it closes its connections at once", dispatched=False)

    async def get(self, url: URL, due: float) -> bytes:
        """Ask for something that costs nothing, and so may be asked again; its body.

        Raises:
            ProviderFault: it did not come with a status of success, or not until `due`.
        """
        session = self._connections()
        if session is None:
            raise self.faults.unreachable("its connections are closed", dispatched=False)
        try:
            with Patience(due):
                response = await session.get(url, headers=self._own_headers, allow_redirects=False)
        except TimeoutError as error:  # aiohttp's own of a connection is one too
            raise self.faults.timed_out("total", dispatched=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(error, dispatched=False) from error
        await self._check(response)
        return await self.read(response, due)

    async def _signed(
        self, url: URL, headers: dict[str, str], body: bytes, due: float
    ) -> dict[str, str]:
        """The headers that prove this one request to be ours."""
        try:
            with Patience(due):
                return await self._credentials.sign("POST", str(url), headers, body)
        except TimeoutError as error:
            raise self.faults.timed_out("total", dispatched=False) from error
        except CredentialsError as error:
            raise self.faults.misconfigured(str(error)) from error

    async def _try(
        self,
        url: URL,
        body: bytes,
        headers: dict[str, str],
        dispatch: Dispatch,
        due: float,
        first_byte_s: float | None,
    ) -> aiohttp.ClientResponse | None:
        """One try; None where its connection was dead before anything was sent."""
        session = self._connections()
        if session is None:
            raise self.faults.unreachable("its connections are closed", dispatched=False)
        loop = asyncio.get_running_loop()
        patience = Patience(due)

        def await_first_byte() -> None:
            if first_byte_s is not None:
                patience.reschedule(min(due, loop.time() + first_byte_s))

        try:
            with patience:
                return await session.post(
                    url,
                    data=RequestBody(body, dispatch, await_first_byte),
                    headers=headers,
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise self.faults.timed_out("connect", dispatched=False) from error
        except TimeoutError as error:
            wait: Wait = "total" if patience.when == due else "first_byte"
            raise self.faults.timed_out(wait, dispatched=dispatch.started) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error.__cause__, ConnectionGoneError):
                return None
            if isinstance(error.__cause__, OmniError):
                raise error.__cause__ from None
            raise self._failure(error, dispatched=dispatch.started) from error

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status // 100 != _SUCCESS:
            body = await self._read_error(response)
            raise self.faults.from_answer(response.status, response.headers, body)
        if response.status == _NO_CONTENT:
            raise self.faults.malformed("its answer has no body (204)")
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            response.close()
            raise self.faults.malformed(f"its answer is compressed ({encoding}), unasked")

    async def read(self, response: aiohttp.ClientResponse, due: float) -> bytes:
        """The body of a plain answer; its connection goes back to the pool.

        Raises:
            ProviderFault: the body was cut, too long, or too slow.
        """
        content = response.content
        if content.is_eof() and content.exception() is None:
            return content.read_nowait()  # all of it came with its head
        loop = asyncio.get_running_loop()
        between_s = self.spec.timeouts.between_bytes_s
        parts: list[bytes] = []
        size = 0
        try:
            with Patience(min(due, loop.time() + between_s)) as patience:
                while size <= ANSWER_BYTES_MAX and (part := await content.readany()):
                    parts.append(part)
                    size += len(part)
                    patience.reschedule(min(due, loop.time() + between_s))
        except TimeoutError as error:
            response.close()
            wait: Wait = "total" if patience.when == due else "between_bytes"
            raise self.faults.timed_out(wait, dispatched=True) from error
        except (aiohttp.ClientError, OSError) as error:
            response.close()
            raise self.faults.truncated("its answer was cut") from error
        except BaseException:
            response.close()
            raise
        if size > ANSWER_BYTES_MAX:
            response.close()
            raise self.faults.malformed("its answer is larger than is believable")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_error(self, response: aiohttp.ClientResponse) -> bytes:
        """As much of an error's body as came in time."""
        body = b""
        try:
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(ERROR_BODY_SECONDS_MAX):
                    while len(body) < ERROR_BODY_BYTES_MAX:
                        part = await response.content.readany()
                        if not part:
                            break
                        body += part
        finally:
            # Goes back to the pool where the body was whole, and is closed where it was not.
            response.release()
        return body[:ERROR_BODY_BYTES_MAX]

    def _failure(self, error: Exception, *, dispatched: bool) -> ProviderFault:
        match error:
            case aiohttp.ClientConnectorDNSError():
                why = "its name could not be resolved"
            case aiohttp.ClientConnectorCertificateError():
                why = "its certificate is not trusted"
            case aiohttp.ClientConnectorSSLError():
                why = "no TLS connection could be made"
            case aiohttp.ClientConnectorError():
                # The error's own text would name our provider's address to callers.
                reason = os.strerror(error.errno) if error.errno else "no reason given"
                why = f"no connection could be made ({reason})"
            case aiohttp.ClientResponseError():
                return self.faults.malformed("what it sent is no HTTP answer")
            case _:
                why = "the connection ended before its answer began"
        return self.faults.unreachable(why, dispatched=dispatched)


def _common_headers(spec: ProviderSpec) -> dict[str, str]:
    """What every request to a provider carries, whoever sends it."""
    return {
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": _USER_AGENT,
        **spec.headers,
    }


def _session(spec: ProviderSpec, headers: dict[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=spec.connections_max,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
        ),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        raise_for_status=False,
        read_bufsize=READ_BUFFER_BYTES,
        # The other waits are ours, here and in stream.py: aiohttp's cost a timer a read.
        timeout=aiohttp.ClientTimeout(
            total=None, connect=spec.timeouts.connect_s, sock_connect=None, sock_read=None
        ),
    )


def generation_id_of(value: object) -> str | None:
    """A provider's name of its answer, where it can be one: a short text without blanks."""
    if not isinstance(value, str) or not 0 < len(value) <= GENERATION_ID_CHARS_MAX:
        return None
    return value if value.isascii() and value.isprintable() and " " not in value else None
