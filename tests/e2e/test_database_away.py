"""A database that is down at the start, killed later, or hangs: refused at once, nothing lost."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    running,
    soon,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from omni.billing.v1.billing_service_pb2 import GetBalanceRequest
from omni.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from omni.router.v1.router_service_pb2 import (
    ChatPrompt,
    CompleteChatRequest,
    Message,
    Part,
    Role,
    StreamChatRequest,
)
from omni.router.v1.router_service_pb2_grpc import RouterServiceStub
from omni_grpc_client import AsyncOmni, OmniError
from pydantic import SecretStr
from quick_clusters import MIGRATED, quick_server

from omni_grpc.audit import Actor
from omni_grpc.cli.opening import rooms_of
from omni_grpc.cli.sources import all_facts, seed_catalog
from omni_grpc.core.limits import LEDGER_WAIT_SECONDS_MAX
from omni_grpc.identity import KeyGrant, OrgPath
from omni_grpc.settings import Settings
from omni_grpc.simulator import CallRecord
from omni_grpc.storage import EmbeddedPostgres

CREDITS = 10**9
MODEL = "sim/fast"
REFUSED_SECONDS_MAX = 5.0
"""An unknown key is looked for during 0.75 s; the rest is for busy machines."""

BACK_SECONDS_MAX = 30.0
TOKEN_GAP_SECONDS_MAX = 2.5
"""The tokens come every 20 ms; a worker that waits for its database in the loop stops them for as
long as that is away: three seconds and more."""


# --- a server of one's own, to be hurt --------------------------------------------------------
@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Stands in for the session's server, that the other tests use."""
    with quick_server(tmp_path_factory.mktemp("away")) as server:
        yield server


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres) -> tuple[str, str, Tenant]:
    """A database to be copied, its admin key, and a tenant in it with credits."""
    url = postgres.create_database("away_template", template=MIGRATED)
    settings = Settings(database_url=SecretStr(url), key_hash_secret=SecretStr(KEY_HASH_SECRET))

    async def fill() -> tuple[str, str, Tenant]:
        async with rooms_of(settings) as rooms:
            await seed_catalog(rooms.database, all_facts(None))
            admin = await rooms.identity.bootstrap()
            identity = rooms.identity
            org = await identity.orgs.create(Actor(name="a test"), "away", "Away")
            grant = KeyGrant(display_name="")
            path = OrgPath(org="away")
            key = await identity.keys.create(Actor(name="a test"), org.org_id, path, grant)
            await rooms.ledger.grant(
                account_id=org.account_id,
                org_id=org.org_id,
                amount=CREDITS,
                reason="test",
                request_id="first",
            )
        return "away_template", admin.secret, Tenant("away", key.secret)

    return asyncio.run(fill())


@pytest.fixture(scope="module")
def template(books: tuple[str, str, Tenant]) -> tuple[str, str]:
    return books[:2]


@pytest.fixture
def tenant(books: tuple[str, str, Tenant]) -> Tenant:
    return books[2]


def _start(postgres: EmbeddedPostgres) -> None:
    """Starts the server again, from a process without gRPC, which does not survive forks."""
    starting = (
        "import sys, pathlib; from omni_grpc.storage import EmbeddedPostgres;"
        "EmbeddedPostgres(pathlib.Path(sys.argv[1]), settings={'fsync': 'off'}).start()"
    )
    subprocess.run([sys.executable, "-c", starting, postgres.data_dir], timeout=60, check=True)
    postgres.start()


def _kill_postmaster(postgres: EmbeddedPostgres) -> None:
    pid = postgres._cluster().postmaster()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _processes(postgres: EmbeddedPostgres) -> list[int]:
    """The postmaster and its backends."""
    pid = postgres._cluster().postmaster()
    assert pid is not None
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


# --- callers ----------------------------------------------------------------------------------
def _body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}


