"""PostgreSQL's wire protocol, as far as the proxy must understand it: messages and ledger batches.

A batch is read from the parameters of its Bind message by the names that its statement gives to the
arguments of `ledger_apply`, or else by those that the database itself gives them, so that a new
argument does not make the proxy blind.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

LEDGER_NAME = "omni-grpc ledger"
"""The application name by which a lane's connection is known."""

LAYOUT_SQL = """
SELECT proargnames::text[], pronargs FROM pg_proc WHERE proname = 'ledger_apply'
"""
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_NAMED = re.compile(rb"(\w+)\s*=>\s*\$(\d+)")
_FIRST = ("p_owner", "p_epoch", "p_lane")

Layout = Mapping[int, Mapping[str, int]]
"""Of each version of `ledger_apply`, by its number of arguments: where each argument stands."""


@dataclass(frozen=True, slots=True)
class Operations:
    """What one batch asks of the ledger."""

    owner: str = ""
    finals: tuple[tuple[UUID, str], ...] = ()
    holds: tuple[tuple[UUID, int], ...] = ()
    transfers: tuple[UUID, ...] = ()

    def holds_for(self, wallet: int) -> bool:
        return any(account == wallet for _, account in self.holds)

    def ends(self, hold_id: UUID, kinds: str = "SVUW") -> bool:
        return any(found == hold_id and kind in kinds for found, kind in self.finals)


def is_encryption_request(packet: bytes) -> bool:
    return len(packet) == 8 and struct.unpack("!I", packet[4:8])[0] in (_SSL, _GSS)


def is_cancel_request(packet: bytes) -> bool:
    """Asks for another session's statement to be cancelled; no session begins with it."""
    return len(packet) == 16 and struct.unpack("!I", packet[4:8])[0] == _CANCEL


def startup_parameters(packet: bytes) -> dict[str, str]:
    words = packet[8:].split(b"\0")
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name.decode(): value.decode() for name, value in pairs if name}


def split_messages(buffer: bytearray) -> Iterator[bytes]:
    """Takes the whole messages out of `buffer`."""
    while len(buffer) >= 5:
        size = 1 + struct.unpack_from("!I", buffer, 1)[0]
        if len(buffer) < size:
            return
        yield bytes(buffer[:size])
        del buffer[:size]


def parsed_statement(message: bytes) -> tuple[bytes, bytes]:
    """The name and the SQL of a Parse message."""
    name, _, rest = message[5:].partition(b"\0")
    return name, rest.partition(b"\0")[0]


def bound_parameters(message: bytes) -> tuple[bytes, list[bytes | None]]:
    """The statement's name and the parameters of a Bind message."""
    _, _, rest = message[5:].partition(b"\0")
    name, _, rest = rest.partition(b"\0")
    (formats,) = struct.unpack_from("!H", rest)
    at = 2 + 2 * formats
    (count,) = struct.unpack_from("!H", rest, at)
    at += 2
    found: list[bytes | None] = []
    for _ in range(count):
        (size,) = struct.unpack_from("!i", rest, at)
        at += 4
        found.append(None if size < 0 else rest[at : at + size])
        at += max(size, 0)
    return name, found


def sqlstate_of(message: bytes) -> str:
    """The SQLSTATE of an ErrorResponse."""
    for field in message[5:].split(b"\0"):
        if field[:1] == b"C":
            return field[1:].decode()
    return ""


def backend_pid(message: bytes) -> int:
    """The process of a BackendKeyData message."""
    return int(struct.unpack_from("!I", message, 5)[0])


def layout_of(rows: list[tuple[list[str], int]]) -> Layout:
    """Where the arguments of each `ledger_apply` stand; of LAYOUT_SQL's rows."""
    return {
        count: {name: place for place, name in enumerate(names[:count])} for names, count in rows
    }


def places_of(sql: bytes, count: int, layout: Layout) -> Mapping[str, int]:
    """Where the arguments stand among the `count` parameters of a statement.

    Raises:
        KeyError: neither the statement nor the database names so many.
    """
    named = {name.decode(): int(number) - 1 for name, number in _NAMED.findall(sql)}
    if not named:
        return layout[count]
    return {name: place for place, name in enumerate(_FIRST)} | named


def operations_of(sql: bytes, parameters: list[bytes | None], layout: Layout) -> Operations:
    """What a batch holds, by its statement and the parameters of its Bind message."""
    places = places_of(sql, len(parameters), layout)

    def column(name: str) -> list[str]:
        found = parameters[places[name]] if name in places else None
        text = (found or b"{}").decode()[1:-1]
        return [word.strip('"') for word in text.split(",")] if text else []

    return Operations(
        owner=(parameters[places["p_owner"]] or b"").decode(),
        finals=tuple(zip(map(UUID, column("f_id")), column("f_kind"), strict=True)),
        holds=tuple(zip(map(UUID, column("h_id")), map(int, column("h_wallet")), strict=True)),
        transfers=tuple(map(UUID, column("t_id"))),
    )
