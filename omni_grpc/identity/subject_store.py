"""From names to the rows of what limits, budgets and credentials can belong to."""

from typing import Final

from psycopg.rows import scalar_row

from omni_grpc.core.ids import OrgId
from omni_grpc.identity.key_limit_store import IS_LIMITED
from omni_grpc.storage import Database

_TEAM: Final = "SELECT id FROM team WHERE org_id = %s AND slug = %s"
_ENVIRONMENT: Final = """
SELECT e.id FROM environment e JOIN team t ON t.id = e.team_id
WHERE t.org_id = %s AND t.slug = %s AND e.slug = %s
"""
_KEY: Final = "SELECT id FROM api_key WHERE org_id = %s AND prefix = %s AND user_id IS NULL"


class Subjects:
    """Looks names up. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def team_id(self, org_id: OrgId, team: str) -> int | None:
        """The id of an organisation's team; None if there is none."""
        return await self._database.fetch_one(_TEAM, (org_id, team), row=scalar_row)

    async def environment_id(self, org_id: OrgId, team: str, environment: str) -> int | None:
        """The id of a team's environment; None if there is none."""
        return await self._database.fetch_one(
            _ENVIRONMENT, (org_id, team, environment), row=scalar_row
        )

    async def key_id(self, org_id: OrgId, prefix: str) -> int | None:
        """The id of an organisation's API key, revoked or not; None if there is none."""
        return await self._database.fetch_one(_KEY, (org_id, prefix), row=scalar_row)

    async def is_key_limited(self, key_id: int) -> bool:
        """Whether a key has rate limits or budgets of its own."""
        return bool(await self._database.fetch_one(IS_LIMITED, {"key": key_id}, row=scalar_row))
