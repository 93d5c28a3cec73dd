"""Sending one answer over one connection: its pace, its accidents, and what was really sent.

Tokens are counted when their bytes were handed to an open transport, and never after the peer
was seen to go. At one position in an answer things happen in this order: gate, pause, hang,
error, cut, end.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, NoReturn

from omni_grpc.simulator.answer import Answer
from omni_grpc.simulator.behaviour import AT_HEADERS, AT_REQUEST, Behaviour
from omni_grpc.simulator.connection import Connection
from omni_grpc.simulator.dialect import StreamFraming
from omni_grpc.simulator.gates import Gates
from omni_grpc.simulator.log import CallLog, CallRecord, Outcome
from omni_grpc.simulator.wire import LAST_CHUNK, ErrorReply, Event, chunk, head

__all__ = ("Delivery",)

YIELD_EVERY: Final = 8
"""Events written without a wait before the event loop looks at its sockets again."""


class _Over(Exception):
    """The call has ended and its record says how."""


class Delivery:
    """One call's way out. One of `stream`, `plain` and `refuse` is called, and ends its record."""

    def __init__(
        self,
        connection: Connection,
        record: CallRecord,
        log: CallLog,
        gates: Gates,
        framing: StreamFraming,
        *,
        http11: bool,
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self._record = record
        self._log = log
        self._gates = gates
        self._framing = framing
        self._http11 = http11
        self.keep_alive = keep_alive and http11
        self._behaviour = Behaviour()
        self._streaming = False
        self._passed: set[str] = set()
        self._frames: list[bytes] = []
        self._events: list[Event] = []

    # --- the three ways to answer -------------------------------------------------------------
    def refuse(self, error: ErrorReply) -> None:
        """Answer with an error."""
        with contextlib.suppress(_Over):
            self._refuse(error, {})

    async def stream(
        self, events: Iterable[Event], behaviour: Behaviour, error: ErrorReply
    ) -> None:
        """Answer with a stream; `error` is what goes wrong if something shall."""
        self._behaviour = behaviour
        with contextlib.suppress(_Over):
            await self._before_headers(error)
            self._streaming = True
            headers = {"content-type": self._framing.content_type}
            headers["cache-control"] = "no-cache"
            if self._http11:
                headers["transfer-encoding"] = "chunked"
            self._send_head(HTTPStatus.OK, headers)
            await self._send_events(events, error)
            self._end_stream("finished")

    async def plain(
        self,
        body: bytes,
        answer: Answer,
        behaviour: Behaviour,
        error: ErrorReply,
        own_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with one body, after as long as its stream would take."""
        self._behaviour = behaviour
        with contextlib.suppress(_Over):
            await self._before_headers(error)
            headers = {**(own_headers or {}), **_body_headers(len(body))}
            if AT_HEADERS in (behaviour.hang_after, behaviour.cut_after):
                self._send_head(HTTPStatus.OK, headers)
                await self._reached(AT_HEADERS, b"", error)
            await self._rest((behaviour.first_ms + behaviour.delay_ms * answer.tokens) / 1000)
            broken_off = body[: len(body) // 2]
            await self._reached(
                answer.tokens, self._head(HTTPStatus.OK, headers) + broken_off, error
            )
            if self._first_time("bad_json", behaviour.bad_json_after, answer.tokens):
                body, headers = broken_off, _body_headers(len(broken_off))
            self._send_head(HTTPStatus.OK, headers, body)
            self._record.completion_tokens = answer.tokens
            self._record.reasoning_tokens = answer.reasoning_tokens
            self._record.first_token_ms = self._record.headers_ms
            self._record.usage_sent = behaviour.usage != "none"
            self._end("finished")

    # --- before the first byte ----------------------------------------------------------------
    async def _before_headers(self, error: ErrorReply) -> None:
        behaviour = self._behaviour
        await self._reached(AT_REQUEST, b"", error)
        await self._rest(behaviour.headers_ms / 1000)
        if behaviour.status is None:
            return
        headers: dict[str, str] = {}
        if behaviour.retry_after_ms is not None:
            headers["retry-after"] = str(-(-behaviour.retry_after_ms // 1000))
            headers["retry-after-ms"] = str(behaviour.retry_after_ms)
        self._refuse(error, headers)

    # --- the answer ---------------------------------------------------------------------------
    async def _send_events(self, events: Iterable[Event], error: ErrorReply) -> None:
        behaviour = self._behaviour
        position = 0
        for number, event in enumerate(events, start=1):
            frame = self._frame(event, position, first=number == 1)
            await self._reached(position, frame, error)
            if event.tokens:
                wait_ms = behaviour.delay_ms + (0 if position else behaviour.first_ms)
                await self._rest(wait_ms / 1000)
            self._frames.append(frame)
            self._events.append(event)
            position += event.tokens
            if not behaviour.burst:
                self._flush()
                self._must(await self._connection.drain())
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)

    async def _reached(self, position: int, following: bytes, error: ErrorReply) -> None:
        """All that shall happen once `position` tokens have gone.

        `following` is what a cut breaks off in: a stream's next frame, or half a plain answer.
        """
        behaviour = self._behaviour
        if behaviour.gate and self._first_time("gate", behaviour.gate_after, position):
            self._flush()
            self._must(await self._gates.enter(behaviour.gate, self._connection))
        if self._first_time("pause", behaviour.pause_after, position):
            await self._rest(behaviour.pause_s)
        if self._first_time("hang", behaviour.hang_after, position):
            await self._rest(None)
        if self._first_time("error", behaviour.error_after, position):
            self._fail(error)
        if self._first_time("cut", behaviour.cut_after, position):
            self._cut(following, reset=behaviour.cut == "rst")
        if self._first_time("end", behaviour.end_after, position):
            if self._streaming:
                self._end_stream("cut")
            self._cut(following, reset=False)

    def _first_time(self, what: str, after: int | None, position: int) -> bool:
        if after is None or position < after or what in self._passed:
            return False
        self._passed.add(what)
        return True

    async def _rest(self, seconds: float | None) -> None:
        """Send what is due, then wait, for ever if None; a stream pings if it shall."""
        if seconds == 0:
            return
        self._flush()
        ping_ms = self._behaviour.ping_ms
        if not (ping_ms and self._streaming):
            self._must(await self._connection.pause(seconds))
            return
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        while (left := until - time.monotonic()) > 0:
            self._must(await self._connection.pause(min(left, ping_ms / 1000)))
            if ping := self._framing.ping(self._behaviour):
                self._write(self._framed(ping))

    def _frame(self, event: Event, position: int, *, first: bool) -> bytes:
        breaks = self._behaviour.bad_json_after if event.tokens else None
        broken = self._first_time("bad_json", breaks, position)
        return self._framing.frame(event, self._behaviour, broken=broken, padded=first)

    # --- writing: whatever finds that the peer has gone ends the call -------------------------
    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        call = self._record.call
        own = {"server": "omni-grpc-simulator", "x-request-id": f"req_sim_{call}"}
        own["x-sim-call"] = str(call)
        own["x-generation-id"] = self._record.id
        return head(status, {**own, **headers}, keep_alive=self.keep_alive)

    def _send_head(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Headers, and the body if it shall go in the same write."""
        self._write(self._head(status, headers) + body)
        self._record.status = status
        self._record.headers_ms = self._log.now_ms()

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._http11 else data

    def _flush(self) -> None:
        """Send the events that wait, in one write, and count them."""
        if not self._frames:
            return
        self._write(self._framed(b"".join(self._frames)))
        record = self._record
        for event in self._events:
            record.completion_tokens += event.tokens
            record.reasoning_tokens += event.reasoning
            record.usage_sent = record.usage_sent or event.is_usage
        if record.first_token_ms is None and record.completion_tokens:
            record.first_token_ms = self._log.now_ms()
        self._frames.clear()
        self._events.clear()

    def _write(self, data: bytes) -> None:
        self._must(self._connection.write(data))
        self._record.bytes += len(data)

    def _must(self, is_there: bool) -> None:
        if is_there:
            return
        gone_ms = self._log.now_ms(self._connection.gone_at)
        self._record.gone_ms = gone_ms
        self._record.notice_ms = round(self._log.now_ms() - gone_ms, 3)
        self._end("stopped" if self._connection.stopped else "cancelled")

    # --- how a call ends ----------------------------------------------------------------------
    def _fail(self, error: ErrorReply) -> NoReturn:
        if not self._streaming:
            self._refuse(error, {})
        self._flush()
        event = Event(error.body, name=error.name)
        frame = self._framing.frame(event, self._behaviour, broken=False, padded=False)
        self._write(self._framed(frame))
        self._end_stream("error")

    def _refuse(self, error: ErrorReply, headers: Mapping[str, str]) -> NoReturn:
        said = {**_body_headers(len(error.body)), **error.headers, **headers}
        self._send_head(error.status, said, error.body)
        self._end("error", bills=False)

    def _cut(self, following: bytes, *, reset: bool) -> NoReturn:
        self._flush()
        if self._streaming:
            inside = self._behaviour.cut_inside
            following = self._framed(following)[: len(following) // 2] if inside else b""
        elif following:
            self._record.status = HTTPStatus.OK
        if following:
            self._write(following)
        self._connection.cut(reset=reset)
        self._end("cut")

    def _end_stream(self, outcome: Outcome) -> NoReturn:
        self._flush()
        if self._http11:
            self._write(LAST_CHUNK)
        self._end(outcome)

    def _end(self, outcome: Outcome, *, bills: bool = True) -> NoReturn:
        record = self._record
        if bills:
            whole = self._behaviour.bills_on
            record.billed_prompt_tokens = record.prompt_tokens
            record.billed_completion_tokens = (
                record.planned_tokens if whole else record.completion_tokens
            )
        record.outcome = outcome
        record.ended_ms = self._log.now_ms()
        record.record_ms = record.ended_ms + self._behaviour.record_ms
        if self._connection.is_gone:
            self.keep_alive = False
        raise _Over


def _body_headers(length: int) -> dict[str, str]:
    return {"content-type": "application/json", "content-length": str(length)}
