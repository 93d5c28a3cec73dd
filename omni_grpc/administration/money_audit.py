"""What an operator does to an account, told to the audit log of the account's organisation.

The ledger's lane writes by itself, so the entry follows in a transaction of its own, before the
caller is answered. A process that ends in between leaves the change without its entry until the
same request is repeated; docs/audit.md says so.
"""

from datetime import datetime

import msgspec

from omni_grpc.audit import Actor, AuditStore
from omni_grpc.billing import AttemptRecord, LedgerEntry
from omni_grpc.core.ids import AccountId, HoldId


class EntryTold(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of an account, as the log has it."""

    name: str
    kind: str
    amount_nanousd: int
    balance_after_nanousd: int
    reference: str
    create_time: datetime


class AttemptTold(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that was resolved, as the log has it."""

    name: str
    model: str
    outcome: str
    held_nanousd: int | None
    cost_nanousd: int | None


class MoneyAudit:
    """Writes down grants, refunds and resolutions, each once however often it is repeated."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def entry(
        self, actor: Actor, action: str, account_id: AccountId, account: str, entry: LedgerEntry
    ) -> None:
        """A grant or a refund was booked, as `entry` of an account named `accounts/{account}`.

        Raises:
            LedgerUnavailable: not known whether it was written; the same request finds out.
        """
        name = f"{account}/ledgerEntries/{entry.position}"
        told = EntryTold(
            name=name,
            kind=entry.kind.value,
            amount_nanousd=entry.amount,
            balance_after_nanousd=entry.balance_after,
            reference=entry.reference_in(account),
            create_time=entry.create_time,
        )
        await self._store.append_of_account(
            actor, account_id, action=action, resource=name, new=told
        )

    async def resolved(
        self,
        actor: Actor,
        account_id: AccountId,
        account: str,
        hold_id: HoldId,
        record: AttemptRecord,
    ) -> None:
        """An attempt was resolved; otherwise as `entry`."""
        name = f"{account}/unresolvedAttempts/{hold_id}"
        told = AttemptTold(
            name=name,
            model=record.model,
            outcome=record.outcome,
            held_nanousd=record.held,
            cost_nanousd=record.cost,
        )
        await self._store.append_of_account(
            actor, account_id, action="ResolveAttempt", resource=name, new=told
        )
