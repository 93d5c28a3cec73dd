"""The service as processes: started, refused, killed, started again, stopped in order."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import psycopg
import pytest
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    eventually,
    running,
    soon,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nursed import run
from omni_grpc_client import AsyncOmni, Omni, OmniError, Unavailable

from omni_grpc.storage import EmbeddedPostgres

CREDITS = 10**9
IDLE_STOP_SECONDS_MAX = 10.0
"""Of a busy machine: a stop that waits for calls that there are not takes half a minute."""

OUTPUT_MAX = 64
_STOPPING = re.compile(r'"event": ?"stopping"')
"""What a worker logs when it begins to stop."""

ONE_CHANNEL = (("grpc.use_local_subchannel_pool", 1),)
"""A connection of one's own: gRPC shares them among channels otherwise."""


def _body(prompt: str = "Go on.", **fields: Any) -> dict[str, Any]:
    return {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": OUTPUT_MAX,
        **fields,
    }


async def _ask(gateway: Gateway, tenant: Tenant, prompt: str = "Go on.") -> int:
    """One call over REST on a connection of its own; its status."""
    async with await RestCall.send(gateway, tenant.api_key, _body(prompt)) as call:
        return (await call.answer())[0]


async def _all(stream: RestCall) -> list[dict[str, Any]]:
    return [event async for event in stream.events()]


