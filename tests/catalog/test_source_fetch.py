"""Fetching over real sockets: whole documents within bounds, or a reason."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from source_server import SourceServer, serving

from omni_grpc.catalog import SourceError, parse_sources
from omni_grpc.catalog.sources import fetch as fetching
from omni_grpc.catalog.sources.document import BODY_BYTES_MAX
from omni_grpc.catalog.sources.fetch import Fetched, Stamp, check_location, fetch

GOOD = b'{"a": 1}'


@pytest.fixture
async def server() -> AsyncIterator[SourceServer]:
    async with serving() as served:
        yield served


async def got(url: str, stamp: Stamp = Stamp()) -> Fetched:  # noqa: B008 # immutable
    return await fetch(url, stamp, lambda received, expected: None)


async def test_json_yaml_and_gzip_are_understood(server: SourceServer):
    assert (await got(server.put("/a.json", GOOD))).document == {"a": 1}
    assert (await got(server.put("/raw", GOOD, content_type="text/plain"))).document == {"a": 1}
    assert (await got(server.put("/b.yml", b"a: 1", content_type="text/plain"))).document == {
        "a": 1
    }
    assert (await got(server.put("/c", b"a: 1", content_type="text/yaml"))).document == {"a": 1}
    assert (await got(server.zipped("/d.json", GOOD))).document == {"a": 1}
    packed = server.put("/e.json.gz", gzip.compress(GOOD), content_type="application/gzip")
    assert (await got(packed)).document == {"a": 1}


async def test_what_did_not_change_is_not_sent_again(server: SourceServer):
    url = server.put("/a", GOOD, ETag='"v1"', Last_Modified="Sat, 01 Nov 2026 00:00:00 GMT")
    first = await got(url)
    assert first.stamp == Stamp('"v1"', "Sat, 01 Nov 2026 00:00:00 GMT")
    again = await got(url, first.stamp)
    assert (again.document, again.stamp) == (None, first.stamp)
    assert server.asked["/a"][1]["If-None-Match"] == '"v1"'
    assert server.asked["/a"][1]["If-Modified-Since"] == "Sat, 01 Nov 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "given", "why"),
    [
        (b"oops", {"status": 500}, "HTTP 500"),
        (b"oops", {"status": 404}, "HTTP 404"),
        (b"", {"status": 304}, "HTTP 304"),
        (b"<html>", {"content_type": "text/html"}, "text/html, which is neither"),
        (b"<html>", {}, "not JSON"),
        (GOOD[:-2], {}, "not JSON"),
        (b"", {}, "empty"),
        (gzip.compress(GOOD, mtime=0)[:-3], {"Content_Encoding": "gzip"}, "cut short"),
        (b"no gzip", {"Content_Encoding": "gzip"}, "damaged"),
        (GOOD, {"Content_Encoding": "zstd"}, "encoding zstd"),
    ],
)
async def test_an_answer_that_is_no_document_is_told(
    server: SourceServer, body: bytes, given: dict[str, object], why: str
):
    url = server.put("/a", body, **given)  # type: ignore[arg-type] # as `put` takes them
    with pytest.raises(SourceError, match=why):
        await got(url)


async def test_a_redirect_within_the_host_is_followed_and_no_other(server: SourceServer):
    server.put("/new", GOOD)
    for path, target, why in (
        ("/near", "/new", None),
        ("/far", "https://example.com/new", "redirects elsewhere, to https://example.com"),
        ("/file", "file:///etc/passwd", "redirects elsewhere"),
        ("/port", "http://127.0.0.1:9/x", "redirects elsewhere"),
        ("/loop", "/loop", "more than 3 times"),
    ):
        url = server.put(path, b"", status=302, Location=target)
        if why is None:
            assert (await got(url)).document == {"a": 1}
        else:
            with pytest.raises(SourceError, match=why):
                await got(url)


async def test_a_body_without_end_is_cut_off(server: SourceServer):
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        piece = b" " * 2**20
        while sent < 1_000 * 2**20:
            await response.write(piece)
            sent += len(piece)
        return response

    with pytest.raises(SourceError, match="more than 33,554,432 bytes"):
        await got(server.answer("/endless", endless))
    assert sent < 2 * BODY_BYTES_MAX


async def test_a_body_that_says_it_is_huge_is_not_begun(server: SourceServer):
    async def huge(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10**9)})
        response.content_type = "application/json"
        await response.prepare(request)
        return response

    with pytest.raises(SourceError, match="1,000,000,000 bytes"):
        await got(server.answer("/huge", huge))


async def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(server: SourceServer):
    with pytest.raises(SourceError, match="unpacks to more than"):
        await got(server.zipped("/bomb", b" " * (BODY_BYTES_MAX + 1)))


async def test_a_body_that_stops_half_way_is_refused(server: SourceServer):
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        response.content_type = "application/json"
        await response.prepare(request)
        await response.write(GOOD)
        assert request.transport is not None
        request.transport.close()
        return response

    with pytest.raises(SourceError, match="cannot be fetched"):
        await got(server.answer("/half", half))


async def test_a_source_that_never_answers_is_given_up(
    server: SourceServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetching, "FETCH_SECONDS_MAX", 0.05)
    gone = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    with pytest.raises(SourceError, match=r"did not come within|cannot be fetched"):
        await got(server.answer("/silent", silent))
    gone.set()


async def test_a_host_that_is_not_there_is_told():
    with pytest.raises(SourceError, match="cannot be fetched"):
        await got("http://127.0.0.1:9/api.json")


async def test_files_are_read_and_nothing_that_is_no_file(tmp_path: Path):
    path = tmp_path / "own.yaml"
    path.write_bytes(b"a: 0.10")
    assert str((await got(str(path))).document) == "{'a': Decimal('0.10')}"
    assert (await got(path.as_uri())).document == (await got(str(path))).document
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for bad, why in (
        (tmp_path / "nothing.yaml", "No such file"),
        (tmp_path, "no regular file"),
        (pipe, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
    ):
        with pytest.raises(SourceError, match=why):
            await got(str(bad))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://example.com/api.json", "must be https"),
        ("ftp://example.com/api.json", "must be https"),
        ("https://user:word@example.com/api.json", "password"),
        ("https:///api.json", "names no host"),
        ("https://example.com:99999/x", "no URL"),
        ("", "names no file"),
    ],
)
def test_a_location_that_nothing_may_be_fetched_from_is_told(location: str, why: str):
    assert why in (check_location(location) or "")


def test_locations_that_are_allowed():
    for location in ("https://a.example/x", "http://localhost:1/x", "http://[::1]/x", "own.yaml"):
        assert check_location(location) is None


def test_sources_are_named_and_ordered_by_trust():
    named = parse_sources(["litellm", "prices=own.yaml", "models.dev=https://mirror.example/x"])
    assert [(one.name, one.location, one.own) for one in named[:2]] == [
        ("prices", "own.yaml", True),
        ("models.dev", "https://mirror.example/x", False),
    ]
    assert [one.name for one in parse_sources([])] == [
        "models.dev",
        "openrouter",
        "litellm",
        "genai-prices",
    ]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["prices"], "say where it is"),
        (["Prices=x"], "names no source"),
        (["seed=x"], "names no source"),
        (["a=x", "a=y"], "named twice"),
        (["a=http://example.com/x"], "must be https"),
        ([f"a{n}=x" for n in range(17)], "at most 16"),
    ],
)
def test_sources_that_cannot_be_are_told(texts: list[str], why: str):
    with pytest.raises(SourceError, match=why):
        parse_sources(texts)
