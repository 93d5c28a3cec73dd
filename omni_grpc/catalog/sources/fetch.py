"""Fetches a source's document over HTTPS or from a file, within bounds of size and time.

Plain HTTP goes to this machine alone, and a redirect never leads to another host. What did not
change since the last time is not sent again. Nothing is trusted before it is whole.
"""

import asyncio
import ipaddress
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from omni_grpc.catalog.sources.document import (
    BODY_BYTES_MAX,
    GZIP_MAGIC,
    SourceError,
    gunzip,
    parse_json,
    parse_yaml,
)

if TYPE_CHECKING:
    import httpx

FETCH_SECONDS_MAX: Final = 60.0
"""Longest fetch: the largest source comes in a second over a good line."""

CONNECT_SECONDS_MAX: Final = 10.0
REDIRECTS_MAX: Final = 3
_PIECE_BYTES: Final = 256 * 1024
_USER_AGENT: Final = "omni-grpc catalog sync"

_TYPES: Final = ("application/json", "text/json", "text/plain", "application/octet-stream")
_YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_GZIP_TYPES: Final = ("application/gzip", "application/x-gzip")
_YAML_ENDINGS: Final = (".yaml", ".yml")

_OK: Final = 200
_NOT_MODIFIED: Final = 304
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

OnBytes = Callable[[int, int | None], None]
"""Is told how many bytes came, and of how many if that is known."""


class Stamp(msgspec.Struct, frozen=True):
    """What a server said to know a document's version by."""

    etag: str = ""
    last_modified: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request that asks only for what is newer."""
        given = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in given.items() if value}


class Fetched(msgspec.Struct, frozen=True):
    """A whole document, parsed; None where it did not change."""

    document: object | None
    stamp: Stamp
    size_bytes: int


class _Body(msgspec.Struct, frozen=True):
    content: bytes
    stamp: Stamp
    yaml: bool


async def fetch(location: str, stamp: Stamp, on_bytes: OnBytes) -> Fetched:
    """The document of a URL or a file's path.

    Args:
        location: an https URL, an http URL of this machine, a file URL or a path.
        stamp: the version that is held; an empty one fetches in any case.
        on_bytes: is told of the progress.

    Raises:
        SourceError: it cannot be had, or is no document.
    """
    try:
        async with asyncio.timeout(FETCH_SECONDS_MAX):
            if is_file(location):
                body = await asyncio.to_thread(_read_file, path_of(location))
            else:
                found = await _get(location, stamp, on_bytes)
                if found is None:
                    return Fetched(None, stamp, 0)
                body = found
    except TimeoutError:
        raise SourceError(f"it did not come within {FETCH_SECONDS_MAX:.0f} seconds") from None
    document = await asyncio.to_thread(_parsed, body)
    return Fetched(document, body.stamp, len(body.content))


def check_location(location: str) -> str | None:
    """Why nothing may be fetched from a location; None if it may be."""
    if is_file(location):
        return None if path_of(location).name else "it names no file"
    try:
        parts = urlsplit(location)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"it is no URL: {error}"
    if not host:
        return "it names no host"
    if parts.username or parts.password:
        return "it has a password in it, which logs would show"
    if parts.scheme == "https" or (parts.scheme == "http" and _this_machine(host)):
        return None
    return "it must be https (or http on this machine, or a file)"


def is_file(location: str) -> bool:
    """Whether a location is a file's."""
    return "://" not in location or location.startswith("file://")


def path_of(location: str) -> Path:
    """The path that a file's location names."""
    if location.startswith("file://"):
        return Path(unquote(urlsplit(location).path))
    return Path(location).expanduser()