def _rows(gateway: Gateway, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(gateway.database_url, autocommit=True) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def _owners(gateway: Gateway) -> set[int]:
    """The processes that own open holds."""
    found = _rows(gateway, "SELECT DISTINCT owner FROM hold WHERE state = 'O'")
    return {int(owner.split(":")[1]) for (owner,) in found}


def _workers(gateway: Gateway) -> set[int]:
    """The worker processes of a gateway with several."""
    assert gateway.process is not None
    parent = gateway.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in _command_line(child)}


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return b""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _counted(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels, as one new connection sees it."""
    total = 0.0
    for line in httpx.get(f"{gateway.rest}/metrics").text.splitlines():
        if re.match(rf"{name}[ {{]", line) and all(
            f'{label}="{value}"' in line for label, value in labels.items()
        ):
            total += float(line.rpartition(" ")[2])
    return total


# --- several workers --------------------------------------------------------------------------
async def test_two_workers_share_ports_and_metrics_and_a_killed_one_comes_back(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    own_gateway.workers = 2
    chats = {"transport": "rest", "method": "/v1/chat/completions", "reason": "OK"}
    with running(own_gateway):
        tenant = own_gateway.tenant(CREDITS)
        simulator.close_gate("both")
        calls = [
            asyncio.create_task(_ask(own_gateway, tenant, asking("gate=both"))) for _ in range(60)
        ]
        assert await soon(lambda: simulator.waiting("both") == 60)
        pids = _workers(own_gateway)
        assert len(pids) == 2
        assert _owners(own_gateway) == pids
        simulator.open_gate("both")
        assert set(await asyncio.gather(*calls)) == {200}
        assert await soon(lambda: _counted(own_gateway, "omni_calls_total", **chats) == 60)
        for _ in range(8):  # whichever worker answers
            assert _counted(own_gateway, "omni_calls_total", **chats) == 60
            assert _counted(own_gateway, "omni_ledger_connected") == 2

        # One dies in the middle of a stream.
        simulator.close_gate("killed")
        prompt = asking("gate=killed,gate_after=3")
        body = _body(prompt, stream=True)
        async with await RestCall.send(own_gateway, tenant.api_key, body) as stream:
            assert (await stream.head())[0] == 200
            events = stream.events()
            while not (await anext(events))["choices"][0]["delta"].get("content"):
                pass
            (pid,) = _owners(own_gateway)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(_all(stream), 30)
        # What it had accepted is lost with it, until its last thread has let go of the ports.
        assert await soon(lambda: not Path(f"/proc/{pid}").exists())
        statuses = await asyncio.gather(*(_ask(own_gateway, tenant) for _ in range(20)))
        assert set(statuses) == {200}
        assert await soon(lambda: len(_workers(own_gateway) - {pid}) == 2)
        assert await soon(lambda: _counted(own_gateway, "omni_ledger_connected") == 2)
        statuses = await asyncio.gather(*(_ask(own_gateway, tenant) for _ in range(20)))
        assert set(statuses) == {200}
        assert await soon(lambda: _counted(own_gateway, "omni_calls_total", **chats) == 100)

        # Its journal is adopted by the others: what had come of the answer is charged, once.
        estimates = "SELECT completion BETWEEN 1 AND 3 FROM usage_record WHERE estimated"
        assert await soon(lambda: _rows(own_gateway, estimates)) == [(True,)]
        assert _rows(own_gateway, "SELECT FROM hold") == []
        simulator.open_gate("killed")
    with running(own_gateway):
        assert await _ask(own_gateway, tenant) == 200
        assert _rows(own_gateway, estimates) == [(True,)]
        folder = own_gateway.folder / "journal"
        assert await soon(lambda: len(list(folder.glob("w-*"))) == 2), list(folder.iterdir())


async def test_a_killed_parent_takes_its_workers_along_and_frees_the_ports(
    own_gateway: Gateway,
) -> None:
    own_gateway.workers = 2
    own_gateway.start()
    process, pids = own_gateway.process, _workers(own_gateway)
    assert process is not None
    (said,) = _said(_serve(own_gateway, "--workers", "2", *_addresses(own_gateway)))
    assert "cannot listen on" in said
    process.kill()
    process.wait()
    assert eventually(lambda: not any(_runs(pid) for pid in pids))
    for address in (own_gateway.grpc, own_gateway.rest.removeprefix("http://")):
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), 5).close()
    with running(own_gateway):  # on the same ports
        assert await _ask(own_gateway, own_gateway.tenant()) == 200
        _check_idle_stop(own_gateway)


def _check_idle_stop(gateway: Gateway) -> None:
    assert gateway.process is not None
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(30) == 0
    assert time.monotonic() - began < IDLE_STOP_SECONDS_MAX


def test_a_service_that_is_told_to_stop_while_it_starts_stops(
    own_gateway: Gateway, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [
            sys.executable, "-m", "omni_grpc", "serve", "--workers", "2",
            "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0", "--ready-file", str(ready),
        ],
        env=_environment(
            DATABASE_URL=own_gateway.database_url,
            OMNI_KEY_HASH_SECRET=KEY_HASH_SECRET,
            OMNI_PROVIDER_SIM_BASE_URL=own_gateway.simulator_url,
        ),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        own_gateway.process = process
        assert eventually(lambda: len(_workers(own_gateway)) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    assert not ready.exists()


# --- stopping ---------------------------------------------------------------------------------
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stopping_service_ends_what_runs_and_takes_no_more(
    own_gateway: Gateway, simulator: SimulatorThread, workers: int
) -> None:
    own_gateway.workers = workers
    gate = f"drain-{workers}"
    simulator.close_gate(gate)
    prompt = asking(f"gate={gate},gate_after=3")
    with running(own_gateway):
        process = own_gateway.process
        assert process is not None
        tenant = own_gateway.tenant(CREDITS)
        async with (
            grpc.aio.insecure_channel(own_gateway.grpc, ONE_CHANNEL) as health_channel,
            AsyncOmni(own_gateway.grpc, api_key=tenant.api_key) as omni,
            AsyncOmni(
                own_gateway.grpc, api_key=tenant.api_key, channel_options=ONE_CHANNEL
            ) as another,
        ):
            health = health_pb2_grpc.HealthStub(health_channel)
            # Of two workers the other may have told the parent that it is ready.
            async with asyncio.timeout(30):
                while await _health(health) != "SERVING":
                    await asyncio.sleep(0.01)
            assert (await another.balance()).available_nanousd == CREDITS
            over_rest = await RestCall.send(own_gateway, tenant.api_key, _body(prompt, stream=True))
            assert (await over_rest.head())[0] == 200
            plain = [
                asyncio.create_task(_ask(own_gateway, tenant, prompt)),
                *(
                    asyncio.create_task(omni.chat("sim/fast", prompt, max_output_tokens=OUTPUT_MAX))
                    for _ in range(20)
                ),
            ]
            async with omni.stream_chat("sim/fast", prompt, max_output_tokens=OUTPUT_MAX) as stream:
                assert await soon(lambda: simulator.waiting(gate) == 2 + len(plain))
                process.send_signal(signal.SIGTERM)
                # Of two workers one may hear of it later, and serve as long.
                assert await soon(lambda: len(_STOPPING.findall(own_gateway.log())) == workers)
                async with asyncio.timeout(20):
                    while await _health(health) == "SERVING" or await _serves(another):
                        await asyncio.sleep(0.01)
                await _check_refused(own_gateway, another, tenant)
                await asyncio.sleep(1.2)  # longer than a worker's look at its own readiness
                assert await _health(health) != "SERVING"
                await _check_refused(own_gateway, another, tenant)
                assert process.poll() is None
                simulator.open_gate(gate)
                async with asyncio.timeout(20):
                    completion = await stream.result()
                    events = await _all(over_rest)
                    over_rest.close()
                    status, *answers = await asyncio.gather(*plain)
                    assert status == 200
                    assert {answer.cost_nanousd for answer in answers} == {completion.cost_nanousd}
        assert completion.usage.completion_tokens == 40
        assert completion.balance_nanousd is not None
        assert "error" not in events[-1]
        assert process.wait(30) == 0
    ((posted, pending),) = _rows(
        own_gateway,
        "SELECT credits_posted - debits_posted, debits_pending FROM account a"
        " JOIN org o ON o.account_id = a.id WHERE o.slug = %s",
        tenant.org,
    )
    assert (posted, pending) == (CREDITS - 23 * completion.cost_nanousd, 0)


async def _health(health: Any) -> str:
    try:
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def _serves(omni: AsyncOmni) -> bool:
    try:
        await omni.balance()
    except Unavailable:
        return False
    return True


async def _check_refused(gateway: Gateway, omni: AsyncOmni, tenant: Tenant) -> None:
    with pytest.raises(Unavailable) as refused:
        await omni.chat("sim/fast", "One more.")
    assert refused.value.reason in {"BUSY", None}
    try:
        assert await _ask(gateway, tenant, "One more.") == 503
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{gateway.rest}/ready")).status_code == 503
    except (ConnectionError, asyncio.IncompleteReadError, httpx.TransportError):
        pass  # nobody listens there any more


# --- starting, and refusing to ----------------------------------------------------------------
def _environment(**variables: str) -> dict[str, str]:
    """What this process has, without what configures the service."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OMNI_") and name not in {"DATABASE_URL", "OPENAI_API_KEY"}
    }
    return kept | variables


