"""The values of the audit log, and the hash that chains them: pure, no I/O."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from omni_grpc.core.ids import OrgId

FIRST_HASH: Final = bytes(32)
"""What stands for the entry before the first."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something. `peer` and `call_id` are empty for a tool of the service's own."""

    name: str
    """`orgs/{org}/apiKeys/{api_key}`, `orgs/{org}/users/{user}`, or a tool's name."""
    peer: str = ""
    call_id: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `old` and `new` are resources without secrets, None where there is none."""

    org_id: OrgId
    action: str
    """An RPC's name."""
    resource: str
    old: msgspec.Struct | None = None
    new: msgspec.Struct | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an organisation's log. `position` counts from 1."""

    org_id: OrgId
    position: int
    create_time: datetime
    actor: str
    peer: str
    action: str
    resource: str
    old_json: str | None
    new_json: str | None
    call_id: str
    hash: bytes

    def hash_after(self, before: bytes) -> bytes:
        """What `hash` must be: SHA-256 of the hash before and of every field, as SQL makes it.

        Each field is its length in bytes, a colon and its UTF-8; `-` stands for none.
        """
        micros = (self.create_time - _EPOCH) // _MICROSECOND
        fields = (
            str(self.org_id),
            str(self.position),
            str(micros),
            self.actor,
            self.peer,
            self.action,
            self.resource,
            self.old_json,
            self.new_json,
            self.call_id,
        )
        text = before + b"".join(map(_framed, fields))
        return hashlib.sha256(text).digest()


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an organisation's chain, as its writers left it."""

    org_id: OrgId
    position: int
    hash: bytes


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for; what is None or empty is not asked."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    actor: str = ""
    action: str = ""
    resource: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of computing a log anew. `first_broken` is a position, None where all is whole."""

    entry_count: int
    first_broken: int | None = None
    fault: str = ""


def _framed(field: str | None) -> bytes:
    if field is None:
        return b"-"
    text = field.encode()
    return b"%d:%s" % (len(text), text)
