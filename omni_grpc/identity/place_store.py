"""Teams and environments in PostgreSQL (migrations/0013_tenants.sql): one code for both.

A place goes only when no valid key is in it; its limits, budgets and credentials go with it.
"""

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import args_row, kwargs_row, scalar_row

from omni_grpc.audit import Actor
from omni_grpc.core.errors import AlreadyExists, NotFound, StillNeeded, TooMany
from omni_grpc.core.ids import OrgId
from omni_grpc.core.limits import ENVIRONMENTS_MAX, TEAMS_MAX
from omni_grpc.core.missing import missing
from omni_grpc.identity.change_store import Changing, change_org, check_etag
from omni_grpc.identity.names import check_display_name, check_slug
from omni_grpc.identity.places import OrgPath, Place, PlaceDeleted, PlaceKind
from omni_grpc.storage import Database

_COLUMNS: Final = "p.id, p.slug, p.display_name, p.revision, p.create_time"

_FROM_TEAM: Final = "team p WHERE p.org_id = %(org_id)s"
_FROM_ENVIRONMENT: Final = """
environment p WHERE p.team_id = (SELECT id FROM team WHERE org_id = %(org_id)s AND slug = %(team)s)
"""

_TEAM_ID: Final = "SELECT id FROM team WHERE org_id = %(org_id)s AND slug = %(team)s"

_INSERT: Final = {
    PlaceKind.TEAM: f"""
INSERT INTO team AS p (org_id, slug, display_name)
VALUES (%(org_id)s, %(slug)s, %(display_name)s)
ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
""",  # noqa: S608 - the columns are ours, as below
    PlaceKind.ENVIRONMENT: f"""
INSERT INTO environment AS p (org_id, team_id, slug, display_name)
SELECT org_id, id, %(slug)s, %(display_name)s FROM team
WHERE org_id = %(org_id)s AND slug = %(team)s
ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
""",  # noqa: S608
}

_COUNT: Final = {
    PlaceKind.TEAM: """
SELECT count(*) FROM (SELECT FROM team WHERE org_id = %(org_id)s LIMIT %(limit)s) n
""",
    PlaceKind.ENVIRONMENT: """
SELECT count(*) FROM (
  SELECT FROM environment e JOIN team t ON t.id = e.team_id
  WHERE t.org_id = %(org_id)s AND t.slug = %(team)s LIMIT %(limit)s) n
""",
}
_MOST: Final = {PlaceKind.TEAM: TEAMS_MAX, PlaceKind.ENVIRONMENT: ENVIRONMENTS_MAX}

# A key of an environment is one of its team, too.
_NEEDED_BY: Final = {
    PlaceKind.TEAM: """
SELECT (SELECT count(*) FROM environment WHERE team_id = %(id)s),
       (SELECT count(*) FROM api_key WHERE team_id = %(id)s AND revoke_time IS NULL
          AND (expire_time IS NULL OR expire_time > clock_timestamp()))
""",
    PlaceKind.ENVIRONMENT: """
SELECT 0, count(*) FROM api_key WHERE environment_id = %(id)s AND revoke_time IS NULL
  AND (expire_time IS NULL OR expire_time > clock_timestamp())
""",
}

_OF_PLACE: Final = "WHERE subject_kind = %(kind)s AND subject_id = %(id)s"
_DELETE_LIMITS: Final = f"DELETE FROM rate_limit {_OF_PLACE} RETURNING slug"  # noqa: S608
_DELETE_CREDENTIALS: Final = f"DELETE FROM provider_credential {_OF_PLACE} RETURNING slug"  # noqa: S608
_END_BUDGETS: Final = f"""
UPDATE budget SET delete_time = clock_timestamp(), revision = revision + 1
{_OF_PLACE} AND delete_time IS NULL RETURNING slug
"""  # noqa: S608


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    slug: str
    display_name: str
    revision: int
    create_time: datetime

    def shown(self, parent: str) -> Place:
        return Place(
            name=f"{parent}/{self.slug}",
            display_name=self.display_name,
            etag=str(self.revision),
            create_time=self.create_time,
        )


