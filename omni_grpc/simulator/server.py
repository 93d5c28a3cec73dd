"""The simulator: a server on a real socket, in this process's event loop.

It answers chats in every dialect of `dialects/`, `/v1/models` as OpenAI does, and `/sim/log` and
`/sim/gate/<name>` for tests. It keeps no prompt and writes to no disk.
"""

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import HttpVersion11, web

from omni_grpc.catalog import tokens
from omni_grpc.simulator.answer import Asked, compose, report
from omni_grpc.simulator.behaviour import Behaviour, BehaviourError, parse_behaviour
from omni_grpc.simulator.connection import Connection, Sent
from omni_grpc.simulator.delivery import Delivery
from omni_grpc.simulator.dialect import Rejected, SimChat, SimDialect, SimRequest
from omni_grpc.simulator.dialects import DIALECTS, openai_answer, openrouter_record
from omni_grpc.simulator.gates import Gates
from omni_grpc.simulator.instances import SchemaUnsupported
from omni_grpc.simulator.log import LOG_RECORDS_MAX, CallLog, CallRecord, console_line
from omni_grpc.simulator.media import MediaEndpoints
from omni_grpc.simulator.models import SIMULATED_MODELS, SimulatedMedia, SimulatedModel
from omni_grpc.simulator.wire import ErrorReply

