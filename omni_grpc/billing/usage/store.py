"""The SQL of usage: rows of calls in, sums and lists out. See migrations 0010 and 0020.

The account is part of every condition, so that no other tenant's usage is ever read. Every method
raises LedgerUnavailable while the database does not answer.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.rows import scalar_row, tuple_row

from omni_grpc.billing.model import AttemptRecord, UsageRecord
from omni_grpc.billing.operations import AttemptOutcome
from omni_grpc.billing.usage.model import (
    COUNTS,
    CallFilter,
    CallPage,
    CallQuery,
    Dimension,
    ListedCall,
    RoutedCall,
    UsagePage,
    UsagePosition,
    UsageQuery,
    UsageSummary,
    UsageSums,
)
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, CallId, KeyId, attempt_of, call_id_of
from omni_grpc.core.usage import COMMON_COUNTS, UsageSource, usage_of
from omni_grpc.storage import Database

SCANNED_ROWS_MAX: Final = 20_000
"""Attempts that one page of a filtered list looks at: some ten milliseconds. A page of a rare thing
may be short or empty and still have a next one."""

_FIRST_DAY: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""No call is older than this service."""

# --- rows of calls ------------------------------------------------------------------------------
_COLUMNS: Final = (
    ("call_id", "uuid"),
    ("wallet", "bigint"),
    ("key_id", "bigint"),
    ("asked", "text"),
    ("model", "text"),
    ("task", "text"),
    ("complexity", "text"),
    ("policy", "text"),
    ("experiment", "text"),
    ("arm", "text"),
    ("premium_model", "text"),
    ("premium_version", "bigint"),
    ("premium_nanousd", "bigint"),
    ("single_model", "text"),
    ("single_nanousd", "bigint"),
    ("saved_nanousd", "bigint"),
    ("cost_nanousd", "bigint"),
    ("first_token_ms", "integer"),
    ("duration_ms", "integer"),
    ("reason", "text"),
    ("attempt_count", "integer"),
    ("tags", "text"),
    ("end_user", "text"),
)
_NAMES: Final = ", ".join(name for name, _ in _COLUMNS)
_INSERT: Final = f"""
INSERT INTO routed_call ({_NAMES})
SELECT {_NAMES.replace("tags", "tags::jsonb")}
  FROM unnest({", ".join(f"%s::{kind}[]" for _, kind in _COLUMNS)}) AS x({_NAMES})
ON CONFLICT DO NOTHING
"""  # noqa: S608 - columns of ours
_ROUTED: Final = f"SELECT {_NAMES} FROM routed_call WHERE call_id = ANY (%s) AND wallet = %s"  # noqa: S608

# --- sums ---------------------------------------------------------------------------------------
_SUMS: Final = ", ".join(f"sum({name})" for name in COUNTS)
# A user's id stands with a minus sign in the place of a key's.
_USER_NAME: Final = """
(SELECT 'orgs/' || o.slug || '/users/' || n.code FROM org_user n JOIN org o ON o.id = n.org_id
  WHERE n.id = -{key_id})
"""
_ASKED: Final = """usage_sums(
  %(wallet)s, %(start)s, %(end)s, %(bucket)s, %(zone)s, %(apart)s, %(by_task)s, %(by_key)s)"""