class Places:
    """Teams, or environments, of organisations; for one of the two kinds.

    Every method raises LedgerUnavailable when the database is away. Names are taken apart before
    they come here; other values are checked here.
    """

    def __init__(self, database: Database, kind: PlaceKind) -> None:
        self._database = database
        self._kind = kind
        team = kind is PlaceKind.TEAM
        self._noun = "Team" if team else "Environment"
        self._collection = "teams" if team else "environments"
        source = _FROM_TEAM if team else _FROM_ENVIRONMENT
        table = "team" if team else "environment"
        self._find = f"SELECT {_COLUMNS} FROM {source} AND p.slug = %(slug)s"  # noqa: S608
        self._list = (
            f"SELECT {_COLUMNS} FROM {source} AND p.slug > %(after)s "  # noqa: S608
            "ORDER BY p.slug LIMIT %(limit)s"
        )
        self._update = (
            f"UPDATE {table} AS p SET display_name = %(display_name)s, "  # noqa: S608
            f"revision = revision + 1 WHERE id = %(id)s RETURNING {_COLUMNS}"
        )
        self._delete = f"DELETE FROM {table} WHERE id = %(id)s RETURNING id"  # noqa: S608

    async def create(
        self, actor: Actor, org_id: OrgId, parent: OrgPath, slug: str, display_name: str
    ) -> Place:
        """Make a place in `parent`: an organisation or a team. Its display name may be empty.

        Raises:
            FieldInvalid: its id or its display name cannot be.
            NotFound: there is no such team.
            AlreadyExists: the id is taken.
            TooMany: the parent has as many as it can have.
        """
        check_slug(slug, field=f"{self._noun.lower()}_id")
        check_display_name(display_name)
        values = _ids(org_id, parent) | {"slug": slug, "display_name": display_name}

        async def work(changing: Changing) -> Place:
            if parent.team and not await changing.first(_TEAM_ID, values, scalar_row):
                raise missing(parent.name, "parent")
            row = await changing.first(_INSERT[self._kind], values, kwargs_row(_Row))
            if row is None:
                raise AlreadyExists(
                    f"`{self._of(parent)}/{slug}` exists already. Choose another id.",
                    field=f"{self._noun.lower()}_id",
                )
            most = _MOST[self._kind]
            limited = values | {"limit": most + 1}
            if await changing.one(_COUNT[self._kind], limited, scalar_row) > most:
                raise TooMany(
                    f"`{parent.name}` has {most:,} {self._collection}, which is the most it can "
                    "have. Delete one first.",
                    field="parent",
                    metadata={"limit": str(most)},
                )
            made = row.shown(self._of(parent))
            changing.changed(f"Create{self._noun}", made.name, new=made)
            return made

        return await change_org(self._database, org_id, actor, work)

    async def get(self, org_id: OrgId, parent: OrgPath, slug: str) -> Place:
        """A place.

        Raises:
            NotFound: there is none.
        """
        row = await self._database.fetch_one(
            self._find, _ids(org_id, parent) | {"slug": slug}, row=kwargs_row(_Row)
        )
        if row is None:
            raise self._missing(parent, slug)
        return row.shown(self._of(parent))

    async def page(self, org_id: OrgId, parent: OrgPath, after: str, limit: int) -> list[Place]:
        """Places with a greater id than `after`, in the order of ids.

        Raises:
            NotFound: there is no such team.
        """
        values = _ids(org_id, parent) | {"after": after, "limit": limit}
        rows = await self._database.fetch_all(self._list, values, row=kwargs_row(_Row))
        if not rows and parent.team:
            found = await self._database.fetch_one(_TEAM_ID, values, row=scalar_row)
            if found is None:
                raise missing(parent.name, "parent")
        return [row.shown(self._of(parent)) for row in rows]

    async def rename(
        self, actor: Actor, org_id: OrgId, parent: OrgPath, slug: str, display_name: str, etag: str
    ) -> Place:
        """Give a place another display name.

        Raises:
            FieldInvalid: the name cannot be.
            NotFound: there is no such place.
            EtagMismatch: it was changed since.
        """
        check_display_name(display_name)

        async def work(changing: Changing) -> Place:
            row = await self._row(changing, org_id, parent, slug, etag)
            new = await changing.one(
                self._update, {"id": row.id, "display_name": display_name}, kwargs_row(_Row)
            )
            old, shown = row.shown(self._of(parent)), new.shown(self._of(parent))
            changing.changed(f"Update{self._noun}", shown.name, old=old, new=shown)
            return shown

        return await change_org(self._database, org_id, actor, work)

    async def delete(
        self, actor: Actor, org_id: OrgId, parent: OrgPath, slug: str, etag: str
    ) -> None:
        """Take a place away, with its limits, budgets and credentials.

        Raises:
            NotFound: there is no such place.
            EtagMismatch: it was changed since.
            StillNeeded: an environment or a valid key is in it.
        """

        async def work(changing: Changing) -> None:
            row = await self._row(changing, org_id, parent, slug, etag)
            name = row.shown(self._of(parent)).name
            needs = await changing.one(_NEEDED_BY[self._kind], {"id": row.id}, args_row(_needs))
            if needs:
                raise StillNeeded(
                    f"`{name}` has {needs}. Delete its environments and revoke its keys first."
                    if self._kind is PlaceKind.TEAM
                    else f"`{name}` has {needs}. Revoke its keys first."
                )
            of = {"kind": self._kind.value, "id": row.id}
            gone = PlaceDeleted(
                name=name,
                display_name=row.display_name,
                rate_limits=tuple(await changing.all(_DELETE_LIMITS, of, scalar_row)),
                budgets=tuple(await changing.all(_END_BUDGETS, of, scalar_row)),
                provider_credentials=tuple(await changing.all(_DELETE_CREDENTIALS, of, scalar_row)),
            )
            await changing.one(self._delete, of, scalar_row)
            changing.changed(f"Delete{self._noun}", name, old=gone)

        await change_org(self._database, org_id, actor, work)

    async def _row(
        self, changing: Changing, org_id: OrgId, parent: OrgPath, slug: str, etag: str
    ) -> _Row:
        values = _ids(org_id, parent) | {"slug": slug}
        row = await changing.first(self._find, values, kwargs_row(_Row))
        if row is None:
            raise self._missing(parent, slug)
        check_etag(etag, str(row.revision), f"{self._of(parent)}/{slug}")
        return row

    def _missing(self, parent: OrgPath, slug: str) -> NotFound:
        return missing(f"{self._of(parent)}/{slug}", "name")

    def _of(self, parent: OrgPath) -> str:
        """`orgs/{org}/teams`, or `orgs/{org}/teams/{team}/environments`."""
        return f"{parent.name}/{self._collection}"


def _ids(org_id: OrgId, parent: OrgPath) -> dict[str, object]:
    return {"org_id": org_id, "team": parent.team}


def _needs(environments: int, keys: int) -> str:
    """What is in a place, in words; empty where nothing is."""
    found = []
    if environments:
        found.append(f"{environments} environment{'s' * (environments > 1)}")
    if keys:
        found.append(f"{keys} valid key{'s' * (keys > 1)}")
    return " and ".join(found)