Command = Callable[[], "subprocess.CompletedProcess[str]"]


def _serve(gateway: Gateway, *arguments: str) -> Command:
    """`omni-grpc serve` beside a gateway, on its database, that shall end by itself."""
    return _command(
        "serve",
        *arguments,
        folder=gateway.folder,
        DATABASE_URL=gateway.database_url,
        OMNI_KEY_HASH_SECRET=KEY_HASH_SECRET,
        OMNI_PROVIDER_SIM_BASE_URL=gateway.simulator_url,
    )


def _command(*arguments: str, folder: Path, **variables: str) -> Command:
    return partial(run, *arguments, environment=_environment(**variables), folder=folder)


def _said(*commands: Command, code: int = 1) -> list[str]:
    """Runs commands beside each other; what each printed, which must be no traceback."""
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda command: command(), commands))
    said = [command.stdout + command.stderr for command in done]
    for command, text in zip(done, said, strict=True):
        assert command.returncode == code, text
        assert "Traceback" not in text, text
    return said


def _addresses(gateway: Gateway) -> tuple[str, ...]:
    return ("--grpc-addr", gateway.grpc, "--rest-addr", gateway.rest.removeprefix("http://"))


def test_every_setting_that_is_missing_or_wrong_is_listed_at_once(tmp_path: Path) -> None:
    missing, wrong, both = _said(
        _command("serve", folder=tmp_path),
        _command(
            "serve",
            folder=tmp_path,
            DATABASE_URL="mysql://root:hunter2@db/omni",
            OMNI_KEY_HASH_SECRET="too-short-a-secret",
            OMNI_WORKERS="many",
            OMNI_GRPC_ADDR="nowhere",
            OMNI_REST_ADRR="127.0.0.1:1",
            OMNI_LOG_LEVEL="loud",
        ),
        _command("serve", folder=tmp_path, OMNI_WORKERS="many"),
    )
    for words in ("DATABASE_URL", "OMNI_KEY_HASH_SECRET", "openssl rand", "OPENAI_API_KEY"):
        assert words in missing
    for words in (
        "DATABASE_URL",
        "OMNI_KEY_HASH_SECRET",
        "OMNI_WORKERS",
        "OMNI_GRPC_ADDR",
        "OMNI_REST_ADDR?",
        "OMNI_LOG_LEVEL",
    ):
        assert words in wrong
    assert "hunter2" not in wrong
    assert "too-short-a-secret" not in wrong
    for words in ("OMNI_WORKERS", "DATABASE_URL", "OMNI_KEY_HASH_SECRET", "OPENAI_API_KEY"):
        assert words in both


def test_a_database_that_is_not_migrated_is_refused_with_the_command_to_run(
    own_gateway: Gateway, postgres: EmbeddedPostgres
) -> None:
    own_gateway.database_url = postgres.create_database("e2e_bare")
    try:
        refused = _serve(own_gateway, "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0")
        assert "omni-grpc migrate" in _said(refused)[0]
        url = own_gateway.database_url
        _said(_command("migrate", folder=own_gateway.folder, DATABASE_URL=url), code=0)
        with running(own_gateway):
            assert httpx.get(f"{own_gateway.rest}/ready").status_code == 200
    finally:
        own_gateway.stop()
        postgres.drop_database("e2e_bare")