_OF_KEYS: Final = f"(SELECT 0::bigint AS team_id, * FROM {_ASKED}) u"  # noqa: S608 - ours
# Sums are kept by the key, which stays in its team for ever. A team that is deleted is none.
_OF_TEAMS: Final = f"""(
  SELECT coalesce(t.id, 0) AS team_id, start, model, task,
         CASE WHEN %(with_key)s THEN key_id ELSE 0 END AS key_id,
         {", ".join(f"sum({name})::bigint AS {name}" for name in COUNTS)}
    FROM {_ASKED} s LEFT JOIN api_key k ON k.id = s.key_id LEFT JOIN team t ON t.id = k.team_id
   GROUP BY 1, 2, 3, 4, 5) u
"""  # noqa: S608 - columns of ours
_PAGE: Final = """
WITH a AS MATERIALIZED (
  SELECT start, CASE WHEN %(by_provider)s THEN split_part(model, '/', 1) ELSE '' END
           AS provider, CASE WHEN %(by_model)s THEN model ELSE '' END AS model, task, key_id,
         team_id, {counts}
    FROM {of}),
page AS (
  SELECT * FROM a
   WHERE %(after)s::timestamptz IS NULL
      OR (start, provider, model, task, key_id, team_id) >
         (%(after)s::timestamptz, %(provider)s::text, %(model)s::text, %(task)s::text,
          %(key_id)s::bigint, %(team_id)s::bigint)
   ORDER BY start, provider, model, task, key_id, team_id LIMIT %(limit)s)
SELECT p.start, CASE %(bucket)s WHEN 'whole' THEN %(end)s WHEN 'hour' THEN
         p.start + interval '1 hour' ELSE
         usage_moment(p.start AT TIME ZONE %(zone)s + ('1 ' || %(bucket)s)::interval, %(zone)s) END,
       p.provider, p.model, p.task, p.key_id, p.team_id, coalesce(k.prefix, {user}, ''),
       coalesce((SELECT 'orgs/' || o.slug || '/teams/' || t.slug
                   FROM team t JOIN org o ON o.id = t.org_id WHERE t.id = p.team_id), ''),
       {page_counts}
  FROM page p LEFT JOIN api_key k ON k.id = p.key_id
UNION ALL
SELECT NULL, NULL, '', '', '', 0, 0, '', '', {sums} FROM a
 ORDER BY 1 NULLS LAST, 3, 4, 5, 6, 7
"""


def _page_of(source: LiteralString) -> LiteralString:
    """The statement of a page of sums that come from `source`."""
    return _PAGE.format(
        of=source,
        counts=", ".join(COUNTS),
        page_counts=", ".join("p." + name for name in COUNTS),
        user=_USER_NAME.format(key_id="p.key_id"),
        sums=_SUMS,
    )


_PAGE_OF_KEYS: Final = _page_of(_OF_KEYS)
_PAGE_OF_TEAMS: Final = _page_of(_OF_TEAMS)
_ZONES: Final = "SELECT name FROM pg_timezone_names"
_HOURS_AROUND: Final = """
SELECT date_trunc('hour', %(start)s::timestamptz, %(zone)s),
       date_trunc('hour', %(end)s::timestamptz + interval '59 minutes 59.999999 seconds', %(zone)s)
"""

