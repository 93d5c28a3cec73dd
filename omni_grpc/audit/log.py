"""Reading an organisation's audit log, and computing it anew."""

from collections.abc import AsyncIterator
from typing import Final

from omni_grpc.audit.model import FIRST_HASH, AuditEntry, AuditFilter, Head, Verdict
from omni_grpc.audit.store import AuditStore
from omni_grpc.core.ids import OrgId

VERIFIED_AT_ONCE: Final = 1_000
"""Rows read in one statement while logs are verified: some 500 kB."""

_MISSING: Final = "The entry is missing."
_WRONG: Final = "Its hash does not follow from the entry before it and from its own fields."
_OTHER_END: Final = "It is not the entry that the log's end names."
_NO_END: Final = "The log's end is missing."


class AuditLog:
    """What administration asks of the log."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def entries(
        self, org_id: OrgId, asked: AuditFilter, *, before: int | None, limit: int
    ) -> list[AuditEntry]:
        """Up to `limit` entries at positions below `before`, newest first."""
        return await self._store.entries(org_id, asked, before, limit)

    async def entry(self, org_id: OrgId, position: int) -> AuditEntry | None:
        """One entry; None if there is none."""
        found = await self._store.after(org_id, position - 1, 1)
        return found[0] if found and found[0].position == position else None

    async def oldest_first(self, org_id: OrgId) -> AsyncIterator[AuditEntry]:
        """A whole log, read in slices."""
        after = 0
        while entries := await self._store.after(org_id, after, VERIFIED_AT_ONCE):
            for entry in entries:
                yield entry
            after = entries[-1].position

    async def verify(self, org_id: OrgId) -> Verdict:
        """Whether every entry is as it was written, none is missing and none was put in.

        What it cannot see is a log whose end was taken off together with its head; an export that
        is kept elsewhere shows that.
        """
        head = await self._store.head(org_id)
        if head is not None:
            return await self._verify(head)
        if await self._store.after(org_id, 0, 1):
            return Verdict(entry_count=0, first_broken=1, fault=_NO_END)
        return Verdict(entry_count=0)

    async def verify_all(self) -> AsyncIterator[tuple[OrgId, Verdict]]:
        """The verdict on every log, one after the other."""
        after = OrgId(-1)
        while heads := await self._store.heads(after, VERIFIED_AT_ONCE):
            for head in heads:
                yield head.org_id, await self._verify(head)
            after = heads[-1].org_id
        for org_id in await self._store.headless(VERIFIED_AT_ONCE):
            yield org_id, Verdict(entry_count=0, first_broken=1, fault=_NO_END)

    async def _verify(self, head: Head) -> Verdict:
        position, before = 0, FIRST_HASH
        while position < head.position:
            entries = await self._store.after(head.org_id, position, VERIFIED_AT_ONCE)
            if not entries:
                break
            for entry in entries:
                if entry.position > head.position:
                    break  # written since the head was read
                if entry.position != position + 1:
                    return _broken(head, position + 1, _MISSING)
                if entry.hash != entry.hash_after(before):
                    return _broken(head, entry.position, _WRONG)
                position, before = entry.position, entry.hash
        if position < head.position:
            return _broken(head, position + 1, _MISSING)
        if before != head.hash:
            return _broken(head, head.position, _OTHER_END)
        return Verdict(entry_count=head.position)


def _broken(head: Head, position: int, fault: str) -> Verdict:
    return Verdict(entry_count=head.position, first_broken=position, fault=fault)
