"""Reading an organisation's audit log, and computing it anew."""

from typing import Final

from omni_grpc.audit.model import FIRST_HASH, AuditEntry, AuditFilter, Verdict
from omni_grpc.audit.store import AuditStore
from omni_grpc.core.ids import OrgId

VERIFIED_AT_ONCE: Final = 1_000
"""Entries read in one statement while a log is verified: some 500 kB."""


class AuditLog:
    """What administration asks of the log."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def entries(
        self, org_id: OrgId, asked: AuditFilter, *, before: int | None, limit: int
    ) -> list[AuditEntry]:
        """Up to `limit` entries at positions below `before`, newest first."""
        return await self._store.entries(org_id, asked, before, limit)

    async def verify(self, org_id: OrgId) -> Verdict:
        """Whether every entry is as it was written, none is missing and none was put in.

        What it cannot see is a log whose end was taken off together with its head; an export that
        is kept elsewhere shows that.
        """
        last = await self._store.head(org_id)
        position, before = 0, FIRST_HASH
        while position < last:
            entries = await self._store.after(org_id, position, VERIFIED_AT_ONCE)
            for entry in entries:
                if entry.position > last:
                    break  # written since the head was read
                if entry.position != position + 1:
                    return _broken(last, position + 1, "The entry is missing.")
                if entry.hash != entry.hash_after(before):
                    return _broken(last, entry.position, _WRONG)
                position, before = entry.position, entry.hash
            if not entries or entries[-1].position >= last:
                break
        if position < last:
            return _broken(last, position + 1, "The entry is missing.")
        return Verdict(entry_count=last)


_WRONG: Final = "Its hash does not follow from the entry before it and from its own fields."


def _broken(count: int, position: int, fault: str) -> Verdict:
    return Verdict(entry_count=count, first_broken=position, fault=fault)


__all__ = ["AuditEntry", "AuditLog"]
