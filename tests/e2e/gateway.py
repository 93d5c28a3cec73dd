"""A real gateway for tests: `omni-grpc serve` as a process, a simulator, a database of its own."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from nursed import Process, start
from omni_grpc_client import Omni

from omni_grpc.simulator import CallRecord, Simulator

KEY_HASH_SECRET = "0123456789abcdef0123456789abcdef0123456789abcdef"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 45.0
T = TypeVar("T")


def asking(behaviour: str, text: str = "Go on.") -> str:
    """A prompt that tells the simulator what to do, over any transport; see docs/simulator.md."""
    return f"{text} [sim {behaviour}]"


class SimulatorThread:
    """The simulator in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        self.base_url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, port: int = 0) -> None:
        self._thread.start()
        starting = self.simulator.start("127.0.0.1", port)
        started = asyncio.run_coroutine_threadsafe(starting, self._loop)
        self.base_url = started.result(10)

    def record_of(self, call_id: str) -> CallRecord:
        """What the provider saw of a call: the gateway tells it the call's id."""
        return next(
            record for record in self._log() if record.headers.get("x-client-request-id") == call_id
        )

    def _log(self) -> tuple[CallRecord, ...]:
        """The log as it is, read where it is written: it may grow at any moment."""
        return self._there(lambda: self.simulator.log)

    def record_asked(self, mark: str) -> CallRecord | None:
        """The record of the call whose behaviour contains `mark`; None if it has not come."""
        found = [record for record in self._log() if mark in record.behaviour]
        assert len(found) <= 1, f"the provider was called {len(found)} times for {mark}"
        return found[0] if found else None

    def now_ms(self) -> float:
        """Now, by the log's clock."""
        return self.simulator._log.now_ms()

    def close_gate(self, name: str) -> None:
        self._there(lambda: self.simulator.gates.close(name))

    def open_gate(self, name: str) -> None:
        self._there(lambda: self.simulator.gates.open(name))

    def waiting(self, name: str) -> int:
        return self._there(lambda: self.simulator.gates.waiting(name))

    def _there(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.simulator.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(frozen=True)
class Tenant:
    """An organisation with a key and credits."""

    org: str
    api_key: str

    @property
    def account(self) -> str:
        return f"accounts/{self.org}"


@dataclass
class Gateway:
    """One `omni-grpc serve`. `admin_key` administers its database."""

    database_url: str
    simulator_url: str
    folder: Path
    admin_key: str
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    grpc: str = ""
    rest: str = ""
    process: Process | subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it listens.

        Raises:
            AssertionError: it did not come up; the message is its log.
        """
        ready = self.folder / f"ready-{uuid.uuid4().hex}.json"
        self.process = start(
            "serve",
            *("--grpc-addr", self.grpc or "127.0.0.1:0"),
            *("--rest-addr", self.rest.removeprefix("http://") or "127.0.0.1:0"),
            *("--workers", str(self.workers)),
            *("--ready-file", str(ready)),
            environment=os.environ
            | {
                "DATABASE_URL": self.database_url,
                "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
                "OMNI_JOURNAL_DIR": str(self.folder / "journal"),
                "OMNI_PROVIDER_SIM_BASE_URL": self.simulator_url,
                "OMNI_REFLECTION": "true",
                "OMNI_ADDRESS_FAILURES_PER_MINUTE": "0",  # tests all fail from one address
                "OMNI_CATALOG_SOURCES": "packages=packages.yaml",  # not the network
            }
            | self.environment,
            folder=self.folder,
            out=self.log_path,
            err=self.log_path,
        )
        until = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            assert self.process.poll() is None, f"serve ended: {self.log()}"
            assert time.monotonic() < until, f"serve is not ready: {self.log()}"
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        self.grpc, self.rest = facts["grpc"], facts["rest"]

    def stop(self) -> None:
        """Stops it as an operator does, and waits for its drain."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"serve did not stop: {self.log()}") from None

    @property
    def log_path(self) -> Path:
        return self.folder / "serve.log"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def admin(self) -> Omni:
        """A client with the admin key."""
        return Omni(self.grpc, api_key=self.admin_key)

    def tenant(self, nanousd: int = 10**9) -> Tenant:
        """A new organisation with that many credits."""
        org = f"t-{uuid.uuid4().hex[:12]}"
        with self.admin() as omni:
            omni.create_org(org)
            secret = omni.create_api_key(f"orgs/{org}").secret
            if nanousd:
                omni.grant_credits(f"accounts/{org}", nanousd, reason="test")
        return Tenant(org, secret)


@contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    """A gateway for the block."""
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def eventually(check: object, seconds: float = 30.0) -> object:
    """Waits until `check()` is true; what it last returned."""
    assert callable(check)
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > until:
            return found
        time.sleep(0.02)


async def soon(check: Callable[[], T], seconds: float = 30.0) -> T:
    """Waits, without holding the event loop, until `check()` is true; what it last returned."""
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > until:
            return found
        await asyncio.sleep(0.01)


class RestCall:
    """One chat over REST, on a socket of its own, which can be closed at any moment."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def send(
        cls,
        gateway: Gateway,
        api_key: str,
        body: dict[str, Any],
        *,
        path: str = "/v1/chat/completions",
        **headers: str,
    ) -> "RestCall":
        host, _, port = gateway.rest.removeprefix("http://").rpartition(":")
        call = cls(*await asyncio.open_connection(host, int(port)))
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n"
        head += f"authorization: Bearer {api_key}\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        call._writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        await call._writer.drain()
        return call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the content of an answer that is not streamed."""
        status, headers = await self.head()
        return status, await self.body(headers)

    async def body(self, headers: dict[str, str]) -> dict[str, Any]:
        """The content after a head that gives its length."""
        data = await self._reader.readexactly(int(headers["content-length"]))
        content: dict[str, Any] = json.loads(data)
        return content

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The events of a stream whose head was read, as they come."""
        text = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            text += (await self._reader.readexactly(size + 2))[:-2]
            *whole, text = text.split(b"\n\n")
            for event in whole:
                if event.startswith(b"data: {"):
                    yield json.loads(event.removeprefix(b"data: "))

    def close(self) -> None:
        """Goes away, as a client does whose process ends."""
        self._writer.transport.abort()


# --- what a caller sees of an answer, on either transport -----------------------------------------
_INNARDS = re.compile(
    r"Unexpected|Traceback|Exception|<class|object at 0x|\b[A-Z]\w*Error\b|\.py\b"
    r"|psycopg|msgspec|asyncio|protobuf|uvicorn|aiohttp|SELECT |omni_grpc\."
)


def tells_nothing_of_our_insides(text: str) -> bool:
    """Whether a text for callers is free of exceptions, classes, modules and SQL."""
    return _INNARDS.search(text) is None


def bearer(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata of a gRPC call with this key, or with none."""
    return () if api_key is None else (("authorization", f"Bearer {api_key}"),)


@dataclass(frozen=True)
class Refusal:
    """A failed RPC. `details` are the rich ones by their type's name; grpc's own have none."""

    code: str
    message: str
    details: dict[str, Any]
    trailers: dict[str, str | bytes]

    @classmethod
    def of(cls, failure: grpc.RpcError) -> "Refusal":
        """Reads a failure, and insists that it tells nothing of our insides."""
        message = failure.details() or ""
        assert tells_nothing_of_our_insides(message), message
        found: dict[str, Any] = {}
        status = rpc_status.from_call(failure)
        for packed in () if status is None else status.details:
            kind = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
            detail = found[kind.DESCRIPTOR.name] = kind()
            assert packed.Unpack(detail)
            assert tells_nothing_of_our_insides(str(detail)), detail
        return cls(failure.code().name, message, found, dict(failure.trailing_metadata() or ()))

    @property
    def reason(self) -> str | None:
        info = self.details.get("ErrorInfo")
        assert info is None or info.domain == "omni"
        return None if info is None else info.reason

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.details["ErrorInfo"].metadata)

    @property
    def field(self) -> str | None:
        bad = self.details.get("BadRequest")
        return None if bad is None else bad.field_violations[0].field


