"""Google's OAuth against a token endpoint on a socket, which verifies what it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from google_tokens import PRIVATE, TokenEndpoint, key_file

from omni_grpc.providers.credentials import CredentialsError
from omni_grpc.providers.google_credentials import (
    PAUSE_SECONDS,
    RENEW_SECONDS,
    SPENT_SECONDS,
    GoogleCredentials,
)


class HandClock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    runner = await endpoint.start()
    yield endpoint
    endpoint.open.set()
    await runner.cleanup()
    assert not endpoint.problems


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def credentials(endpoint: TokenEndpoint, clock: HandClock) -> GoogleCredentials:
    return GoogleCredentials(key_file(endpoint.url), clock=clock)


async def sign(credentials: GoogleCredentials) -> dict[str, str]:
    return await credentials.sign("POST", "https://x", {}, b"{}")


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_token_is_fetched_once_and_kept(endpoint, credentials):
    first = await sign(credentials)
    assert first == {"Authorization": "Bearer ya29.1"}
    assert await sign(credentials) is first, "a fresh token costs no new dict"
    assert endpoint.asked == 1
    assert credentials.signs
    assert not credentials.headers


async def test_all_who_wait_share_one_fetch(endpoint, credentials):
    endpoint.open.clear()
    waiting = [asyncio.create_task(sign(credentials)) for _ in range(50)]
    await until(lambda: endpoint.asked == 1)
    waiting[0].cancel()
    endpoint.open.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError), "one that gives up ends no other's wait"
    assert all(one == {"Authorization": "Bearer ya29.1"} for one in told[1:])
    assert endpoint.asked == 1


async def test_the_loop_runs_while_a_token_is_fetched(endpoint, credentials):
    """The endpoint is served by this loop: a fetch that held it would never end."""
    async with asyncio.timeout(20):
        assert await sign(credentials)


async def test_a_token_near_its_end_is_renewed_while_it_serves_on(endpoint, credentials, clock):
    await sign(credentials)
    clock.pass_seconds(3_600 - RENEW_SECONDS + 1)
    endpoint.open.clear()
    old = {"Authorization": "Bearer ya29.1"}
    assert await sign(credentials) == old, "nobody waits for the new one"
    assert await sign(credentials) == old
    endpoint.open.set()
    await until(lambda: endpoint.given == 2)
    async with asyncio.timeout(20):
        while await sign(credentials) == old:
            await asyncio.sleep(0.001)
    assert await sign(credentials) == {"Authorization": "Bearer ya29.2"}
    assert endpoint.asked == 2


async def test_a_token_at_its_end_is_not_used(endpoint, credentials, clock):
    await sign(credentials)
    clock.pass_seconds(3_600 - SPENT_SECONDS + 1)
    assert await sign(credentials) == {"Authorization": "Bearer ya29.2"}


async def test_a_short_life_is_renewed_at_its_half(endpoint, credentials, clock):
    endpoint.expires_in = 60
    await sign(credentials)
    clock.pass_seconds(20)
    await sign(credentials)
    assert endpoint.asked == 1
    clock.pass_seconds(15)
    await sign(credentials)
    await until(lambda: endpoint.given == 2)


async def test_a_renewal_that_fails_leaves_the_old_token_and_waits_before_the_next(
    endpoint, credentials, clock
):
    await sign(credentials)
    clock.pass_seconds(3_600 - RENEW_SECONDS + 1)
    endpoint.status, endpoint.answer = 400, {"error": "invalid_grant"}
    old = {"Authorization": "Bearer ya29.1"}
    assert await sign(credentials) == old
    await until(lambda: endpoint.asked == 2 and credentials._fetching is None)
    assert await sign(credentials) == old
    await asyncio.sleep(0)
    assert endpoint.asked == 2
    clock.pass_seconds(PAUSE_SECONDS)
    endpoint.status, endpoint.answer = 200, None
    assert await sign(credentials) == old
    await until(lambda: endpoint.given == 2)


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (400, {"error": "invalid_grant", "error_description": "ya29.SECRET"}, "invalid_grant"),
        (401, {"error": "ya29.SECRET"}, "no reason given"),
        (403, "ya29.SECRET", "no reason given"),
        (200, {"token": "ya29.SECRET"}, "gave us no token"),
        (200, {"access_token": 7}, "no token"),
        (200, {"access_token": "ya29.SECRET\n", "expires_in": 60}, "no token"),
        (200, {"access_token": "ya29.SECRET", "expires_in": "soon"}, "no token"),
        (200, [], "no token"),
    ],
)
async def test_what_is_no_token_is_told_without_secrets(endpoint, credentials, status, answer, why):
    endpoint.status, endpoint.answer = status, answer
    with pytest.raises(CredentialsError) as caught:
        await sign(credentials)
    assert why in str(caught.value)
    shown = [caught.value, caught.value.__cause__]
    assert not any("SECRET" in repr(one) or "PRIVATE" in repr(one) for one in shown)
    endpoint.status, endpoint.answer = 200, None
    assert await sign(credentials) == {"Authorization": "Bearer ya29.1"}, "the next call asks again"


async def test_an_endpoint_that_cannot_be_reached_is_told(unused_tcp_port):
    credentials = GoogleCredentials(key_file(f"http://127.0.0.1:{unused_tcp_port}/token"))
    with pytest.raises(CredentialsError, match="could not be reached"):
        await sign(credentials)


async def test_no_redirect_takes_the_assertion_elsewhere(endpoint, clock):
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(endpoint.url)

    app = web.Application()
    app.router.add_post("/token", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    with pytest.raises(CredentialsError):
        await sign(GoogleCredentials(key_file(url), clock=clock))
    assert endpoint.asked == 0
    await runner.cleanup()


async def test_the_key_is_read_from_its_file(endpoint, tmp_path: Path):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key_file(endpoint.url)))
    credentials = GoogleCredentials(path)
    assert await sign(credentials) == {"Authorization": "Bearer ya29.1"}
    assert credentials.secrets == (PRIVATE,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"private_key": 7}',
        json.dumps(key_file("http://x", private_key="not a SECRET key")).encode(),
        json.dumps({k: v for k, v in key_file("x").items() if k != "token_uri"}).encode(),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_key_is_refused_at_start(tmp_path: Path, content: bytes):
    path = tmp_path / "key.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Google's credentials") as caught:
        GoogleCredentials(path)
    assert "SECRET" not in repr(caught.value)


def test_a_file_that_is_not_there_is_refused_at_start(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot be read"):
        GoogleCredentials(tmp_path / "none.json")