def test_an_address_in_use_is_named_and_a_stop_is_quick(own_gateway: Gateway) -> None:
    with running(own_gateway):
        free = "127.0.0.1:0"
        rest = own_gateway.rest.removeprefix("http://")
        taken = [
            (workers, *addresses)
            for workers in ("1", "2")
            for addresses in ((own_gateway.grpc, own_gateway.grpc, free), (rest, free, rest))
        ]
        found = _said(
            *(
                _serve(own_gateway, "--workers", workers, "--grpc-addr", one, "--rest-addr", two)
                for workers, _, one, two in taken
            )
        )
        for (_, address, _, _), said in zip(taken, found, strict=True):
            assert f"listen on {address}" in said
        _check_idle_stop(own_gateway)


def test_no_log_line_holds_a_key_or_the_hash_secret(own_gateway: Gateway) -> None:
    house_key = "sk-house-0123456789abcdef0123456789abcdef"
    own_gateway.environment = {"OMNI_LOG_LEVEL": "debug", "OPENAI_API_KEY": house_key}
    with running(own_gateway):
        tenant = own_gateway.tenant()
        forged = tenant.api_key[:-8] + "AAAAAAAA"
        with Omni(own_gateway.grpc, api_key=tenant.api_key) as omni:
            omni.chat("sim/fast", "the words of a prompt")
            with pytest.raises(OmniError):
                omni.chat("sim/error-500", "the words of a prompt")
            with omni.stream_chat("sim/slow", "the words of a prompt") as stream:
                next(stream)
        with Omni(own_gateway.grpc, api_key=forged) as stranger, pytest.raises(OmniError):
            stranger.balance()
        for key in (tenant.api_key, forged, own_gateway.admin_key):
            headers = {"authorization": f"Bearer {key}"}
            httpx.get(f"{own_gateway.rest}/v1/balance", headers=headers)
            httpx.post(f"{own_gateway.rest}/v1/chat/completions", headers=headers, content=b"{")
    log = own_gateway.log()
    assert '"event":' in log
    for secret in (tenant.api_key, forged, own_gateway.admin_key, KEY_HASH_SECRET, house_key):
        assert secret not in log
        assert secret.rpartition("_")[2] not in log
    assert "the words of a prompt" not in log


# --- dev --------------------------------------------------------------------------------------
@contextmanager
def _dev(folder: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """`omni-grpc dev` with its data in `folder`: what its ready file says, and what it printed."""
    ready, printed = folder / "ready.json", folder / "printed"
    ready.unlink(missing_ok=True)
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "omni_grpc", "dev",
                "--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0",
                "--data-dir", str(folder / "data"), "--ready-file", str(ready), *arguments,
            ],
            env=_environment(HOME=str(folder)),
            cwd=folder,
            stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        assert eventually(lambda: ready.exists() or process.poll() is not None, 60)
        assert process.poll() is None, printed.read_text()
        yield json.loads(ready.read_text()), printed
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, printed.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_dev_starts_from_nothing_and_its_commands_work_as_printed(tmp_path: Path) -> None:
    with _dev(tmp_path) as (first, printed):
        assert set(first) == {
            "api_key", "admin_key", "grpc", "rest", "solana_rpc", "database_url", "pid",
        }  # fmt: skip
        for path in (tmp_path / "ready.json", *(tmp_path / "data").glob("*.json")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert eventually(lambda: "Ctrl-C stops." in printed.read_text())
        text = printed.read_text()
        assert first["grpc"] in text
        assert first["api_key"] in text
        commands = re.findall(r"^# .*\n((?:.+\n)+)", text, re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            if not shutil.which(command.split()[0]) and "openai" not in command.lower():
                continue  # curl is not everywhere
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=_environment(HOME=str(tmp_path)),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, command + done.stderr
            assert "simulator" in done.stdout or '"content":" simulator"' in done.stdout
        balance = _balance(first)
        assert balance < 10 * 10**9
    with _dev(tmp_path, "--workers", "2") as (second, _):
        assert second["api_key"] == first["api_key"]
        assert second["admin_key"] == first["admin_key"]
        assert _balance(second) == balance
        with Omni(second["grpc"], api_key=second["api_key"]) as omni:
            assert omni.chat("sim/fast", "Hello").text
            assert omni.balance().available_nanousd < balance


def _balance(facts: dict[str, Any]) -> int:
    with Omni(facts["grpc"], api_key=facts["api_key"]) as omni:
        return omni.balance().available_nanousd
