"""JSON over HTTP to the two services that x402 needs, a facilitator and a node of the chain.

Answers are bounded in size and in time. No cookie is kept, no proxy of the environment is used, and
no failure names an address: those may carry keys.
"""

import asyncio
from typing import Any, Final

import aiohttp
import msgspec

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest answer that is read: a thousand signatures in a node's list are 400 kB."""

REDIRECTS_MAX: Final = 3
"""Some facilitators answer at another host than they are known by."""

CONNECT_SECONDS_MAX: Final = 5.0


class ServiceAway(Exception):
    """No answer came, or none that can be read. What was asked may have been done all the same."""


class JsonService:
    """Asks JSON services; one for a worker. Connections are opened with the first question."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self, method: str, url: str, body: object = None, *, seconds: float
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer.

        Raises:
            ServiceAway: none came in time, or it is not JSON.
        """
        data = None if body is None else msgspec.json.encode(body)
        headers = {"accept": "application/json"}
        if data is not None:
            headers["content-type"] = "application/json"
        try:
            async with self._opened().request(
                method,
                url,
                data=data,
                headers=headers,
                max_redirects=REDIRECTS_MAX,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS_MAX),
            ) as answer:
                return answer.status, msgspec.json.decode(await _bounded(answer))
        except TimeoutError:
            raise ServiceAway(f"no answer came within {seconds:g} s") from None
        except aiohttp.ClientConnectorError:
            raise ServiceAway("it cannot be reached") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
            raise ServiceAway("the connection ended before an answer came") from None
        except msgspec.DecodeError:
            raise ServiceAway("its answer cannot be read") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise ServiceAway("its answer is too large")
        parts.append(part)
    return b"".join(parts)