# --- lists --------------------------------------------------------------------------------------
_CALLS: Final = """
WITH x AS MATERIALIZED (
  SELECT hold_id, key_id, model, outcome::text FROM usage_record
   WHERE wallet = %(wallet)s AND hold_id >= %(low)s AND hold_id < %(high)s
   ORDER BY hold_id DESC LIMIT %(scan)s)
SELECT (SELECT count(*) FROM x), (SELECT min(hold_id::text)::uuid FROM x), ARRAY(
  SELECT DISTINCT usage_call_of(hold_id) FROM x
   WHERE (%(model)s::text IS NULL OR (model = %(model)s) = %(model_is)s)
     AND (%(outcome)s::text IS NULL OR (outcome = %(outcome)s) = %(outcome_is)s)
     AND (%(key)s::text IS NULL OR
          (key_id IN (SELECT id FROM api_key WHERE prefix = %(key)s UNION ALL
                      SELECT -id FROM org_user WHERE code = %(key)s)) = %(key_is)s)
   ORDER BY 1 DESC LIMIT %(limit)s)
"""
_ATTEMPTS: Final = f"""
SELECT u.hold_id, u.key_id, u.model, u.outcome::text, p.held, p.amount, u.price_version,
       u.markup_ppm, u.estimated, p.create_time, u.provider_ref,
       coalesce(k.prefix, {_USER_NAME.format(key_id="u.key_id")}), u.rare_counts,
       u.prompt, u.cached_read, u.cached_write, u.prompt_audio, u.completion, u.reasoning,
       u.completion_audio,
       (SELECT o.credential FROM own_attempt o WHERE o.hold_id = u.hold_id)
  FROM unnest(%s::uuid[]) c(id)
  CROSS JOIN LATERAL (SELECT * FROM usage_record
                       WHERE hold_id BETWEEN c.id AND ledger_last_attempt(c.id) OFFSET 0) u
  CROSS JOIN LATERAL (SELECT sum(amount)::bigint AS amount, max(held) AS held,
                             max(create_time) AS create_time
                        FROM posting WHERE id = u.hold_id OFFSET 0) p
  LEFT JOIN api_key k ON k.id = u.key_id
 WHERE u.wallet = %s
 ORDER BY u.hold_id
"""  # noqa: S608 - parts of ours
# A hold that has ended meanwhile has its record: both are read as of one moment.
_CALLER: Final = f"""
SELECT c.key_id, coalesce(k.prefix, {_USER_NAME.format(key_id="c.key_id")})
  FROM (SELECT wallet, key_id FROM hold
         WHERE id BETWEEN %(call)s AND ledger_last_attempt(%(call)s) AND origin = 'r'
         UNION ALL
        SELECT wallet, key_id FROM usage_record
         WHERE hold_id BETWEEN %(call)s AND ledger_last_attempt(%(call)s)) c
  LEFT JOIN api_key k ON k.id = c.key_id
 WHERE c.wallet = %(wallet)s LIMIT 1
"""  # noqa: S608 - parts of ours
_OUTCOMES: Final = {outcome.value: outcome.name.lower() for outcome in AttemptOutcome}
_LETTERS: Final = {name: letter for letter, name in _OUTCOMES.items()}
_ID_MAX: Final = 2**128 - 1


