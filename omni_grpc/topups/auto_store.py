"""The SQL of automatic top-ups, of saved cards, and of whose turn it is to ask for news of cards.

See migrations/0019_topups.sql and 0022_tenants_and_top_ups.sql.
"""

from typing import Any, Final

import msgspec
from psycopg.rows import class_row, scalar_row

from omni_grpc.audit import Actor, Change, append
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.storage import Connection, Database
from omni_grpc.topups.model import AutoTopUp
from omni_grpc.topups.store import LOW

_COLUMNS: Final = """
org_id, active, threshold, amount, month_max, customer, payment_method, card, fault, revision
"""
_GET: Final = f"SELECT {_COLUMNS} FROM auto_top_up WHERE org_id = %s"  # noqa: S608 - ours
_LOCK: Final = f"{_GET} FOR UPDATE"

_WRITE: Final = f"""
INSERT INTO auto_top_up (org_id, active, threshold, amount, month_max)
VALUES (%(org_id)s, %(active)s, %(threshold)s, %(amount)s, %(month_max)s)
ON CONFLICT (org_id) DO UPDATE
SET active = EXCLUDED.active, threshold = EXCLUDED.threshold, amount = EXCLUDED.amount,
    month_max = EXCLUDED.month_max, fault = '', revision = auto_top_up.revision + 1
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours
_SAVE_CARD: Final = """
INSERT INTO auto_top_up (org_id, customer, payment_method, card)
VALUES (%(org_id)s, %(customer)s, %(payment_method)s, %(card)s)
ON CONFLICT (org_id) DO UPDATE
SET customer = EXCLUDED.customer, payment_method = EXCLUDED.payment_method, card = EXCLUDED.card,
    fault = '', revision = auto_top_up.revision + 1
WHERE auto_top_up.payment_method <> EXCLUDED.payment_method
"""
_DUE: Final = f"""
SELECT a.org_id, w.id AS account_id, a.amount
FROM auto_top_up a JOIN org o ON o.id = a.org_id JOIN account w ON w.id = o.account_id
WHERE {LOW} ORDER BY a.org_id LIMIT %s
"""  # noqa: S608 - the condition is ours


_TAKE_TURN: Final = """
UPDATE card_catch_up
SET holder = %s, lease_time = clock_timestamp() + make_interval(secs => %s)
WHERE due_time <= clock_timestamp() AND lease_time <= clock_timestamp()
RETURNING true
"""
_END_TURN: Final = """
UPDATE card_catch_up
SET holder = '', lease_time = '-infinity',
    due_time = clock_timestamp() + make_interval(secs => %s)
WHERE holder = %s
"""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is low. `amount` is what to buy."""

    org_id: OrgId
    account_id: AccountId
    amount: int


class AutoStore:
    """Automatic top-ups in the database; an organisation without a row has none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, org_id: OrgId) -> AutoTopUp:
        """An organisation's setting."""
        found = await self._database.fetch_one(_GET, (org_id,), row=class_row(AutoTopUp))
        return found or AutoTopUp(org_id=org_id)

    async def change(
        self, org_id: OrgId, make: Any, actor: Actor, resource: str, shown: Any
    ) -> AutoTopUp:
        """Writes what `make` makes of the setting as it is, and the audit log's entry of it.

        What `make` raises undoes it. `shown` is a setting as the log keeps it.
        """

        async def work(connection: Connection) -> AutoTopUp:
            cursor = connection.cursor(row_factory=class_row(AutoTopUp))
            old = await (await cursor.execute(_LOCK, (org_id,))).fetchone()
            new: AutoTopUp = make(old or AutoTopUp(org_id=org_id))
            await cursor.execute(_WRITE, msgspec.structs.asdict(new))
            written = await cursor.fetchone()
            if written is None:
                raise RuntimeError("an upsert returns its row")
            await append(
                connection,
                actor,
                Change(
                    org_id=org_id,
                    action="UpdateAutoTopUp",
                    resource=resource,
                    old=None if old is None else shown(old),
                    new=shown(written),
                ),
            )
            return written

        return await self._database.transaction(work)

    async def save_card(
        self, org_id: OrgId, *, customer: str, payment_method: str, card: str
    ) -> None:
        """Keeps the processor's names of a card, instead of the one before."""
        values = {
            "org_id": org_id,
            "customer": customer,
            "payment_method": payment_method,
            "card": card,
        }
        await self._database.execute(_SAVE_CARD, values)

    async def due(self, limit: int) -> list[Due]:
        """Accounts that are low, and have nothing under way."""
        return await self._database.fetch_all(_DUE, (limit,), row=class_row(Due))

    async def take_turn(self, holder: str, lease_s: float) -> bool:
        """Takes the next look for news of cards, if it is due and no other worker has it."""
        found = await self._database.fetch_one(_TAKE_TURN, (holder, lease_s), row=scalar_row)
        return found is not None

    async def end_turn(self, holder: str, next_in_s: float) -> None:
        """Says when the next look is due; nothing where the turn was lost meanwhile."""
        await self._database.execute(_END_TURN, (next_in_s, holder))
