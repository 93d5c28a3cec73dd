"""The limits of keys that make keys (migrations/0015_budgets.sql and 0016_rate_limits.sql).

What a key is limited to, a key that it makes is limited to as well: the new key has rate limits and
budgets of its own that say the same. All of it happens under the organisation's lock.
"""

from datetime import datetime
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.identity.change_store import Changing

IS_LIMITED: Final = """
SELECT EXISTS (SELECT FROM rate_limit WHERE subject_kind = 'k' AND subject_id = %(key)s)
    OR EXISTS (SELECT FROM budget
                WHERE subject_kind = 'k' AND subject_id = %(key)s AND delete_time IS NULL)
"""
_END_OF: Final = "SELECT expire_time FROM api_key WHERE id = %(key)s"
_CARRY_RATE_LIMITS: Final = """
INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug, models, requests_per_minute,
                        tokens_per_minute, concurrent)
SELECT org_id, subject_kind, %(to)s, slug, models, requests_per_minute, tokens_per_minute,
       concurrent
FROM rate_limit WHERE subject_kind = 'k' AND subject_id = %(key)s ORDER BY slug
RETURNING slug
"""
_CARRY_BUDGETS: Final = """
INSERT INTO budget (org_id, subject_kind, subject_id, slug, display_name, unit, amount, period,
                    time_zone)
SELECT org_id, subject_kind, %(to)s, slug, display_name, unit, amount, period, time_zone
FROM budget WHERE subject_kind = 'k' AND subject_id = %(key)s AND delete_time IS NULL ORDER BY slug
RETURNING slug
"""
_CARRIED: Final = (
    ("CreateRateLimit", "rateLimits", _CARRY_RATE_LIMITS),
    ("CreateBudget", "budgets", _CARRY_BUDGETS),
)


class Carried(msgspec.Struct, frozen=True):
    """A limit or a budget of a new key, as the audit log has it; `source` is what it repeats."""

    name: str
    source: str


async def carry_limits(changing: Changing, key: int, name: str, *, to: int, to_name: str) -> None:
    """Gives a new key what another is limited to. A budget of it counts from now on.

    Args:
        changing: the transaction.
        key: the id of the key that is limited.
        name: its name.
        to: the id of the new key.
        to_name: its name.
    """
    for action, collection, statement in _CARRIED:
        cursor = await changing.connection.execute(statement, {"key": key, "to": to})
        for (slug,) in await cursor.fetchall():
            carried = Carried(f"{to_name}/{collection}/{slug}", f"{name}/{collection}/{slug}")
            changing.changed(action, carried.name, new=carried)


async def is_limited(changing: Changing, key: int) -> bool:
    """Whether a key has limits or budgets of its own."""
    row = await (await changing.connection.execute(IS_LIMITED, {"key": key})).fetchone()
    return bool(row and row[0])


async def check_end(
    changing: Changing, maker: int, expire_time: datetime | None, *, field: str
) -> None:
    """Go on only if a new key does not outlive the key that makes it.

    Raises:
        FieldInvalid: it would.
    """
    row = await (await changing.connection.execute(_END_OF, {"key": maker})).fetchone()
    end: datetime | None = row[0] if row else None
    if end is not None and (expire_time is None or expire_time > end):
        raise FieldInvalid(
            f"Nobody can give what they do not have: your own key ends at {end.isoformat()}, so a "
            "key that it makes cannot go on for longer. Give it an `expire_time` until then, or "
            "ask a user, or a key without an end.",
            field=field,
        )