async def _get(location: str, stamp: Stamp, on_bytes: OnBytes) -> _Body | None:
    import httpx  # late: it costs 80 ms, and only a sync needs it

    headers = {
        "User-Agent": _USER_AGENT,
        "Accept": "application/json, application/yaml;q=0.9, */*;q=0.1",
        "Accept-Encoding": "gzip",
        **stamp.headers,
    }
    timeout = httpx.Timeout(FETCH_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
    url = location
    try:
        # Proxies of the environment are for what is elsewhere.
        elsewhere = not _this_machine(urlsplit(location).hostname or "")
        async with httpx.AsyncClient(
            timeout=timeout, follow_redirects=False, trust_env=elsewhere
        ) as client:
            for _ in range(REDIRECTS_MAX + 1):
                fault = check_location(url)
                if fault:
                    raise SourceError(f"{url[:200]}: {fault}")
                async with client.stream("GET", url, headers=headers) as response:
                    if response.status_code not in _REDIRECTS:
                        return await _body_of(response, stamp, on_bytes)
                    url = _redirected(url, response.headers.get("location", ""))
    except httpx.HTTPError as error:
        cause = str(error) or type(error).__name__
        raise SourceError(f"it cannot be fetched: {cause}") from None
    except httpx.InvalidURL as error:
        raise SourceError(f"it is no URL: {error}") from None
    raise SourceError(f"it redirects more than {REDIRECTS_MAX} times")


async def _body_of(response: "httpx.Response", stamp: Stamp, on_bytes: OnBytes) -> _Body | None:
    if response.status_code == _NOT_MODIFIED and stamp.headers:
        return None
    if response.status_code != _OK:
        raise SourceError(f"it answered with HTTP {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in _TYPES + _YAML_TYPES + _GZIP_TYPES:
        raise SourceError(f"it answered with {kind[:80]}, which is neither JSON nor YAML")
    content = await _whole(response, on_bytes)
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding == "gzip":
        content = await asyncio.to_thread(gunzip, content)
    elif coding not in {"", "identity"}:
        raise SourceError(f"it answered in the encoding {coding[:40]}, which was not asked for")
    ending = urlsplit(str(response.url)).path.lower().removesuffix(".gz")
    return _Body(
        content=content,
        stamp=Stamp(
            etag=response.headers.get("etag", ""),
            last_modified=response.headers.get("last-modified", ""),
        ),
        yaml=kind in _YAML_TYPES or ending.endswith(_YAML_ENDINGS),
    )


async def _whole(response: "httpx.Response", on_bytes: OnBytes) -> bytes:
    """The body as it came, undecoded: a small one must not unpack to a large one unseen."""
    stated = response.headers.get("content-length", "")
    expected = int(stated) if stated.isascii() and stated.isdecimal() else None
    if expected is not None and expected > BODY_BYTES_MAX:
        raise SourceError(f"it says that it has {expected:,} bytes; at most {BODY_BYTES_MAX:,} do")
    pieces = bytearray()
    async for piece in response.aiter_raw(_PIECE_BYTES):
        pieces += piece
        if len(pieces) > BODY_BYTES_MAX:
            raise SourceError(f"it has more than {BODY_BYTES_MAX:,} bytes")
        on_bytes(len(pieces), expected)
    return bytes(pieces)


def _redirected(url: str, target: str) -> str:
    """Where a redirect leads.

    Raises:
        SourceError: to another host, or from https to http.
    """
    found = urljoin(url, target)
    here, there = urlsplit(url), urlsplit(found)
    if (here.scheme, here.netloc.lower()) != (there.scheme, there.netloc.lower()):
        raise SourceError(f"it redirects elsewhere, to {there.scheme}://{there.netloc[:100]}")
    return found


def _read_file(path: Path) -> _Body:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{path} is no regular file")
        with path.open("rb") as file:
            content = file.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > BODY_BYTES_MAX:
        raise SourceError(f"{path} has more than {BODY_BYTES_MAX:,} bytes")
    yaml = path.name.lower().removesuffix(".gz").endswith(_YAML_ENDINGS)
    return _Body(content, Stamp(), yaml=yaml)


def _parsed(body: _Body) -> object:
    content = body.content
    if content.startswith(GZIP_MAGIC):
        content = gunzip(content)
    if not content.strip():
        raise SourceError("it is empty")
    return parse_yaml(content) if body.yaml else parse_json(content)


def _this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
