"""One POST to a webhook: one attempt, bounded in time, of whose answer only the status counts.

Redirects, cookies, proxies of the environment and kept connections are not used. The body of an
answer is not read: it could tell a webhook's owner what an inner host says.
"""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from omni_grpc.notices.addresses import PrivateAddressError, public_socket
from omni_grpc.notices.model import Outcome

ATTEMPT_SECONDS_MAX: Final = 15.0
"""One attempt altogether; the standard says 15 to 30 seconds."""

CONNECT_SECONDS_MAX: Final = 5.0

LOOKUP_THREADS: Final = 64
"""Names looked up at once, in threads of their own: a slow name server holds up no call."""

DNS_SECONDS: Final = 10
"""How long an address is believed; it is checked at each connection all the same."""

_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "omni-grpc webhooks",
}


class Poster:
    """Sends. Open it inside the loop, close it at the end.

    Args:
        private_hosts: whether it connects to private addresses too.
        seconds_max: one attempt.
    """

    def __init__(self, *, private_hosts: bool, seconds_max: float = ATTEMPT_SECONDS_MAX) -> None:
        self._private_hosts = private_hosts
        self._seconds_max = seconds_max
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Ready to send; no connection is made yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                force_close=True,
                ttl_dns_cache=DNS_SECONDS,
                resolver=_Lookup(),
                # Asked for each address of a name just before it is connected to.
                socket_factory=None if self._private_hosts else public_socket,
            ),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=self._seconds_max, sock_connect=CONNECT_SECONDS_MAX
            ),
        )

    async def close(self) -> None:
        """Ends what is being sent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt; what goes wrong is in the outcome."""
        if self._session is None:
            raise RuntimeError("the poster is not open")
        try:
            async with self._session.post(
                URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as answer:
                status = answer.status
                answer.close()
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            return Outcome(error=_words(error))
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
            return Outcome(status=status)
        return Outcome(status=status, error=f"It answered with the status {status}.")


class _Lookup(AbstractResolver):
    """The machine's own way to look names up, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, "webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM),
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kin,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kin, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _words(error: Exception) -> str:
    """What may be told of a failure: its kind, never what a host said."""
    if _has_private(error):
        return "It leads to an address that is not public."
    match error:
        case TimeoutError():
            return "It did not answer in time."
        case aiohttp.ClientConnectorDNSError():
            return "Its name could not be looked up."
        case aiohttp.ClientConnectorCertificateError():
            return "Its certificate is not valid for its name, or of nobody who is trusted."
        case aiohttp.ClientConnectorSSLError():
            return "It does not speak TLS as it should."
        case aiohttp.InvalidURL():
            return "Its URL cannot be used."
        case aiohttp.ClientConnectorError():
            return "It could not be connected to."
        case _:
            return "The connection ended, or what came was no HTTP answer."


def _has_private(error: Any) -> bool:  # any part of a chain of exceptions
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, PrivateAddressError):
            return True
        inner = getattr(error, "os_error", None)
        if inner is not None and inner is not error and _has_private(inner):
            return True
        error = error.__cause__ or error.__context__
    return False