__all__ = ("Simulator",)

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Largest request: above what the gateway takes, so that its own limit is what a test meets."""

ONCE_NAMES_MAX: Final = 10_000
"""Names of faults that strike once; beyond it the oldest is forgotten and would strike again."""

BACKLOG: Final = 4_096
"""Connections that may wait to be accepted: tests open hundreds at once."""

STOP_SECONDS_MAX: Final = 2.0

_FAMILY: Final = "sim/"
_SAID: Final = re.compile(r"\[sim ([^\]]*)\]")
"""A behaviour in the last user message, for callers who can send neither header nor metadata."""

_MODELS: Final = {model.id: model for model in SIMULATED_MODELS}


class Simulator:
    """A provider to test against.

    `key`, if set, is what callers must send as their bearer. `on_line` gets a line for people
    after each call. Use as `async with Simulator() as simulator`, or `start` and `stop`.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        on_line: Callable[[str], None] | None = None,
        log_records_max: int = LOG_RECORDS_MAX,
    ) -> None:
        self._key = key
        self._on_line = on_line
        self._log = CallLog(log_records_max)
        self._gates = Gates()
        self._struck: dict[str, None] = {}
        self._connections: set[Connection] = set()
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._run_id = secrets.token_hex(4)
        self._origin = ""

    # --- life ---------------------------------------------------------------------------------
    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL that an OpenAI client takes (it ends in `/v1`)."""
        if self._listener is not None:
            raise RuntimeError("the simulator runs already")
        tokens.count_text("")  # so that the first call does not wait for the tokenizer to load
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._guard])
        media = MediaEndpoints(
            log=self._log,
            gates=self._gates,
            run_id=self._run_id,
            check_key=self._check_key,
            behaviour=self._behaviour,
            on_line=self._on_line,
        )
        app.add_routes(
            [
                *(
                    web.post(path, media.around(dialect, partial(self._chat, dialect)))
                    for dialect in DIALECTS
                    for path in dialect.routes
                ),
                *media.routes(),
                web.get("/v1/generation", self._get_generation),
                web.get("/v1/models", self._list_models),
                web.get("/v1/models/{id:.+}", self._get_model),
                web.get("/sim/log", self._get_log),
                web.delete("/sim/log", self._clear_log),
                web.get("/sim/gate/{name}", self._get_gate),
                web.post("/sim/gate/{name}/{action:open|close}", self._set_gate),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS_MAX)
        await runner.setup()
        server = runner.server
        if server is None:  # never so after setup(), but its type allows it
            raise RuntimeError("aiohttp made no server")
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(server(), self._connections), host, port, backlog=BACKLOG
        )
        self._runner = runner
        address = self._listener.sockets[0].getsockname()
        self._origin = f"http://{f'[{host}]' if ':' in host else host}:{address[1]}"
        return self.base_url

    async def stop(self) -> None:
        """End every call, waiting ones too, and close the socket."""
        if self._listener is None or self._runner is None:
            return
        self._listener.close()
        for connection in list(self._connections):
            connection.stop()
        await self._runner.cleanup()
        self._listener = self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def origin(self) -> str:
        """`http://host:port`, for the routes under `/sim`."""
        return self._origin

    @property
    def base_url(self) -> str:
        """The same with `/v1`, for an OpenAI client."""
        return f"{self._origin}/v1"

    # --- for tests in the same process --------------------------------------------------------
    @property
    def log(self) -> tuple[CallRecord, ...]:
        """The records of all calls, in order of arrival; running ones change until they end."""
        return self._log.after(0)

    def log_after(self, call: int) -> tuple[CallRecord, ...]:
        """The records of the calls numbered above `call`."""
        return self._log.after(call)

    def clear_log(self) -> None:
        """Forget the records, and which `once` faults have struck."""
        self._log.clear()
        self._struck.clear()

    @property
    def gates(self) -> Gates:
        """The gates, to close, open and count who waits."""
        return self._gates

    # --- routes -------------------------------------------------------------------------------
    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The key, and OpenAI's error object for whatever aiohttp itself refuses."""
        try:
            if isinstance(request.match_info.handler, partial):
                return await handler(request)  # a dialect's, which answers in its own way
            self._check_key(_bearer(request.headers))
            return await handler(request)
        except Rejected as rejected:
            reply = openai_answer.refusal(rejected)
        except web.HTTPException as error:
            message = f"{error.reason} ({request.method} {request.path})"
            reply = openai_answer.refusal(Rejected(error.status, message))
        return _error_response(reply)

    async def _chat(self, dialect: SimDialect, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        connection = transport.get_protocol() if transport is not None else None
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            too_large = Rejected(413, f"The request is larger than {BODY_BYTES_MAX} bytes.")
            return _error_response(dialect.refusal(too_large))
        record = self._log.open(request.headers)
        record.id = dialect.answer_id(self._run_id, record.call)
        if not isinstance(connection, Connection):  # the peer left before its request was read
            record.outcome, record.ended_ms = "cancelled", self._log.now_ms()
            return Sent(keep_alive=False)
        delivery = Delivery(
            connection,
            record,
            self._log,
            self._gates,
            dialect.framing,
            http11=request.version >= HttpVersion11,
            keep_alive=request.keep_alive,
        )
        try:
            self._check_key(dialect.presented_key(request.headers))
            chat = dialect.read(
                SimRequest(
                    method=request.method,
                    path=request.path,
                    variables=request.match_info,
                    query=request.query,
                    headers=request.headers,
                    body=body,
                )
            )
            header = request.headers.get("x-sim", "")
            await self._answer(dialect, chat, header, record, delivery)
        except Rejected as rejected:
            delivery.refuse(dialect.refusal(rejected))
        finally:
            if record.ended_ms is None:  # a fault of the simulator's own, or cancelled by a stop
                record.outcome, record.ended_ms = "error", self._log.now_ms()
        if self._on_line is not None:
            self._on_line(console_line(record))
        return Sent(keep_alive=delivery.keep_alive)

    async def _answer(
        self,
        dialect: SimDialect,
        chat: SimChat,
        header: str,
        record: CallRecord,
        delivery: Delivery,
    ) -> None:
        """Compose the answer and deliver it.

        Raises:
            Rejected: the request cannot be answered.
        """
        record.model = chat.model
        record.stream = chat.streams
        record.include_usage = chat.wants_usage
        record.max_tokens = chat.tokens_max
        bare, facts = _find_model(chat.model)
        asked = chat.asked(bare, facts)
        record.seen = asked.seen
        self._understood(record, asked)
        said = _SAID.search(asked.user_text)
        texts = (chat.behaviour, said[1] if said else "", header)
        record.behaviour = ",".join(filter(None, texts))
        behaviour = self._behaviour(facts, *texts)
        record.prompt_tokens = asked.prompt_tokens
        try:
            answer = compose(asked, behaviour)
        except SchemaUnsupported as trouble:
            raise Rejected(400, f"Invalid schema: {trouble}.") from None
        counts = report(asked, answer, behaviour)
        record.cached_tokens = counts.cached
        record.planned_tokens = answer.tokens
        writer = chat.writer(
            answer,
            behaviour,
            answer_id=record.id,
            created=int(time.time()),
            counts=counts,
        )
        error = dialect.told_error(behaviour.status or 500, behaviour.error_code)
        if chat.streams:
            await delivery.stream(writer.events(), behaviour, error)
        else:
            await delivery.plain(writer.body(), answer, behaviour, error)

    def _understood(self, record: CallRecord, asked: Asked) -> None:
        """For those who derive from this class to keep what a request said."""

    def _behaviour(self, facts: SimulatedModel | SimulatedMedia | None, *texts: str) -> Behaviour:
        try:
            behaviour = parse_behaviour(facts.behaviour if facts else "", *texts)
        except BehaviourError as error:
            raise Rejected(400, str(error), param="x-sim") from None
        name = behaviour.once
        if name is None:
            return behaviour
        if name in self._struck:
            return behaviour.without_faults()
        while len(self._struck) >= ONCE_NAMES_MAX:
            del self._struck[next(iter(self._struck))]
        self._struck[name] = None
        return behaviour

    def _check_key(self, sent: str) -> None:
        if self._key is None:
            return
        if not hmac.compare_digest(sent.encode("utf-8", "replace"), self._key.encode()):
            raise Rejected(401, "Incorrect API key provided.")

    async def _get_generation(self, request: web.Request) -> web.Response:
        completion_id = request.query.get("id", "")
        record = self._log.find(completion_id) if completion_id else None
        if record is None or record.record_ms is None or self._log.now_ms() < record.record_ms:
            raise Rejected(404, f"Generation {completion_id} not found")
        _, facts = _find_model(record.model)
        return _json(openrouter_record.record_body(record, facts))

    async def _list_models(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return _json(openai_answer.models_body(SIMULATED_MODELS))

    async def _get_model(self, request: web.Request) -> web.Response:
        _, facts = _find_model(request.match_info["id"])
        if facts is None:
            raise _no_such_model(request.match_info["id"])
        return _json(openai_answer.model_body(facts))

    async def _get_log(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isdecimal():
            raise Rejected(400, "'after' must be a call number.", param="after")
        return _json(msgspec.json.encode(self._log.after(int(after))))

    async def _clear_log(self, request: web.Request) -> web.Response:  # noqa: ARG002
        self.clear_log()
        return web.Response(status=204)

    async def _get_gate(self, request: web.Request) -> web.Response:
        return self._gate_body(request.match_info["name"])

    async def _set_gate(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.match_info["action"] == "open":
            self._gates.open(name)
        elif not self._gates.close(name):
            raise Rejected(429, "Too many gates are closed; open some first.")
        return self._gate_body(name)

    def _gate_body(self, name: str) -> web.Response:
        state = {
            "name": name,
            "closed": self._gates.is_closed(name),
            "waiting": self._gates.waiting(name),
        }
        return _json(msgspec.json.encode(state))


def _find_model(name: str) -> tuple[str, SimulatedModel | None]:
    """The bare name, and the model's facts; None for a name that is not the simulator's own.

    Raises:
        Rejected: 404, `sim/` has no such model.
    """
    bare = name.removeprefix(_FAMILY)
    facts = _MODELS.get(bare)
    if facts is None and bare != name:
        raise _no_such_model(name)
    return bare, facts


def _no_such_model(name: str) -> Rejected:
    message = f"The model '{name}' does not exist; GET /v1/models lists those that do."
    return Rejected(404, message, param="model")


def _bearer(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def _error_response(reply: ErrorReply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type="application/json")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
