"""The endpoints beside chats, simulated: the same input gives the same vector, picture, bytes.

A behaviour comes as for chats: by the model, by `[sim ...]` in the text (of a transcription, in its
prompt), or by the header `x-sim`. The log has each call; what it bills is in the answer's usage,
and what is sold by the image, second or character is counted by whoever sells it on.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, Protocol

from aiohttp import HttpVersion11, web

from omni_grpc.simulator import media_answers
from omni_grpc.simulator.answer import Answer
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.connection import Connection, Sent
from omni_grpc.simulator.delivery import Delivery
from omni_grpc.simulator.dialect import Rejected, SimDialect, SimRequest
from omni_grpc.simulator.dialects import DIALECTS, bedrock_media, cohere_media, gemini_media
from omni_grpc.simulator.dialects.bedrock_chat import BedrockChatDialect
from omni_grpc.simulator.dialects.cohere_chat import CohereChatDialect
from omni_grpc.simulator.dialects.gemini_chat import GeminiDialect
from omni_grpc.simulator.dialects.openai_chat import OpenAIChatDialect
from omni_grpc.simulator.gates import Gates
from omni_grpc.simulator.log import CallLog, CallRecord, console_line
from omni_grpc.simulator.made import Reply, Seen
from omni_grpc.simulator.models import SIMULATED_MEDIA, SimulatedMedia
from omni_grpc.simulator.wire import SSE, Event

__all__ = ("MediaEndpoints",)

_FAMILY: Final = "sim/"
_SAID: Final = re.compile(r"\[sim ([^\]]*)\]")
_MODELS: Final = {model.id: model for model in SIMULATED_MEDIA}
_EMPTY: Final = Answer(choices=())
_Read = Callable[[web.Request], Awaitable[Seen]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPENAI: Final = OpenAIChatDialect()


class _Raw:
    """A stream of bare bytes."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type

    def frame(self, event: Event, behaviour: Behaviour, *, broken: bool, padded: bool) -> bytes:
        """The bytes alone."""
        del behaviour, padded
        return event.data[: len(event.data) // 2] if broken else event.data

    def ping(self, behaviour: Behaviour) -> bytes:
        """There is no such thing."""
        del behaviour
        return b""


class _BehaviourOf(Protocol):
    def __call__(self, facts: SimulatedMedia | None, *texts: str) -> Behaviour: ...


class MediaEndpoints:
    """The routes, for the simulator's application."""

    def __init__(
        self,
        *,
        log: CallLog,
        gates: Gates,
        run_id: str,
        check_key: Callable[[str], None],
        behaviour: _BehaviourOf,
        on_line: Callable[[str], None] | None,
    ) -> None:
        self._log = log
        self._gates = gates
        self._run_id = run_id
        self._check_key = check_key
        self._behaviour = behaviour
        self._on_line = on_line

    def routes(self) -> Iterator[web.RouteDef]:
        """What the application serves beside chats."""
        for path, read in (
            ("/v1/embeddings", media_answers.embeddings),
            ("/v1/images/generations", media_answers.generations),
            ("/v1/images/edits", media_answers.edits),
            ("/v1/audio/speech", media_answers.speech),
            ("/v1/audio/transcriptions", media_answers.transcription),
            ("/v1/moderations", media_answers.moderation),
        ):
            yield web.post(path, partial(self._serve, _OPENAI, read))
        for dialect in DIALECTS:
            for path, reader in _others(dialect):
                yield web.post(path, partial(self._serve, dialect, _whole(reader)))

    def around(self, dialect: SimDialect, chat: _Handler) -> _Handler:
        """A route of chats, some of whose answers are no text."""
        return partial(self._either, dialect, chat) if isinstance(dialect, GeminiDialect) else chat

    async def _either(
        self, dialect: SimDialect, chat: _Handler, request: web.Request
    ) -> web.StreamResponse:
        with contextlib.suppress(web.HTTPRequestEntityTooLarge):  # a chat's way of saying so
            if gemini_media.is_made(await request.read()):
                return await self._serve(dialect, _whole(gemini_media.read_made), request)
        return await chat(request)

    async def _serve(
        self, dialect: SimDialect, read: _Read, request: web.Request
    ) -> web.StreamResponse:
        transport = request.transport
        connection = transport.get_protocol() if transport is not None else None
        record = self._log.open(request.headers)
        record.id = f"media-sim{self._run_id}{record.call:08d}"
        if not isinstance(connection, Connection):
            record.outcome, record.ended_ms = "cancelled", self._log.now_ms()
            return Sent(keep_alive=False)
        try:
            seen: Seen | Rejected = await read(request)
        except Rejected as rejected:
            seen = rejected
        keep_alive = await self._deliver(dialect, seen, request, record, connection)
        if self._on_line is not None:
            self._on_line(console_line(record))
        return Sent(keep_alive=keep_alive)

    async def _deliver(
        self,
        dialect: SimDialect,
        seen: Seen | Rejected,
        request: web.Request,
        record: CallRecord,
        connection: Connection,
    ) -> bool:
        framing: _Raw | None = None

        def delivery() -> Delivery:
            return Delivery(
                connection,
                record,
                self._log,
                self._gates,
                framing or SSE,
                http11=request.version >= HttpVersion11,
                keep_alive=request.keep_alive,
            )

        made = delivery()
        try:
            self._check_key(dialect.presented_key(request.headers))
            if isinstance(seen, Rejected):
                raise seen
            behaviour, reply = self._answer(seen, request, record)
            error = dialect.told_error(behaviour.status or 500, behaviour.error_code)
            if not reply.content_type:
                await made.plain(reply.body, _EMPTY, behaviour, error, reply.headers)
            else:
                if reply.content_type != SSE.content_type:
                    framing = _Raw(reply.content_type)
                made = delivery()
                await made.stream(reply.parts, behaviour, error)
        except Rejected as rejected:
            made.refuse(dialect.refusal(rejected))
        finally:
            if record.ended_ms is None:
                record.outcome, record.ended_ms = "error", self._log.now_ms()
        return made.keep_alive

    def _answer(
        self, seen: Seen, request: web.Request, record: CallRecord
    ) -> tuple[Behaviour, Reply]:
        record.model = seen.model
        record.seen = seen.seen
        record.prompt_tokens = seen.prompt_tokens
        facts = _MODELS.get(seen.model.removeprefix(_FAMILY))
        if facts is None and seen.model.startswith(_FAMILY):
            raise Rejected(404, f"The model '{seen.model}' does not exist.", param="model")
        said = _SAID.search(seen.text)
        texts = (said[1] if said else "", request.headers.get("x-sim", ""))
        record.behaviour = ",".join(filter(None, texts))
        behaviour = self._behaviour(facts, *texts)
        reply = seen.answer(behaviour)
        record.planned_tokens = sum(part.tokens for part in reply.parts)
        record.stream = bool(reply.content_type)
        return behaviour, reply


def _others(dialect: SimDialect) -> Iterator[tuple[str, Callable[[SimRequest], Seen]]]:
    """The endpoints beside chats of those who are not OpenAI."""
    match dialect:
        case GeminiDialect():
            if dialect.is_vertex:
                yield f"{dialect.models}predict", gemini_media.read_predict
            else:
                yield f"{dialect.models}batchEmbedContents", gemini_media.read_batch
        case CohereChatDialect():
            yield "/v2/embed", cohere_media.read_embed
        case BedrockChatDialect():
            yield bedrock_media.INVOKE_PATH, bedrock_media.read_invoke


def _whole(read: Callable[[SimRequest], Seen]) -> _Read:
    """Reads a request whose body has come."""

    async def reading(request: web.Request) -> Seen:
        return read(
            SimRequest(
                method=request.method,
                path=request.path,
                variables=request.match_info,
                query=request.query,
                headers=request.headers,
                body=await request.read(),
            )
        )

    return reading
