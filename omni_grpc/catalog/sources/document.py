"""Turns the bytes of a source into plain values, strictly and within bounds.

Numbers are Decimal from the text, never a float; a key that stands twice, a nesting without end, a
YAML alias or half a file is an error of the whole document, told with its place.
"""

import json
import re
import zlib
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import yaml

BODY_BYTES_MAX: Final = 32 * 2**20
"""Largest document, unpacked: ten times the largest source known."""

YAML_BYTES_MAX: Final = 2 * 2**20
"""Largest YAML document: some ten thousand models by hand, and a second or two of reading."""

GZIP_MAGIC: Final = b"\x1f\x8b"

_DUPLICATES_SHOWN: Final = 3
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class SourceError(Exception):
    """A source cannot be used now; the message says why. What it brought before stays."""


def gunzip(body: bytes) -> bytes:
    """The document in a gzip body.

    Raises:
        SourceError: it is no gzip, it is cut short, or it unpacks to more than BODY_BYTES_MAX.
    """
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacker.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise SourceError(f"its gzip body is damaged: {error}") from None
    if len(plain) > BODY_BYTES_MAX:
        raise SourceError(f"it unpacks to more than {BODY_BYTES_MAX:,} bytes")
    if not unpacker.eof:
        raise SourceError("its gzip body is cut short")
    return plain


def parse_json(body: bytes) -> object:
    """The values of a JSON document; numbers with a point, and NaN, are Decimal.

    Raises:
        SourceError: it is no JSON, or an object has a key twice.
    """
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_once,
            parse_float=_decimal,
            parse_constant=Decimal,
        )
    except RecursionError:
        raise SourceError("its JSON is nested too deeply") from None
    except ValueError as error:
        raise SourceError(f"it is not JSON: {error}") from None


def parse_yaml(body: bytes) -> object:
    """The values of a YAML document; numbers with a point are Decimal.

    Raises:
        SourceError: it is no YAML, has an alias, a key twice or another tag, or is too large.
    """
    if len(body) > YAML_BYTES_MAX:
        raise SourceError(f"its YAML is over {YAML_BYTES_MAX:,} bytes; write it as JSON")
    try:
        return yaml.load(body.decode(), Loader=_Loader)  # noqa: S506 # a safe loader, stricter
    except RecursionError:
        raise SourceError("its YAML is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"it is not UTF-8: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a day that no calendar has
        raise SourceError(f"it is not YAML: {' '.join(str(error).split())}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        names = ", ".join(map(repr, twice[:_DUPLICATES_SHOWN]))
        raise SourceError(f"it has a key twice: {names}")
    return found


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond all that a Decimal holds
        return Decimal("NaN")


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which could stand for a document of any size, and without floats."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # as in PyYAML
        """One node that is no alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", self.get_mark())
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # as in PyYAML
        """A mapping in which no key stands twice."""
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands twice in a mapping", node.start_mark
            )
        return found

    def construct_decimal(self, node: Any) -> object:  # as in PyYAML
        """A number with a point, exactly as written."""
        text = self.construct_scalar(node).replace("_", "")
        special = re.fullmatch(r"([-+]?)\.(inf|nan)", text, re.IGNORECASE)
        return _decimal("".join(special.groups()) if special else text)


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_decimal)
