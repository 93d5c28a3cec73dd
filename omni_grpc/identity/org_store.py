"""Organisations in PostgreSQL (migrations/0002_identity.sql and 0013_tenants.sql).

Every argument that comes from outside is checked here. Nothing here looks at scopes.
"""

from typing import Any, Final

import structlog
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from omni_grpc.audit import Actor, Change, append
from omni_grpc.core.errors import AlreadyExists, FieldInvalid, NotFound
from omni_grpc.core.ids import AccountId
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX
from omni_grpc.core.missing import missing
from omni_grpc.identity.change_store import Changing, change_org, check_etag
from omni_grpc.identity.names import check_display_name, check_slug, format_org_name
from omni_grpc.identity.orgs import OPERATOR_SLUG, Org
from omni_grpc.storage import Connection, Database

_COMPARED_MAX: Final = 1_000
"""Slugs that are compared with one that is not there: some ten milliseconds."""

_COLUMNS: Final = """
id AS org_id, slug, display_name, account_id, create_time, suspend_time IS NOT NULL AS suspended,
low_balance_nanousd, revision
"""

# The id comes first, since the wallet is opened for it. A taken slug undoes both.
_INSERT: Final = f"""
WITH new AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence('org', 'id')) AS id)
INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE
SELECT id, %(slug)s, %(display_name)s, ledger_open_wallet(id) FROM new
RETURNING {_COLUMNS}
"""  # noqa: S608 - the columns are ours, as below
_FIND: Final = f"SELECT {_COLUMNS} FROM org WHERE slug = %(slug)s"  # noqa: S608
_FIND_OF_ACCOUNT: Final = f"SELECT {_COLUMNS} FROM org WHERE account_id = %(account)s"  # noqa: S608
_LIST: Final = f"""
SELECT {_COLUMNS} FROM org WHERE slug > %(after)s ORDER BY slug LIMIT %(limit)s
"""  # noqa: S608
_UPDATE: Final = f"""
UPDATE org SET display_name = %(display_name)s, low_balance_nanousd = %(low_balance_nanousd)s,
  suspend_time = CASE WHEN %(suspended)s THEN coalesce(suspend_time, clock_timestamp()) END,
  revision = revision + 1
WHERE slug = %(slug)s
RETURNING {_COLUMNS}
"""  # noqa: S608


log = structlog.get_logger(__name__)


class Orgs:
    """Organisations, each method raising LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, actor: Actor, slug: str, display_name: str = "") -> Org:
        """Make an organisation with an empty wallet. Its display name is the slug if empty.

        Raises:
            FieldInvalid: the slug or the display name cannot be, or the slug is reserved.
            AlreadyExists: the slug is taken.
        """
        check_slug(slug, field="org_id")
        check_display_name(display_name)
        if slug == OPERATOR_SLUG:
            raise FieldInvalid(
                f"`{OPERATOR_SLUG}` is reserved for whoever runs the service; "
                "`omni-grpc keys bootstrap` makes it.",
                field="org_id",
            )
        made = await self._insert(actor, slug, display_name or slug)
        if made is None:
            raise AlreadyExists(
                f"`{format_org_name(slug)}` exists already. Choose another id.", field="org_id"
            )
        log.info("org_created", org=slug)
        return made

    async def ensure_operator(self, actor: Actor) -> Org:
        """The operator's organisation, made where there is none."""
        # Another who does the same at this moment may be first; either's organisation will do.
        return (
            await self.find(OPERATOR_SLUG)
            or await self._insert(actor, OPERATOR_SLUG, "Operator")
            or await self.get(OPERATOR_SLUG)
        )

    async def get(self, slug: str) -> Org:
        """The organisation of a slug.

        Raises:
            FieldInvalid: the slug cannot be.
            NotFound: there is none.
        """
        org = await self.find(check_slug(slug, field="org_id"))
        if org is None:
            others = (format_org_name(one.slug) for one in await self.page("", _COMPARED_MAX))
            raise missing(format_org_name(slug), near=others)
        return org

    async def of_account(self, account_id: AccountId) -> Org:
        """The organisation whose wallet this is.

        Raises:
            NotFound: it is no organisation's wallet.
        """
        org = await self._database.fetch_one(
            _FIND_OF_ACCOUNT, {"account": account_id}, row=class_row(Org)
        )
        if org is None:
            raise NotFound("No organisation has this account.")
        return org

    async def _insert(self, actor: Actor, slug: str, display_name: str) -> Org | None:
        """Make an organisation and its wallet together; None if the slug is taken."""

        async def work(connection: Connection) -> Org:
            cursor = connection.cursor(row_factory=class_row(Org))
            await cursor.execute(_INSERT, {"slug": slug, "display_name": display_name})
            made = await cursor.fetchone()
            if made is None:
                raise RuntimeError("an INSERT returns its row")
            change = Change(
                org_id=made.org_id, action="CreateOrg", resource=made.name, new=made.shown
            )
            await append(connection, actor, change)
            return made

        try:
            return await self._database.transaction(work)
        except UniqueViolation as error:
            if error.diag.constraint_name == "org_slug_key":
                return None
            raise

    async def find(self, slug: str) -> Org | None:
        """The organisation of a slug, None where there is none."""
        return await self._database.fetch_one(_FIND, {"slug": slug}, row=class_row(Org))

    async def page(self, after: str, limit: int) -> list[Org]:
        """Organisations with a greater slug than `after`, in the order of slugs."""
        return await self._database.fetch_all(
            _LIST, {"after": after, "limit": limit}, row=class_row(Org)
        )

    async def update(self, actor: Actor, org: Org, values: dict[str, Any], etag: str = "") -> Org:
        """Change some of an organisation's fields.

        Args:
            actor: who changes it.
            org: which.
            values: of `display_name`, `low_balance_nanousd`, `suspended`, those that change.
            etag: of what was read; empty for any.

        Raises:
            FieldInvalid: a value cannot be.
            EtagMismatch: it was changed since.
        """
        values = values | _checked(org, values)

        async def work(changing: Changing) -> Org:
            old = await changing.one(_FIND, {"slug": org.slug}, class_row(Org))
            check_etag(etag, old.shown.etag, old.name)
            kept = {
                "display_name": old.display_name,
                "low_balance_nanousd": old.low_balance_nanousd,
                "suspended": old.suspended,
            }
            new = await changing.one(_UPDATE, kept | values | {"slug": org.slug}, class_row(Org))
            changing.changed("UpdateOrg", new.name, old=old.shown, new=new.shown)
            return new

        return await change_org(self._database, org.org_id, actor, work)


def _checked(org: Org, values: dict[str, Any]) -> dict[str, Any]:
    """What of the values must be put right."""
    low = values.get("low_balance_nanousd")
    if low is not None and not 0 < low <= AMOUNT_NANOUSD_MAX:
        raise FieldInvalid(
            f"`low_balance_nanousd` must be 1 to {AMOUNT_NANOUSD_MAX}, or unset for no warning.",
            field="low_balance_nanousd",
        )
    if values.get("suspended") and org.slug == OPERATOR_SLUG:
        raise FieldInvalid(
            f"`{org.name}` cannot be suspended: nobody could undo it over the API.",
            field="suspended",
        )
    if "display_name" not in values:
        return {}
    return {"display_name": check_display_name(values["display_name"]) or org.slug}