class UsageStore:
    """Reads and writes what reports are made of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._zones: frozenset[str] = frozenset()

    # --- writing --------------------------------------------------------------------------------
    async def insert(self, calls: Sequence[RoutedCall]) -> None:
        """Writes the rows of calls; those that are there already stay as they are."""
        rows = [_row(call) for call in calls]
        await self._database.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])

    async def generations(self) -> list[int]:
        """Those that are counted: the one that is read, and one that is being built."""
        return await self._database.fetch_all(
            "SELECT generation FROM usage_state ORDER BY generation", row=scalar_row
        )

    async def is_active(self, generation: int) -> bool:
        """Whether reports read it."""
        found = await self._database.fetch_all(
            "SELECT generation FROM usage_state WHERE active", row=scalar_row
        )
        return found == [generation]

    async def roll(self, generation: int, limit: int) -> int | None:
        """Counts about that many more events; see `usage_roll`."""
        found = await self._database.fetch_all(
            "SELECT usage_roll(%s, %s)", [generation, limit], row=scalar_row
        )
        return None if found[0] is None else int(found[0])

    async def restart(self) -> int:
        """Begins a new generation beside the one that is read; which."""
        found = await self._database.fetch_all("SELECT usage_restart()", row=scalar_row)
        return int(found[0])

    async def sweep(self, limit: int) -> int:
        """Drops rows of generations that are gone; how many."""
        found = await self._database.fetch_all("SELECT usage_sweep(%s)", [limit], row=scalar_row)
        return int(found[0])

    # --- sums -----------------------------------------------------------------------------------
    async def attempt_count(self) -> int:
        """How many attempts the sums have that reports read."""
        found = await self._database.fetch_all(
            "SELECT coalesce(sum(attempts), 0) FROM usage_sum JOIN usage_state USING (generation)"
            " WHERE active AND span = 'd'",
            row=scalar_row,
        )
        return int(found[0])

    async def zones(self) -> frozenset[str]:
        """The names of the time zones that the database knows."""
        if not self._zones:
            self._zones = frozenset(await self._database.fetch_all(_ZONES, row=scalar_row))
        return self._zones

    async def hours_around(
        self, zone: str, start: datetime, end: datetime
    ) -> tuple[datetime, datetime]:
        """A range, widened to whole hours of a time zone."""
        given = {"zone": zone, "start": start, "end": end}
        first, last = (await self._database.fetch_all(_HOURS_AROUND, given, row=tuple_row))[0]
        return first, last

    async def page(self, query: UsageQuery, after: UsagePosition | None, limit: int) -> UsagePage:
        """Up to `limit` rows behind `after`, and the sums over all rows."""
        by = query.dimensions
        given = {
            "wallet": query.account_id,
            "start": query.start,
            "end": query.end,
            "bucket": query.bucket.value,
            "zone": query.time_zone,
            "apart": 2 if Dimension.MODEL in by else int(Dimension.PROVIDER in by),
            "by_provider": Dimension.PROVIDER in by,
            "by_model": Dimension.MODEL in by,
            "by_task": Dimension.TASK in by,
            "by_key": Dimension.KEY in by or Dimension.TEAM in by,
            "with_key": Dimension.KEY in by,
            "after": None if after is None else after.start,
            "provider": after.provider if after else "",
            "model": after.model if after else "",
            "task": after.task if after else "",
            "key_id": after.key_id if after else 0,
            "team_id": after.team_id if after else 0,
            "limit": limit + 1,
        }
        statement = _PAGE_OF_TEAMS if Dimension.TEAM in by else _PAGE_OF_KEYS
        *rows, total = await self._database.fetch_all(statement, given, row=tuple_row)
        more = len(rows) > limit
        return UsagePage(
            rows=tuple(
                UsageSummary(
                    start=query.told_start or row[0],
                    end=query.told_end or row[1],
                    provider=row[2],
                    model=row[3],
                    task=row[4],
                    key=row[7],
                    team=row[8],
                    sums=_sums(row),
                )
                for row in rows[:limit]
            ),
            total=_sums(total),
            next=_position(query, rows[limit - 1]) if more else None,
        )

    # --- calls ----------------------------------------------------------------------------------
    async def calls(self, query: CallQuery, before: CallId | None, limit: int) -> CallPage:
        """Up to `limit` calls with ids below `before`, newest first."""
        low = _id_at(query.start)
        high = _ID_MAX if query.end is None else _id_at(query.end)
        if before is not None:
            high = min(high, before.int)
        scan = SCANNED_ROWS_MAX
        if query.filter.is_empty:
            scan = min(scan, (limit + 1) * ATTEMPTS_MAX)
        given = _filtered(query.filter) | {
            "wallet": query.account_id,
            "low": UUID(int=low),
            "high": UUID(int=high),
            "scan": scan,
            "limit": limit + 1,
        }
        rows = await self._database.fetch_all(_CALLS, given, row=tuple_row)
        count, lowest, found = rows[0]
        ids = [CallId(one) for one in found]
        following: CallId | None = None
        if count == scan:
            # Of the last call that was looked at there may be more attempts: it comes again.
            last = call_id_of(lowest)
            ids = [one for one in ids if one != last]
            following = CallId(UUID(int=last.int + ATTEMPTS_MAX + 1))
        if len(ids) > limit:
            ids = ids[:limit]
            following = ids[-1]
        return CallPage(calls=await self._listed(query.account_id, ids), next=following)

    async def caller(self, account_id: AccountId, call_id: CallId) -> tuple[KeyId, str]:
        """The key of a call, also of one that runs, and its name; 0 and empty if there is none."""
        given = {"wallet": account_id, "call": call_id}
        found = await self._database.fetch_all(_CALLER, given, row=tuple_row)
        return (KeyId(found[0][0]), found[0][1] or "") if found else (KeyId(0), "")

    async def call(self, account_id: AccountId, call_id: CallId) -> ListedCall | None:
        """One call; None if the account has none such, or nothing of it has ended."""
        found = await self._listed(account_id, [call_id])
        return found[0] if found else None

    async def _listed(self, account_id: AccountId, ids: Sequence[CallId]) -> tuple[ListedCall, ...]:
        if not ids:
            return ()
        rows = await self._database.fetch_all(_ATTEMPTS, [list(ids), account_id], row=tuple_row)
        routed = {
            row[0]: _routed(row)
            for row in await self._database.fetch_all(
                _ROUTED, [list(ids), account_id], row=tuple_row
            )
        }
        by_call: dict[CallId, list[tuple[Any, ...]]] = {}
        for row in rows:
            by_call.setdefault(call_id_of(row[0]), []).append(row)
        return tuple(
            ListedCall(
                record=UsageRecord(
                    call_id=one,
                    account_id=account_id,
                    attempts=tuple(_attempt(row) for row in by_call[one]),
                ),
                start=time_of(one),
                key_id=KeyId(by_call[one][0][1]),
                key=by_call[one][0][11] or "",
                routed=routed.get(one),
            )
            for one in ids
            if one in by_call
        )


def time_of(call_id: CallId) -> datetime:
    """When a call began, by its id."""
    return datetime.fromtimestamp((call_id.int >> 80) / 1000, UTC)


def _id_at(moment: datetime | None) -> int:
    """The lowest id that a call of that moment can have."""
    if moment is None or moment < _FIRST_DAY:
        return 0
    return int(moment.timestamp() * 1000) << 80


def _filtered(given: CallFilter) -> dict[str, object]:
    model, model_is = given.model or (None, True)
    key, key_is = given.key or (None, True)
    outcome, outcome_is = given.outcome or (None, True)
    return {
        "model": model,
        "model_is": model_is,
        "key": key if key is None else key.rpartition("/")[2],
        "key_is": key_is,
        "outcome": outcome if outcome is None else _LETTERS[outcome],
        "outcome_is": outcome_is,
    }


def _position(query: UsageQuery, row: Sequence[Any]) -> UsagePosition:
    return UsagePosition(query.start, query.end, row[0], *row[2:7])


def _sums(row: Sequence[Any]) -> UsageSums:
    """The sums of a row, which are its last columns; those of no row are zero."""
    return UsageSums(
        **{name: int(value or 0) for name, value in zip(COUNTS, row[-len(COUNTS) :], strict=True)}
    )


def _attempt(row: Sequence[Any]) -> AttemptRecord:
    return AttemptRecord(
        number=attempt_of(row[0]),
        model=row[2],
        outcome=_OUTCOMES[row[3]],
        held=row[4],
        cost=row[5],
        price_version=row[6],
        markup_ppm=row[7],
        usage=usage_of(
            row[13 : 13 + COMMON_COUNTS],
            row[12],
            UsageSource.ESTIMATE if row[8] else UsageSource.PROVIDER,
        ),
        end_time=row[9],
        provider_ref=row[10],
        credential=row[13 + COMMON_COUNTS],
    )


def _routed(row: Sequence[Any]) -> RoutedCall:
    given = {name: value for (name, _), value in zip(_COLUMNS, row, strict=True)}
    given["tags"] = given["tags"] or {}
    return RoutedCall(**given)


def _row(call: RoutedCall) -> tuple[object, ...]:
    """The columns of a call, in a form that PostgreSQL takes whatever its caller wrote."""
    tags = {_text(name): _text(value) for name, value in call.tags.items()}
    return (
        call.call_id,
        call.wallet,
        call.key_id,
        _text(call.asked),
        call.model,
        call.task,
        call.complexity,
        _text(call.policy),
        _text(call.experiment),
        _text(call.arm),
        call.premium_model,
        call.premium_version,
        call.premium_nanousd,
        call.single_model,
        call.single_nanousd,
        call.saved_nanousd,
        call.cost_nanousd,
        call.first_token_ms,
        call.duration_ms,
        call.reason,
        call.attempt_count,
        json.dumps(tags, ensure_ascii=False) if tags else None,
        _text(call.end_user),
    )


def _text(text: str) -> str:
    """PostgreSQL has no NUL in a text, and UTF-8 no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
