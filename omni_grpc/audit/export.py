"""A log outside of the database: a line of JSON an entry, oldest first, enough to verify it by.

An export that is kept elsewhere shows what the log itself cannot: that its end was taken off.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from omni_grpc.audit.model import FIRST_HASH, AuditEntry
from omni_grpc.core.ids import OrgId


class ExportLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry; `hash` is in hex. `org_id` is the organisation's number, which is hashed too."""

    org_id: int
    position: int
    create_time: datetime
    actor: str
    peer: str
    action: str
    resource: str
    old_json: str | None
    new_json: str | None
    call_id: str
    hash: str

    @property
    def entry(self) -> AuditEntry:
        """The entry.

        Raises:
            ValueError: its hash is no hex.
        """
        fields = msgspec.structs.asdict(self)
        digest = bytes.fromhex(fields.pop("hash"))
        return AuditEntry(**(fields | {"org_id": OrgId(self.org_id)}), hash=digest)


_decode = msgspec.json.Decoder(ExportLine).decode


def export_line(entry: AuditEntry) -> bytes:
    """An entry as a line, with its end."""
    fields = msgspec.structs.asdict(entry) | {"hash": entry.hash.hex()}
    return msgspec.json.encode(ExportLine(**fields)) + b"\n"


def read_export(lines: Iterable[bytes]) -> AuditEntry | None:
    """The last entry of an export of a whole log, if it is as it was written; None if it is empty.

    Raises:
        ValueError: it is not; the message has the line's number.
    """
    before, last = FIRST_HASH, None
    for number, line in enumerate(lines, start=1):
        try:
            entry = _decode(line).entry
        except ValueError as error:  # msgspec's own errors are ValueErrors too
            raise ValueError(f"line {number} is no entry: {error}") from None
        if entry.position != number:
            raise ValueError(f"line {number} has the entry {entry.position}")
        if entry.hash != entry.hash_after(before):
            raise ValueError(f"line {number} is not as it was written")
        before, last = entry.hash, entry
    return last
