"""How one call is to be answered: the grammar of `x-sim` and of the models' own behaviours.

`key=value,key,key=value`: a key alone is `true`; values are percent-decoded. Later texts refine
earlier ones (the model's, then the body's `metadata.sim`, then the header). Positions in an
answer are `request` (nothing was sent), `headers`, or a number of tokens. Parsing never guesses:
an unknown key or a value out of range is an error that lists what there is.
"""

from typing import Annotated, Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

__all__ = ("AT_HEADERS", "AT_REQUEST", "Behaviour", "BehaviourError", "Position", "parse_behaviour")

AT_REQUEST: Final = -1
AT_HEADERS: Final = 0

TOKENS_MAX: Final = 100_000
"""Longest answer that can be asked for: it is composed in memory before it is sent."""

WAIT_MS_MAX: Final = 3_600_000
"""Longest single wait; use a hang for one that shall not end."""

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest padded event."""

Position = Annotated[int, Meta(ge=AT_REQUEST, le=TOKENS_MAX)]
Tokens = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]
Milliseconds = Annotated[float, Meta(ge=0, le=WAIT_MS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\w.:-]+$")]


class BehaviourError(ValueError):
    """The text is not a behaviour; the message says why and what is possible."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to answer, when, how it goes wrong, and how it is written. See docs/simulator.md."""

    # what
    style: Literal["prose", "echo", "demo"] = "prose"
    say: str | None = None
    tokens: Tokens | None = None
    reasoning: Tokens = 0
    refusal: bool = False
    finish: Literal["stop", "length", "content_filter"] | None = None
    cached: Annotated[int, Meta(ge=0, le=100)] = 0
    no_limit: bool = False

    # when
    headers_ms: Milliseconds = 0
    first_ms: Milliseconds = 0
    delay_ms: Milliseconds = 0
    pause_after: Position | None = None
    pause_s: Annotated[float, Meta(ge=0, le=WAIT_MS_MAX / 1000)] = 1.0
    ping_ms: Milliseconds = 0
    gate: Name | None = None
    gate_after: Position = AT_REQUEST

    # how it goes wrong
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    error_code: Name | None = None
    retry_after_ms: Annotated[int, Meta(ge=0, le=WAIT_MS_MAX)] | None = None
    error_after: Position | None = None
    hang_after: Position | None = None
    cut: Literal["rst", "fin"] = "rst"
    cut_after: Position | None = None
    cut_inside: bool = False
    end_after: Position | None = None
    once: Name | None = None
    bills_on: bool = False
    record_ms: Milliseconds = 0

    # how it is written
    burst: bool = False
    crlf: bool = False
    comments: bool = False
    no_done: bool = False
    bad_json_after: Position | None = None
    long_line: Annotated[int, Meta(ge=0, le=LINE_BYTES_MAX)] = 0
    usage: Literal[
        "right", "none", "twice", "corrected", "every", "early", "half", "null", "apart", "zero",
        "over",
    ] = "right"  # fmt: skip
    as_model: str | None = None

    def without_faults(self) -> "Behaviour":
        """The same answer where nothing goes wrong."""
        return msgspec.structs.replace(
            self,
            status=None,
            error_after=None,
            hang_after=None,
            cut_after=None,
            end_after=None,
            bad_json_after=None,
        )


_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(Behaviour))
_POSITIONS: Final = {"request": str(AT_REQUEST), "headers": str(AT_HEADERS)}


def parse_behaviour(*texts: str) -> Behaviour:
    """Read behaviours, each refining the ones before it.

    Raises:
        BehaviourError: a key is unknown, or a value does not fit it.
    """
    values: dict[str, str] = {}
    for text in texts:
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = item.partition("=")
            key = key.strip()
            if key not in _KEYS:
                raise BehaviourError(f"x-sim has no key {key!r}; it has: {', '.join(_KEYS)}")
            value = unquote(value.strip()) if equals else "true"
            values[key] = _POSITIONS.get(value, value) if key.endswith("_after") else value
    try:
        return msgspec.convert(values, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise BehaviourError(f"x-sim: {error}") from None