class Callers:
    """A tenant's clients of one gateway; `costs` are those of the calls that were answered."""

    def __init__(self, gateway: Gateway, tenant: Tenant, omni: AsyncOmni) -> None:
        self._gateway = gateway
        self._tenant = tenant
        self.omni = omni
        self.gaps_s: list[float] = []
        self.ended = 0

    async def stream_over_rest(self, prompt: str) -> None:
        body = _body(prompt, stream=True)
        async with await RestCall.send(self._gateway, self._tenant.api_key, body) as call:
            assert (await call.head())[0] == 200
            times = []
            async for event in call.events():
                assert "error" not in event
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    times.append(time.monotonic())
        self._note(times)

    async def stream_over_grpc(self, prompt: str) -> None:
        async with self.omni.stream_chat(MODEL, prompt) as stream:
            times = [time.monotonic() async for piece in stream if piece.text]
        self._note(times)

    def _note(self, times: list[float]) -> None:
        self.gaps_s += [after - before for before, after in itertools.pairwise(times)]
        self.ended += 1

    async def check_refused(self, seconds_max: float, *, reads: bool = True) -> None:
        """New calls, chats alone or of every kind, are refused in time, in words of ours."""

        async def timed(call: Any) -> tuple[float, str, str]:
            began = time.monotonic()
            reason, message = await call
            return time.monotonic() - began, reason, message

        calls = [self._rest(False), self._rest(True), self._grpc(False), self._grpc(True)]
        if reads:
            calls += [self._rest_balance(), self._grpc_balance()]
        found = await asyncio.gather(*(timed(call) for call in calls))
        for took_s, reason, message in found:
            assert reason == "LEDGER_UNAVAILABLE", message
            assert took_s < seconds_max
            for word in ("psycopg", "Traceback", "PGSQL", "socket", "<class", "postgres"):
                assert word not in message

    async def _rest(self, stream: bool) -> tuple[str, str]:
        body = _body("refused", stream=stream)
        async with await RestCall.send(self._gateway, self._tenant.api_key, body) as call:
            status, answer = await call.answer()
        assert status == 503
        return answer["error"]["omni"]["reason"], answer["error"]["message"]

    async def _rest_balance(self) -> tuple[str, str]:
        headers = {"authorization": f"Bearer {self._tenant.api_key}"}
        async with httpx.AsyncClient(headers=headers, timeout=10) as http:
            answer = await http.get(f"{self._gateway.rest}/v1/balance")
        error = answer.json()["error"]
        return error["omni"]["reason"], error["message"]

    async def _grpc(self, stream: bool) -> tuple[str, str]:
        prompt = ChatPrompt(
            model=MODEL, messages=[Message(role=Role.ROLE_USER, parts=[Part(text="refused")])]
        )
        async with grpc.aio.insecure_channel(self._gateway.grpc) as channel:
            stub = RouterServiceStub(channel)
            if stream:
                return await self._told(stub.StreamChat, StreamChatRequest(prompt=prompt))
            return await self._told(stub.CompleteChat, CompleteChatRequest(prompt=prompt))

    async def _grpc_balance(self) -> tuple[str, str]:
        async with grpc.aio.insecure_channel(self._gateway.grpc) as channel:
            return await self._told(BillingServiceStub(channel).GetBalance, GetBalanceRequest())

    async def _told(self, method: Any, request: Any) -> tuple[str, str]:
        """By the bare stub: the client would send it again."""
        call = method(
            request, metadata=(("authorization", f"Bearer {self._tenant.api_key}"),), timeout=10
        )
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        trailers = str(await call.trailing_metadata())
        reason = "LEDGER_UNAVAILABLE" if "LEDGER_UNAVAILABLE" in trailers else trailers
        return reason, str(await call.details())

    async def check_back(self) -> None:
        """Calls are answered again, soon."""
        async with asyncio.timeout(BACK_SECONDS_MAX):
            while True:
                try:
                    await self.omni.chat(MODEL, "Are you there?")
                except OmniError as error:
                    assert error.reason == "LEDGER_UNAVAILABLE"
                    await asyncio.sleep(0.05)
                else:
                    break
        body = _body("Are you there?")
        async with await RestCall.send(self._gateway, self._tenant.api_key, body) as call:
            assert (await call.answer())[0] == 200

    async def check_charged(self, records: tuple[CallRecord, ...]) -> None:
        """The account has paid for what the provider's log says, each call once; none is held."""
        costs = sorted(
            record.prompt_tokens * 150 + record.completion_tokens * 600 for record in records
        )
        async with asyncio.timeout(30):
            while (balance := await self.omni.balance()).held_nanousd:
                await asyncio.sleep(0.05)
        entries = [entry.amount_nanousd async for entry in self.omni.ledger_entries(page_size=100)]
        assert sorted(-entry for entry in entries if entry < 0) == costs
        assert balance.unresolved_nanousd == 0
        assert balance.available_nanousd == CREDITS - sum(costs)