def refusal(call: Callable[[], object]) -> Refusal:
    """How an RPC fails; a stream is read to its end.

    Raises:
        AssertionError: it does not fail.
    """
    try:
        answer = call()
        for _ in answer if isinstance(answer, grpc.Call) else ():
            pass
    except grpc.RpcError as failure:
        return Refusal.of(failure)
    raise AssertionError(f"the call was answered: {answer}")


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"].endswith("json")
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """OpenAI's error object, which has all four keys and tells nothing of our insides."""
        assert tells_nothing_of_our_insides(self.body.decode()), self.body
        error = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        assert error["message"]
        assert self.json["request_id"] == self.headers["x-request-id"]
        return error

    @property
    def events(self) -> list[str]:
        """The data of a stream of server-sent events, `[DONE]` included."""
        blocks = self.body.decode().split("\n\n")
        return [text.removeprefix("data: ") for text in blocks if text.startswith("data: ")]


class HttpConnection:
    """One HTTP/1.1 connection, never made anew, that sends whatever bytes it is given."""

    def __init__(self, gateway: Gateway, api_key: str | None) -> None:
        address = gateway.rest.removeprefix("http://")
        self._connection = http.client.HTTPConnection(address, timeout=30)
        self._connection.connect()
        self._connection.auto_open = 0
        self._api_key = api_key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self,
        path: str = "/v1/chat/completions",
        body: bytes | Iterable[bytes] | None = None,
        *,
        method: str | None = None,
        **headers: str | bytes,
    ) -> HttpAnswer:
        """Sends a request; a body of parts goes in chunks. Headers have _ for -."""
        given: dict[str, str | bytes] = {"content-type": "application/json"}
        if self._api_key is not None:
            given["authorization"] = f"Bearer {self._api_key}"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        verb = method or ("GET" if body is None else "POST")
        self._connection.request(verb, path, body, given)  # type: ignore[arg-type]  # bytes too
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return HttpAnswer(answer.status, found, answer.read())

    def chat(self, model: str = "sim/fast", text: str = "Say something.", **fields: Any) -> Any:
        """Completes a chat."""
        return self.ask(body=chat_body(model, text, **fields))


def chat_body(model: str = "sim/fast", text: str = "Say something.", **fields: Any) -> bytes:
    """The body of a chat over REST."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()
