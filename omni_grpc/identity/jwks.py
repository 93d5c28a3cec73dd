"""The public keys of a token issuer: fetched, kept, and fetched anew when it changes them.

Tokens go on being checked while the issuer is away, with the keys it had, for a day at most. A key
that is not known is asked for, but rarely: anyone can send tokens of made-up keys. Only public keys
of the three algorithms below are ever taken.
"""

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec
import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Busy

FRESH_SECONDS: Final = 3_600.0
"""After so long the keys are fetched anew in the background; issuers announce keys days ahead."""

STALE_SECONDS_MAX: Final = 24 * 3_600.0
"""How long keys are believed that could not be fetched anew: what the issuer revoked meanwhile
would work for so long."""

REFETCH_SECONDS: Final = 10.0
"""How often the issuer is asked at most, whatever is presented."""

FETCH_SECONDS_MAX: Final = 5.0
DOCUMENT_BYTES_MAX: Final = 256 * 1024
"""Largest document of an issuer; the known ones have some kilobytes."""

KEYS_MAX: Final = 64
RSA_BITS: Final = range(2_048, 8_193)
"""Shorter RSA keys are broken too easily, longer ones cost too much to check."""

ALGORITHMS: Final = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
"""What a token may be signed with: by its `alg`, the type and the curve of its key."""

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_HTTP_OK: Final = 200

log = structlog.get_logger(__name__)


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]  # a key's members differ by its type


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


_Keys = dict[tuple[str | None, str], jwt.PyJWK]
_read_keys: Final = msgspec.json.Decoder(_KeySet).decode
_read_discovery: Final = msgspec.json.Decoder(_Discovery).decode


class IssuerKeys:
    """One issuer's keys. For one event loop.

    Args:
        issuer: the issuer's URL.
        jwks_url: where its keys are; found by its discovery document if empty.
        clock: whose monotonic time tells how old they are.
    """

    def __init__(self, issuer: str, jwks_url: str, clock: Clock) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: _Keys = {}
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of a token's header; None if the issuer has none such.

        A token that names no key is checked with the only one of its algorithm.

        Raises:
            Busy: the issuer's keys are not known, and it does not answer.
        """
        age_s = self._age_s()
        if age_s is None or age_s >= STALE_SECONDS_MAX:
            await self._fetch()
            if (age_s := self._age_s()) is None or age_s >= STALE_SECONDS_MAX:
                raise Busy(
                    "The issuer of this token does not answer, so the token could not be checked. "
                    "Nothing is wrong with the request; try again shortly.",
                    retry_after_s=REFETCH_SECONDS,
                )
        elif age_s >= FRESH_SECONDS:
            self._begin()
        found = self._match(kid, algorithm)
        if found is None:
            await self._fetch()
            found = self._match(kid, algorithm)
        return found

    def _age_s(self) -> float | None:
        return None if self._fetched_s is None else self._clock.monotonic() - self._fetched_s

    def _match(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if kid is not None:
            return self._keys.get((kid, algorithm))
        of_algorithm = [key for (_, of), key in self._keys.items() if of == algorithm]
        return of_algorithm[0] if len(of_algorithm) == 1 else None

    async def _fetch(self) -> None:
        """Waits for a fetch, unless one was made a moment ago."""
        fetching = self._begin()
        if fetching is not None:
            await asyncio.shield(fetching)

    def _begin(self) -> "asyncio.Task[None] | None":
        """The fetch that runs, or a new one; None where it is too early for another."""
        if self._fetching is None:
            now = self._clock.monotonic()
            if self._asked_s is not None and now - self._asked_s < REFETCH_SECONDS:
                return None
            self._asked_s = now
            self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            self._keys = await fetched_keys(self._issuer, self._jwks_url)
            self._fetched_s = self._clock.monotonic()
        except IssuerError as error:
            log.warning("issuer_keys_not_fetched", issuer=self._issuer, error=str(error))
        finally:
            self._fetching = None


class IssuerError(Exception):
    """An issuer does not answer, or answers with what is no set of keys."""


async def fetched_keys(issuer: str, jwks_url: str) -> _Keys:
    """The issuer's keys that can be used, by their id and their algorithm.

    Raises:
        IssuerError: they cannot be had, or none can be used.
    """
    async with httpx.AsyncClient(timeout=FETCH_SECONDS_MAX, verify=_authorities()) as client:

        async def get(url: str) -> bytes:
            return await _document(client, url)

        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                found = _read_keys(await get(jwks_url or await _discovered(issuer, get)))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise IssuerError(f"{type(error).__name__}: {error}") from error
        except TimeoutError:
            raise IssuerError(f"it did not answer within {FETCH_SECONDS_MAX:g} s") from None
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise IssuerError(f"its answer is not what it should be: {error}") from error
    keys: _Keys = {}
    for values in found.keys[:KEYS_MAX]:
        usable = _usable(values)
        if usable is not None:
            keys.setdefault(*usable)
    if not keys:
        raise IssuerError(f"none of its {len(found.keys)} keys can be used")
    return keys


def is_safe_url(url: str) -> bool:
    """Whether keys may be fetched from it: over https, or from this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Read once: that takes some 30 ms."""
    return ssl.create_default_context()


async def _discovered(issuer: str, get: Callable[[str], Awaitable[bytes]]) -> str:
    found = _read_discovery(await get(issuer.rstrip("/") + DISCOVERY_PATH))
    if found.issuer != issuer:
        raise IssuerError(f"its discovery document is of another issuer, {found.issuer[:200]!r}")
    if not is_safe_url(found.jwks_uri):
        raise IssuerError("its keys are not on https")
    return found.jwks_uri


async def _document(client: httpx.AsyncClient, url: str) -> bytes:
    content = b""
    async with client.stream("GET", url) as answer:
        if answer.status_code != _HTTP_OK:
            raise IssuerError(f"it answered with the status {answer.status_code}")
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > DOCUMENT_BYTES_MAX:
                raise IssuerError(f"its document is larger than {DOCUMENT_BYTES_MAX} bytes")
    return content


def _usable(values: dict[str, Any]) -> tuple[tuple[str | None, str], jwt.PyJWK] | None:
    """A key and what it is found by; None where it is not one for us."""
    kid = values.get("kid")
    for algorithm, (kind, curve) in ALGORITHMS.items():
        if (
            values.get("kty") == kind
            and values.get("crv") == curve
            and values.get("alg", algorithm) == algorithm
            and values.get("use", "sig") == "sig"
            and "d" not in values  # who publishes a private key has none any more
            and (kid is None or isinstance(kid, str))
        ):
            break
    else:
        return None
    try:
        key = jwt.PyJWK.from_dict(values, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        log.warning("issuer_key_unreadable", kid=str(kid)[:64])
        return None
    if kind == "RSA" and key.key.key_size not in RSA_BITS:
        return None
    return (kid, algorithm), key