@asynccontextmanager
async def _callers(gateway: Gateway, tenant: Tenant) -> AsyncIterator[Callers]:
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        yield Callers(gateway, tenant, omni)


async def _health(gateway: Gateway) -> str:
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


# --- the three ways of being away -------------------------------------------------------------
async def test_a_database_that_is_down_at_the_start_is_waited_for(
    own_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, postgres: EmbeddedPostgres
) -> None:
    calls_before = len(simulator.simulator.log)
    postgres.stop()
    try:
        own_gateway.start()
        assert own_gateway.process is not None
        async with httpx.AsyncClient(base_url=own_gateway.rest) as http:
            assert (await http.get("/health")).status_code == 200
            assert (await http.get("/ready")).status_code == 503
        assert await _health(own_gateway) == "NOT_SERVING"
        async with _callers(own_gateway, tenant) as callers:
            await callers.check_refused(REFUSED_SECONDS_MAX)
            await asyncio.to_thread(_start, postgres)
            await callers.check_back()
            async with asyncio.timeout(BACK_SECONDS_MAX):
                while await _health(own_gateway) != "SERVING":
                    await asyncio.sleep(0.05)
            await callers.check_charged(simulator.simulator.log[calls_before:])
        assert own_gateway.process.poll() is None
    finally:
        _start(postgres)


async def test_a_database_that_is_killed_loses_no_charge_of_what_runs(
    own_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, postgres: EmbeddedPostgres
) -> None:
    calls_before = len(simulator.simulator.log)
    short, long = asking("tokens=60,delay_ms=20"), asking("tokens=150,delay_ms=20")
    with running(own_gateway):
        async with _callers(own_gateway, tenant) as callers:
            streams = [
                asyncio.create_task(send(prompt))
                for send in (callers.stream_over_rest, callers.stream_over_grpc)
                for prompt in (short, long)
                for _ in range(3)
            ]
            left = asyncio.create_task(callers.stream_over_grpc(long))
            assert await soon(lambda: len(simulator.simulator.log) - calls_before == 13)
            _kill_postmaster(postgres)
            try:
                await asyncio.sleep(0.5)  # no new call tells the service what happened
                left.cancel()
                await callers.check_refused(REFUSED_SECONDS_MAX)
                await asyncio.sleep(3.5)  # longer than a key is believed without being read again
                await callers.check_refused(REFUSED_SECONDS_MAX)
                records = simulator.simulator.log[calls_before:]
                assert await soon(lambda: all(record.ended_ms for record in records))
                # Their charges wait by now.
            finally:
                await asyncio.to_thread(_start, postgres)
            await callers.check_back()
            await asyncio.gather(*streams)
            assert callers.ended == len(streams)
            assert max(callers.gaps_s) < TOKEN_GAP_SECONDS_MAX
            await callers.check_charged(simulator.simulator.log[calls_before:])


async def test_a_database_that_hangs_has_calls_refused_and_nothing_done_twice(
    own_gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, postgres: EmbeddedPostgres
) -> None:
    calls_before = len(simulator.simulator.log)
    with running(own_gateway):
        async with _callers(own_gateway, tenant) as callers:
            streams = [
                asyncio.create_task(send(asking(f"tokens={tokens},delay_ms=20")))
                for send in (callers.stream_over_rest, callers.stream_over_grpc)
                for tokens in (30, 60, 150)
                for _ in range(2)
            ]
            assert await soon(lambda: len(simulator.simulator.log) - calls_before == 12)
            stopped = _processes(postgres)
            try:
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
                began = time.monotonic()
                await callers.check_refused(LEDGER_WAIT_SECONDS_MAX + 4, reads=False)
                await asyncio.sleep(max(0.0, began + 3 - time.monotonic()))
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
            await callers.check_back()
            await asyncio.gather(*streams)
            assert max(callers.gaps_s) < TOKEN_GAP_SECONDS_MAX
            await callers.check_charged(simulator.simulator.log[calls_before:])
