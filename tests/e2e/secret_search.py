"""Looks for secrets where none may stand: in texts, files and every table of a database.

A secret is looked for as it is, in hex, in base64 at each of its three alignments, and by its
halves in all of these forms.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

HALF_CHARS_MIN = 10
"""A shorter half would be found by chance."""


@dataclass(frozen=True)
class Found:
    """A secret that stands somewhere: which, in what form, and where."""

    name: str
    form: str
    place: str


class Search:
    """A search for secrets by their names."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._needles = [
            (name, form, needle)
            for name, secret in secrets.items()
            for form, needle in _forms(secret)
        ]

    def text(self, place: str, content: bytes) -> Iterator[Found]:
        """In some bytes; letters of either case where the form has no case."""
        lower = content.lower()
        for name, form, needle in self._needles:
            if needle in (lower if "hex" in form else content):
                yield Found(name, form, place)

    def files(self, folder: Path) -> Iterator[Found]:
        """In every file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield from self.text(str(path), path.read_bytes())

    def database(self, url: str) -> Iterator[Found]:
        """In every table: as text has it, and in the bytes of every column of bytes."""
        with psycopg.connect(url) as sql:
            tables = sql.execute(
                """
                SELECT c.table_name, array_agg(c.column_name::text)
                         FILTER (WHERE c.data_type = 'bytea')
                  FROM information_schema.columns c
                 WHERE c.table_schema = 'public' GROUP BY c.table_name
                """
            ).fetchall()
            assert len(tables) > 20
            for table, blobs in tables:
                content = b"\n".join(
                    row[0].encode()
                    for row in sql.execute(f'SELECT t::text FROM "{table}" t'.encode())
                )
                yield from self.text(table, content)
                for column in blobs or ():
                    rows = sql.execute(f'SELECT "{column}" FROM "{table}"'.encode()).fetchall()
                    content = b"\n".join(bytes(row[0]) for row in rows if row[0] is not None)
                    yield from self.text(f"{table}.{column}", content)


def _forms(secret: str) -> Iterator[tuple[str, bytes]]:
    raw = secret.encode()
    half = len(raw) // 2
    pieces = {"whole": raw}
    if half >= HALF_CHARS_MIN:
        pieces |= {"first half": raw[:half], "second half": raw[half:]}
    for piece, content in pieces.items():
        yield piece, content
        yield f"{piece} in hex", content.hex().encode()
        for form, needle in _in_base64(content):
            yield f"{piece} in {form}", needle


def _in_base64(content: bytes) -> Iterable[tuple[str, bytes]]:
    """What does not depend on the bytes around it, wherever the content begins."""
    for before in range(3):
        for name, encode in (
            ("base64", base64.b64encode),
            ("base64url", base64.urlsafe_b64encode),
        ):
            text = encode(bytes(before) + content)
            first = (before * 8 + 5) // 6
            last = (before + len(content)) * 8 // 6
            yield f"{name} from {before}", text[first:last]
