"""Makes the faults of one provider, from HTTP answers and from error objects.

Everything a provider said is scrubbed of its configured key here, on its way into a fault.
"""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from omni_grpc.core.clock import Clock
from omni_grpc.providers.errors import (
    Malformed,
    Misconfigured,
    Overloaded,
    ProviderFault,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Truncated,
    Unreachable,
    Wait,
    scrub,
)

RETRY_AFTER_SECONDS_MAX: Final = 86_400.0
"""Longest advice that is passed on; beyond a day it is as good as none."""

BAD_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON that was asked for."""

_CODE_CHARS_MAX: Final = 128
_HTTP_ERROR_MIN: Final = 400
_HTTP_ERROR_MAX: Final = 599

_HTTP_SERVER_ERROR_MIN: Final = 500
_TOO_MANY_REQUESTS: Final = 429
_REPEATABLE: Final = frozenset({408, 409, 424, 425})
"""Failures below 500 that pass by themselves, and are about nothing that the caller wrote; 424 is
what Bedrock says of a model that failed."""

_OURS: Final = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426})
"""Our key, quota, address or model name. So are redirects: following one would carry the key."""

_QUOTA_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "ServiceQuotaExceededException",
    }
)
"""Codes that come as 429 or 400 and mean that our account there has no money."""

_ACCOUNT_CODES: Final = frozenset({"API_KEY_INVALID", "FAILED_PRECONDITION"})
"""Google's codes that come as 400 and are about our key, or our account's country or billing."""

_WAITS: Final[dict[Wait, str]] = {
    "connect": "no connection was made in time",
    "first_byte": "no answer began in time",
    "between_bytes": "it fell silent in the middle of its answer",
    "total": "the call's time was over before its answer was whole",
}


class Faults:
    """Makes faults that name one provider and hold none of its secrets."""

    __slots__ = ("_clock", "_owned_by", "_provider", "_secrets")

    def __init__(
        self, provider: str, secrets: tuple[str, ...], clock: Clock, owned_by: str = ""
    ) -> None:
        """`owned_by` names the caller's own credential, where it is not the service's account."""
        self._provider = provider
        self._secrets = secrets
        self._clock = clock
        self._owned_by = owned_by

    # --- faults of the connection -------------------------------------------------------------
    def unreachable(self, why: str, *, dispatched: bool) -> Unreachable:
        """No answer began; `why` is a clause such as "the connection was refused"."""
        return Unreachable(self._provider, self._sentence(why), dispatched=dispatched)

    def timed_out(self, wait: Wait, *, dispatched: bool) -> TimedOut:
        """A wait was over."""
        message = self._sentence(_WAITS[wait])
        return TimedOut(self._provider, message, wait=wait, dispatched=dispatched)

    def misconfigured(self, why: str) -> Misconfigured:
        """We cannot call it with what the operator set; nothing was sent."""
        return Misconfigured(self._provider, self._sentence(why), dispatched=False)

    def truncated(self, why: str) -> Truncated:
        """An answer that began was cut."""
        return Truncated(self._provider, self._sentence(why), dispatched=True)

    def malformed(self, why: str) -> Malformed:
        """What came is no answer."""
        return Malformed(self._provider, self._sentence(why), dispatched=True)

    # --- what the provider said ---------------------------------------------------------------
    def stream_error(self, error: object) -> StreamError:
        """An error object inside a stream."""
        said = self._said(error)
        return StreamError(
            self._provider,
            self._sentence(f"it reported an error in its stream: {said.message or 'no reason'}"),
            dispatched=True,
            retry_after_s=_google_delay_s(error),
            provider_message=said.message,
            code=said.code,
            param=said.param,
        )

    def error_object(self, error: object) -> ProviderFault:
        """An error object that came with a status of success; its code may be the real one."""
        code = error.get("code") if isinstance(error, dict) else None
        known = isinstance(code, int) and _HTTP_ERROR_MIN <= code <= _HTTP_ERROR_MAX
        return self._for_status(code if known and isinstance(code, int) else 502, {}, error)

    def not_a_stream(self, body: bytes) -> ProviderFault:
        """A body of plain JSON that came where a stream was asked for."""
        found = _json_in(body)
        if isinstance(found, dict) and found.get("error") is not None:
            return self.error_object(found["error"])
        return self.malformed("it answered with plain JSON where a stream was asked for")

    def from_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFault:
        """The fault that an answer without success stands for."""
        return self._for_status(status, headers, _error_in(body))

    def _for_status(self, status: int, headers: Mapping[str, str], error: object) -> ProviderFault:
        said = self._said(error)
        if said.code is None:  # AWS's stands in a header, before a colon
            said.code = self._text(headers.get("x-amzn-errortype", "").partition(":")[0] or None)
        kind = _class_of(status, said.code)
        reason = f": {said.message}" if said.message else ""
        fault = kind(
            self._provider,
            self._sentence(f"{self._verb(kind)} ({status}){reason}"),
            dispatched=True,
            status=status,
            retry_after_s=_first(_retry_after_s(headers, self._clock), _google_delay_s(error)),
            provider_message=said.message,
            code=said.code,
            param=said.param,
        )
        fault.owned_by = self._owned_by
        return fault

    def _said(self, error: object) -> "_Said":
        if isinstance(error, str):
            error = {"message": error}
        if not isinstance(error, dict):
            return _Said(None, None, None)
        return _Said(
            self._text(error.get("message") or error.get("Message")),
            self._text(_code_in(error), _CODE_CHARS_MAX),
            self._text(error.get("param"), _CODE_CHARS_MAX),
        )

    def _text(self, value: object, chars_max: int | None = None) -> str | None:
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        text = str(value) if isinstance(value, str) else f"{value:.0f}"
        if chars_max is None:
            return scrub(text, self._secrets) or None
        return scrub(text, self._secrets, chars_max) or None

    def _sentence(self, clause: str) -> str:
        # The name stands outside of what is scrubbed: it may look like a key, and is none.
        whose = f" with your credential {self._owned_by}" if self._owned_by else ""
        return f"{self._provider}{whose}: {scrub(clause, self._secrets)}"

    def _verb(self, kind: type[ProviderFault]) -> str:
        return (_OWN_VERBS.get(kind) if self._owned_by else None) or _VERBS[kind]


class _Said:
    """The words of an error object."""

    __slots__ = ("code", "message", "param")

    def __init__(self, message: str | None, code: str | None, param: str | None) -> None:
        self.message = message
        self.code = code
        self.param = param


_VERBS: Final[dict[type[ProviderFault], str]] = {
    Rejected: "it refused the request",
    Misconfigured: "it does not accept our key, quota, address or model name",
    RateLimited: "it takes no more requests from us for now",
    Overloaded: "it failed",
}
_OWN_VERBS: Final[dict[type[ProviderFault], str]] = {
    Misconfigured: "it does not accept that key, its quota, region or model name",
    RateLimited: "it takes no more requests with that key for now",
}
"""As above, of an account that is not the service's."""


