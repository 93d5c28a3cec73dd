"""What can go wrong at a provider: one tree, by which completion decides what to do next.

    ProviderFault
    ├── Rejected        400, 413, 422: it refused the caller's content
    ├── Misconfigured   401, 402, 403, 404, a redirect: our key, our quota, our base URL
    ├── RateLimited     429: too much from us for now
    ├── Overloaded      408, 5xx: it failed by its own account
    ├── Unreachable     no connection, or one that ended before an answer began
    ├── TimedOut        connect, first byte, between bytes, or the whole call
    ├── Truncated       the answer was cut before its end
    ├── Malformed       what came is no answer of this dialect
    └── StreamError     an error event inside a stream that had begun

Texts of providers pass through `scrub` before they come in here: no fault carries a key, a
control character or an unbounded text. None of these reaches a caller as it is.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

Wait = Literal["connect", "first_byte", "between_bytes", "total"]

MESSAGE_CHARS_MAX: Final = 1_000
"""Longest text taken from a provider: enough for its reasons, too short to flood a log."""

SECRET_CHARS_MIN: Final = 8
"""A shorter secret is not replaced: it stands inside ordinary words, which would be garbled, and no
provider gives keys that short; a simulator or a server on this machine takes any text as one."""

_READ_CHARS_MAX: Final = 16_000
"""No more of a text is looked at, so that a hostile one costs no time."""

_SCRUBBED: Final = "[key]"
_SECRET_LIKE: Final = re.compile(
    r"(?i:bearer)\s+[^\s\"',;]+"  # an Authorization header that was echoed
    r"|\b(?:sk|rk|pk|omni)[-_][A-Za-z0-9_\-*.]{4,}"  # keys by their customary prefixes
)
_WORD: Final = re.compile(r"[^\s\"',;]+")
_MASK: Final = "***"
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+"
)


class ProviderFault(Exception):
    """Base of all faults of a provider.

    Attributes:
        provider: the id of the provider.
        message: a sentence for logs and for the list of attempts; holds no secret.
        dispatched: whether the provider may have received any byte of the request. False is a
            proof that nothing was generated; True is none that something was.
        status: the HTTP status, where an answer had one.
        retry_after_s: the provider's own advice, in seconds from now.
        provider_message: the provider's own words, where it gave any.
        code, param: the provider's own error code and the field that it names.
        owned_by: the name of the caller's own credential that it answered to; empty for the
            service's.
    """

    owned_by = ""

    def __init__(
        self,
        provider: str,
        message: str,
        *,
        dispatched: bool,
        status: int | None = None,
        retry_after_s: float | None = None,
        provider_message: str | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.message = message
        self.dispatched = dispatched
        self.status = status
        self.retry_after_s = retry_after_s
        self.provider_message = provider_message
        self.code = code
        self.param = param


class Rejected(ProviderFault):
    """The provider refused the caller's content; another model may take it."""


class Misconfigured(ProviderFault):
    """The key, quota, base URL or model name is wrong there: of the credential, not the request."""


class RateLimited(ProviderFault):
    """The provider takes no more from us for now."""


class Overloaded(ProviderFault):
    """The provider failed by its own account and generated nothing that we may see."""


class Unreachable(ProviderFault):
    """No connection could be made, or it ended before the first byte of an answer."""


class TimedOut(ProviderFault):
    """The provider took longer than we wait; `wait` says for what."""

    def __init__(self, provider: str, message: str, *, wait: Wait, dispatched: bool) -> None:
        super().__init__(provider, message, dispatched=dispatched)
        self.wait: Wait = wait


class Truncated(ProviderFault):
    """The answer began and was cut before its end: what came may be billed there."""


class Malformed(ProviderFault):
    """What the provider sent is no answer of its dialect."""


class StreamError(ProviderFault):
    """The provider reported an error inside a stream that it had begun with a success."""


def scrub(text: str, secrets: Iterable[str], chars_max: int = MESSAGE_CHARS_MAX) -> str:
    """`text` without keys and control characters, on one line of at most `chars_max`.

    Providers echo keys ("Incorrect API key provided: sk-abc***xyz"), so the configured ones and
    whatever looks like one is replaced before the text is cut.
    """
    if len(text) > _READ_CHARS_MAX:  # not in the middle of a word, which may be a key
        text = text[:_READ_CHARS_MAX].rpartition(" ")[0] or text[:chars_max]
    text = _UNPRINTABLE.sub(" ", text)
    for secret in secrets:
        if len(secret) >= SECRET_CHARS_MIN:
            text = text.replace(secret, _SCRUBBED)
    text = _SECRET_LIKE.sub(_SCRUBBED, text)
    # Masked keys still show their two ends.
    text = _WORD.sub(lambda word: _SCRUBBED if _MASK in word[0] else word[0], text).strip()
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
