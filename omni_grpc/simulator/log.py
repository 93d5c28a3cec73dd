"""The exact log: one record a call, in the order in which the calls came.

What a record says was sent was handed to an open transport; after the peer was seen to go,
nothing is counted. Records hold no prompt, no answer and no key. The log is bounded: the oldest
records go first.
"""

import collections
import time
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

__all__ = ("CallLog", "CallRecord", "Outcome", "console_line")

LOG_RECORDS_MAX: Final = 100_000
"""Records kept: about 100 MB when full, a day of busy tests."""

HEADERS_MAX: Final = 32
HEADER_CHARS_MAX: Final = 256

_HEADERS_SHOWN: Final = ("user-agent", "traceparent", "idempotency-key")
_HEADERS_SECRET: Final = ("x-api-key", "x-goog-api-key", "x-amz-security-token")

Outcome = Literal["running", "finished", "cancelled", "error", "cut", "stopped"]


class CallRecord(msgspec.Struct, kw_only=True):
    """One call. All `_ms` are monotonic, since the simulator's start.

    Attributes:
        call: 1, 2, 3… in order of arrival; also the header `x-sim-call` of the answer.
        id: the completion's id, as the answer has it.
        request_id: the caller's `x-request-id`; empty if it sent none.
        headers: the caller's `x-` headers, user-agent, traceparent and idempotency-key.
        model: as the caller wrote it.
        seen: what of the request was understood, under the OpenAI dialect's names.
        behaviour: what `x-sim` and `metadata.sim` asked for, joined.
        max_tokens: the limit that the caller set, by either name.
        include_usage: whether a stream was asked to end with its usage.
        prompt_tokens, cached_tokens: what was read.
        completion_tokens: tokens that were really sent, reasoning included; for a plain answer
            all or none.
        reasoning_tokens: those of them that were reasoning.
        planned_tokens: how many the whole answer has.
        billed_prompt_tokens, billed_completion_tokens: what it bills, once the call has ended:
            what was read and sent, or all of the answer, or nothing of what it refused.
        usage_sent: whether a usage report went out whole.
        bytes: bytes of the answer that were sent, headers and framing included.
        status: the HTTP status; 0 if no headers were sent.
        outcome: running; finished (all was sent that was meant to be); cancelled (the peer went
            first); error (an HTTP status or an error event); cut (by this side); stopped (the
            simulator ended first).
        received_ms: the request was read. headers_ms, first_token_ms: those were sent.
            ended_ms: nothing more was sent. gone_ms: the end of the peer's side was read.
        notice_ms: how long after gone_ms the answer stopped.
        record_ms: from when on `/v1/generation` tells of it.
    """

    call: int
    id: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    model: str = ""
    seen: Mapping[str, object] = msgspec.field(default_factory=dict)
    behaviour: str = ""
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    planned_tokens: int = 0
    billed_prompt_tokens: int = 0
    billed_completion_tokens: int = 0
    usage_sent: bool = False
    bytes: int = 0
    status: int = 0
    outcome: Outcome = "running"
    received_ms: float = 0
    headers_ms: float | None = None
    first_token_ms: float | None = None
    ended_ms: float | None = None
    gone_ms: float | None = None
    notice_ms: float | None = None
    record_ms: float | None = None


class CallLog:
    """All records that are kept, and the clock that they share."""

    def __init__(self, records_max: int = LOG_RECORDS_MAX) -> None:
        self._records: collections.deque[CallRecord] = collections.deque(maxlen=records_max)
        self._started = time.monotonic()
        self._calls = 0

    def now_ms(self, at: float | None = None) -> float:
        """Milliseconds since the start, of now or of a monotonic time."""
        seconds = (time.monotonic() if at is None else at) - self._started
        return round(seconds * 1000, 3)

    def open(self, headers: Mapping[str, str]) -> CallRecord:
        """A new record, in the log from now on."""
        self._calls += 1
        shown: dict[str, str] = {}
        for key, value in headers.items():
            name = key.lower()
            wanted = name.startswith("x-") or name in _HEADERS_SHOWN
            if wanted and name not in _HEADERS_SECRET and len(shown) < HEADERS_MAX:
                shown[name] = value[:HEADER_CHARS_MAX]
        record = CallRecord(
            call=self._calls,
            request_id=shown.get("x-request-id", ""),
            headers=shown,
            received_ms=self.now_ms(),
        )
        self._records.append(record)
        return record

    def after(self, call: int) -> tuple[CallRecord, ...]:
        """The records of the calls numbered above `call`, running ones too."""
        # Copied at once: whoever looks from another thread meets no record that comes meanwhile.
        return tuple(record for record in tuple(self._records) if record.call > call)

    def find(self, completion_id: str) -> CallRecord | None:
        """The record of an answer; None if it is not kept."""
        return next((one for one in reversed(self._records) if one.id == completion_id), None)

    def clear(self) -> None:
        """Forget all records; the numbers go on."""
        self._records.clear()


def console_line(record: CallRecord) -> str:
    """A call on one line, for people."""
    ended = record.ended_ms if record.ended_ms is not None else record.received_ms
    kind = "stream" if record.stream else "plain"
    return (
        f"#{record.call} {record.model or '-'} {kind} {record.status or '---'} {record.outcome}"
        f"  {record.prompt_tokens} in, {record.completion_tokens} of {record.planned_tokens} out"
        f"  {ended - record.received_ms:.0f} ms"
    )
