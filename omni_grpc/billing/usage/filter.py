"""The filter of ListUsageRecords: a subset of AIP-160.

    filter     = [ comparison { "AND" comparison } ]
    comparison = field ( "=" | "!=" ) value
    field      = "model" | "key" | "outcome"
    value      = string in quotes | word

Each field may stand once. A call is listed where one of its attempts meets every comparison.
Anything else is refused with what was wrong, never guessed at; values reach the database as
parameters only.
"""

import re
from typing import Final

from omni_grpc.billing.operations import AttemptOutcome
from omni_grpc.billing.usage.model import CallFilter
from omni_grpc.core.errors import FieldInvalid

FILTER_CHARS_MAX: Final = 1_024
_FIELDS: Final = ("model", "key", "outcome")
_OUTCOMES: Final = frozenset(outcome.name.lower() for outcome in AttemptOutcome)
_COMPARISON: Final = re.compile(
    r"""\s*(?P<field>[a-z_]+)\s*(?P<operator>!=|=)\s*"""
    r"""(?:"(?P<quoted>[^"\\]*)"|(?P<word>[A-Za-z0-9_./:@+-]+))(?=\s|$)\s*""",
    re.ASCII,
)
_AND: Final = re.compile(r"AND\s+", re.ASCII)


def parse_call_filter(text: str) -> CallFilter:
    """Reads a filter; an empty one takes every call.

    Raises:
        FieldInvalid: of the field `filter`.
    """
    if len(text) > FILTER_CHARS_MAX:
        raise _refusal(f"it is longer than {FILTER_CHARS_MAX} characters")
    if "\x00" in text:
        raise _refusal("it has a NUL character")
    found: dict[str, tuple[str, bool]] = {}
    at = 0
    while text[at:].strip():
        if found:
            joined = _AND.match(text, at)
            if joined is None:
                raise _refusal(f"AND is missing at position {at + 1}")
            at = joined.end()
        match = _COMPARISON.match(text, at)
        if match is None:
            raise _refusal(f'at position {at + 1} no comparison stands, such as model = "a/b"')
        name = match["field"]
        if name not in _FIELDS:
            raise _refusal(f"{name!r} is none of its fields: {', '.join(_FIELDS)}")
        if name in found:
            raise _refusal(f"{name} stands twice")
        value = match["word"] if match["quoted"] is None else match["quoted"]
        if name == "outcome" and value not in _OUTCOMES:
            raise _refusal(f"an outcome is one of {', '.join(sorted(_OUTCOMES))}")
        found[name] = (value, match["operator"] == "=")
        at = match.end()
    return CallFilter(**found)


def _refusal(why: str) -> FieldInvalid:
    return FieldInvalid(f"The filter cannot be read: {why}.", field="filter")
