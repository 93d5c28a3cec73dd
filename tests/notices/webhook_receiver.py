"""A receiver of webhooks on a real socket, which checks signatures by its own reading of the spec,
and a rig that sends to it.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from psycopg.rows import scalar_row

from omni_grpc.administration import turned_off
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import OrgId
from omni_grpc.notices import (
    SEAL_PURPOSE,
    Delivery,
    NewWebhook,
    OutboxStore,
    Poster,
    Sender,
    Webhook,
    WebhookStore,
    enqueue,
    new_secret,
    secret_row,
)
from omni_grpc.storage import Connection, Database, Sealer

SERVER_SECRET = b"a server secret for tests, 32 bytes and more"
TOLERANCE_SECONDS = 300


def verified(secret: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The body, if its signature is right: as standardwebhooks' Webhook.verify does it."""
    identifier, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    assert abs(time.time() - int(timestamp)) < TOLERANCE_SECONDS
    key = base64.b64decode(secret.split("_", 1)[1])
    content = f"{identifier}.{timestamp}.".encode() + body
    right = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [one.split(",", 1) for one in headers["webhook-signature"].split(" ")]
    assert ["v1", right] in given, "the signature is wrong"
    found: dict[str, Any] = json.loads(body)
    return found


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Reply = Callable[[Received, int, asyncio.StreamWriter], Awaitable[None]]


def answering(status: int, *headers: str, body: bytes = b"") -> Reply:
    """Answers so."""

    async def reply(_: Received, __: int, writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return reply


def failing_first(count: int, status: int = 503) -> Reply:
    """Refuses the first `count` attempts."""

    async def reply(request: Received, number: int, writer: asyncio.StreamWriter) -> None:
        await answering(status if number <= count else 204)(request, number, writer)

    return reply


async def hanging(_: Received, __: int, writer: asyncio.StreamWriter) -> None:
    """Never answers; ends when the sender goes."""
    await writer.wait_closed()


async def endless(_: Received, __: int, writer: asyncio.StreamWriter) -> None:
    """Answers with a body that has no end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()


async def closing(_: Received, __: int, writer: asyncio.StreamWriter) -> None:
    """Closes the connection without a word."""
    writer.close()


@dataclass
class Receiver:
    """A server of one reply at a time."""

    reply: Reply = field(default_factory=lambda: answering(204))
    received: list[Received] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (one.partition(":") for one in fields)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.received.append(Received(line, headers, body))
            await self.reply(self.received[-1], len(self.received), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class Told(msgspec.Struct, frozen=True):
    """A body."""

    account: str
    n: int = 0


async def no_record(_: Connection, __: Webhook | None, ___: Webhook | None) -> None:
    """Writes no audit entry."""


async def no_replay(_: Connection, __: Delivery, ___: Delivery) -> None:
    """Writes no audit entry."""


@dataclass
class Outbox:
    """Webhooks of one organisation, and senders for them."""

    database: Database
    org_id: OrgId
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> WebhookStore:
        return WebhookStore(self.database)

    @property
    def sealer(self) -> Sealer:
        return Sealer(SERVER_SECRET, SEAL_PURPOSE)

    async def webhook(self, slug: str, url: str, events: tuple[str, ...] = ()) -> Webhook:
        secret = self.secrets[slug] = new_secret()
        return await self.store.insert(
            NewWebhook(
                org_id=self.org_id,
                slug=slug,
                url=url,
                events=events,
                active=True,
                sealed_secret=self.sealer.seal(secret.encode(), secret_row(self.org_id, slug)),
            ),
            no_record,
        )

    async def tell(self, event: str = "balance.low", n: int = 0) -> None:
        async def work(connection: Connection) -> None:
            await enqueue(connection, self.org_id, event, Told("accounts/acme", n))

        await self.database.transaction(work)

    @asynccontextmanager
    async def sending(
        self,
        count: int = 1,
        *,
        retry_seconds: Sequence[float] = (0.01, 0.01),
        seconds_max: float = 30.0,
        private_hosts: bool = True,
    ) -> AsyncIterator[None]:
        """Several senders at once, as of several workers."""
        tasks = [
            asyncio.create_task(
                Sender(
                    OutboxStore(self.database),
                    self.sealer,
                    Poster(private_hosts=private_hosts, seconds_max=seconds_max),
                    SystemClock(),
                    turned_off,
                    retry_seconds=retry_seconds,
                    look_seconds=0.02,
                ).run()
            )
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


_NEW_ORG = """
WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id)
INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE
SELECT id, %s, '', ledger_open_wallet(id) FROM new RETURNING id
"""


async def outbox_of(database: Database, slug: str = "acme") -> Outbox:
    org_id = await database.fetch_one(_NEW_ORG, (slug,), row=scalar_row)
    return Outbox(database, OrgId(org_id))


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Waits for it, for a minute at most."""
    async with asyncio.timeout(60):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)