def _class_of(status: int, code: str | None) -> type[ProviderFault]:
    is_ours = code in _QUOTA_CODES or code in _ACCOUNT_CODES or status in _OURS
    if is_ours or status < _HTTP_ERROR_MIN:
        return Misconfigured
    if status == _TOO_MANY_REQUESTS:
        return RateLimited
    if status in _REPEATABLE or status >= _HTTP_SERVER_ERROR_MIN:
        return Overloaded
    return Rejected


def _error_in(body: bytes) -> object:
    """The error object of a body, whatever its dress; None for a body that is no JSON object."""
    found = _json_in(body)
    if isinstance(found, list) and found:  # Google's compatible API wraps the object in a list
        found = found[0]
    if not isinstance(found, dict):
        return None
    return found.get("error") or found.get("detail") or found


def _code_in(error: dict[object, object]) -> object:
    """The word for what is wrong; Google's stands beside a code that repeats the HTTP status."""
    reason = _google_detail(error, "ErrorInfo").get("reason")
    if isinstance(reason, str) and reason in _ACCOUNT_CODES:
        return reason
    word = error.get("status")
    if isinstance(word, str) and isinstance(error.get("code"), int):
        return word
    return error.get("code") or error.get("type")


def _google_detail(error: object, kind: str) -> dict[object, object]:
    """One of the typed details of Google's errors; empty where it is missing."""
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and str(detail.get("@type")).endswith(f"google.rpc.{kind}"):
            return detail
    return {}


def _google_delay_s(error: object) -> float | None:
    """Google's retry advice, which stands in the error: a number of seconds such as "1.5s"."""
    delay = _google_detail(error, "RetryInfo").get("retryDelay")
    seconds = _number(delay.removesuffix("s")) if isinstance(delay, str) else None
    return None if seconds is None else _bounded(seconds)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _json_in(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except BAD_JSON:
        return None


def _retry_after_s(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds from now: `retry-after-ms` first, then `retry-after` in seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1_000)
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    try:
        when = parsedate_to_datetime(text)
        return _bounded(when.timestamp() - clock.now().timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
