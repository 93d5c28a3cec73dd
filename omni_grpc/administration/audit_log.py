"""The audit log over the API: to be read, and to be verified."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from omni_grpc.administration.access import ORG, Access
from omni_grpc.administration.operation import Caller, Operation, Page
from omni_grpc.administration.turns import Turns
from omni_grpc.audit import AuditEntry, AuditFilter, AuditLog
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.identity import Permission


class ListAuditEntries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    start_time: datetime | None = None
    end_time: datetime | None = None
    actor: str = ""
    action: str = ""
    resource: str = ""
    page_size: int = 0
    page_token: str = ""


class VerifyAuditLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose log is computed anew."""

    parent: str


class EntryShown(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as callers see it."""

    name: str
    create_time: datetime
    actor: str
    peer: str
    action: str
    resource: str
    old_json: str
    new_json: str
    call_id: str
    hash: str


class VerdictShown(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as callers see it."""

    entry_count: int
    first_broken_entry: str
    fault: str


class AuditOperations:
    """The operations of the audit log."""

    def __init__(self, log: AuditLog, access: Access, tokens: PageTokens) -> None:
        self._log = log
        self._access = access
        self._tokens = tokens
        self._turns = Turns()

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="ListAuditEntries",
            http=f"GET /v1/admin/{{parent={ORG}}}/auditEntries",
            permission=Permission.SEE,
            asked=ListAuditEntries,
            run=self.list_entries,
            result="audit_entries",
        )
        yield Operation(
            rpc="VerifyAuditLog",
            http=f"POST /v1/admin/{{parent={ORG}}}/auditEntries:verify",
            permission=Permission.SEE,
            asked=VerifyAuditLog,
            run=self.verify,
        )

    async def list_entries(self, caller: Caller, asked: ListAuditEntries) -> Page[EntryShown]:
        """A page of an organisation's log, newest first."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = (
            "audit_entries",
            asked.parent,
            str(asked.start_time),
            str(asked.end_time),
            asked.actor,
            asked.action,
            asked.resource,
        )
        found = await self._log.entries(
            org.org_id,
            AuditFilter(
                start_time=asked.start_time,
                end_time=asked.end_time,
                actor=asked.actor,
                action=asked.action,
                resource=asked.resource,
            ),
            before=self._tokens.open_number(query, asked.page_token),
            limit=size + 1,
        )
        token = self._tokens.seal(query, found[size - 1].position) if len(found) > size else ""
        return Page(tuple(_shown(org.name, entry) for entry in found[:size]), token)

    async def verify(self, caller: Caller, asked: VerifyAuditLog) -> VerdictShown:
        """Whether the log is whole."""
        org = await self._access.named_org(caller, asked.parent, field="parent")
        async with self._turns.of(org.org_id):  # a long log is work: once at a time
            verdict = await self._log.verify(org.org_id)
        return VerdictShown(
            entry_count=verdict.entry_count,
            first_broken_entry=""
            if verdict.first_broken is None
            else f"{org.name}/auditEntries/{verdict.first_broken}",
            fault=verdict.fault,
        )


def _shown(org_name: str, entry: AuditEntry) -> EntryShown:
    return EntryShown(
        name=f"{org_name}/auditEntries/{entry.position}",
        create_time=entry.create_time,
        actor=entry.actor,
        peer=entry.peer,
        action=entry.action,
        resource=entry.resource,
        old_json=entry.old_json or "",
        new_json=entry.new_json or "",
        call_id=entry.call_id,
        hash=entry.hash.hex(),
    )
