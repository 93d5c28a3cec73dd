"""What reports say: of which time, in whose days, kept apart by what, in pages, and to whom."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from ledger_rig import WALLETS, HandClock, final_op, hold_op
from usage_rig import apply, give_credits, roll_twice, routed, write_row

from omni_grpc.billing import UsageRecord
from omni_grpc.billing.operations import Final
from omni_grpc.billing.usage import (
    Bucket,
    CallQuery,
    Dimension,
    UsageReports,
    UsageStore,
    UsageSummary,
    UsageSums,
    parse_call_filter,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId, HoldId, KeyId, hold_id_of, new_call_id
from omni_grpc.storage import Database, EmbeddedPostgres

MINE, THEIRS = AccountId(WALLETS[0]), AccountId(WALLETS[1])
START = datetime(2026, 10, 24, 21, 30, tzinfo=UTC)
"""Before the hour that Berlin has twice."""
HOURS = 60
MOMENTS = [START + timedelta(hours=number) for number in range(HOURS)]
LABELLED = 35
"""So many of the first calls have a row of their own."""
TASKS = {"", "chat", "coding"}
COST = 7


class Clock(HandClock):
    def now(self) -> datetime:
        return START + timedelta(hours=HOURS)


class NovemberClock(HandClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 3, tzinfo=UTC)


@pytest.fixture
def reports(database: Database) -> UsageReports:
    return UsageReports(UsageStore(database), Clock())


@pytest.fixture(scope="module")
def past(ledger_server: EmbeddedPostgres) -> Iterator[str]:
    """A database with calls of mine, one each hour; half of them are counted, half not yet."""
    url = ledger_server.create_database("usage_past", template="ledger_template")
    with psycopg.connect(url, autocommit=True) as sql:
        give_credits(sql)
        for number, moment in enumerate(MOMENTS):
            if number == HOURS // 2:
                roll_twice(sql)
            hold_id = call_at(sql, moment)
            if number < LABELLED:
                task = ("", "chat", "coding")[number % 3]
                write_row(sql, routed(hold_id, MINE, task=task))
        call_at(sql, START, THEIRS)
    yield url
    ledger_server.drop_database("usage_past")


@pytest.fixture
async def told(past: str) -> AsyncIterator[UsageReports]:
    """Reports of that past."""
    async with Database(past, application_name="billing tests") as database:
        yield UsageReports(UsageStore(database), Clock())


def call_at(
    sql: psycopg.Connection,
    moment: datetime,
    wallet: int = MINE,
    kind: Final = Final.SETTLE,
    key_id: int = 7,
) -> HoldId:
    """A call that began then."""
    call = UUID(int=int(moment.timestamp() * 1000) << 80 | new_call_id().int & ((1 << 80) - 1))
    hold_id = hold_id_of(call, 1)  # type: ignore[arg-type]  # a call's id, of another time
    held = hold_op(COST, wallet=wallet, hold_id=hold_id)
    apply(sql, dataclasses.replace(held, key_id=KeyId(key_id)))
    apply(sql, final_op(kind, hold_id, COST if kind is Final.SETTLE else 0, wallet=wallet))
    return hold_id


async def ask(
    reports: UsageReports,
    *by: Dimension,
    start: datetime | None = None,
    end: datetime | None = None,
    bucket: Bucket = Bucket.DAY,
    zone: str = "",
    size: int = 1_000,
    account: AccountId = MINE,
) -> tuple[list[UsageSummary], UsageSums]:
    """All pages of a report."""
    query = await reports.query(
        account,
        start=start,
        end=end,
        bucket=bucket,
        dimensions=by,
        time_zone=zone,
        start_field="from",
        end_field="to",
    )
    rows: list[UsageSummary] = []
    position: str | None = None
    while position != "":
        page, position = await reports.summarize(query, position, size)
        rows += page.rows
        assert len(page.rows) == size or position == ""
    return rows, page.total


def starts_of(bucket: Bucket, zone: str) -> dict[datetime, int]:
    """How many calls began in each bucket, as Python's own time zones have it."""
    found: dict[datetime, int] = {}
    for moment in MOMENTS:
        local = moment.astimezone(ZoneInfo(zone))
        if bucket is Bucket.HOUR:
            start = moment.replace(minute=0)
        else:
            day = local.day if bucket is Bucket.DAY else 1
            start = local.replace(day=day, hour=0, minute=0, fold=0).astimezone(UTC)
        found[start] = found.get(start, 0) + 1
    return found


async def test_buckets_are_those_of_the_time_zone(told: UsageReports) -> None:
    for zone in (
        "UTC",
        "Europe/Berlin",
        "America/Los_Angeles",
        "Pacific/Auckland",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "America/St_Johns",
        "Australia/Lord_Howe",
    ):
        for bucket in (Bucket.HOUR, Bucket.DAY, Bucket.MONTH):
            rows, total = await ask(told, start=START, bucket=bucket, zone=zone)
            assert {row.start: row.sums.calls for row in rows} == starts_of(bucket, zone)
            assert (total.calls, total.cost) == (HOURS, HOURS * COST)
            assert [row.end for row in rows[:-1]] == [row.start for row in rows[1:]]


async def test_the_day_that_has_an_hour_twice_has_25(told: UsageReports) -> None:
    rows, _ = await ask(told, start=START, zone="Europe/Berlin")
    assert [row.sums.calls for row in rows if row.end - row.start == timedelta(hours=25)] == [25]


async def test_of_a_day_only_the_hours_at_its_edges_are_read(
    reports: UsageReports, sql: psycopg.Connection
) -> None:
    """Else a long report of a large account would read nearly as much as there are calls."""
    give_credits(sql)
    for moment in MOMENTS:
        call_at(sql, moment)
    roll_twice(sql)
    asked = [
        {"start": START, "bucket": bucket, "zone": zone}
        for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata")
        for bucket in (Bucket.DAY, Bucket.MONTH)
    ]
    told = [await ask(reports, **one) for one in asked]
    sql.execute(
        "DELETE FROM usage_sum WHERE span = 'h' AND date_part('hour', start) BETWEEN 5 AND 16"
        " AND start NOT BETWEEN '2026-10-27' AND '2026-10-28'"  # in which the range ends
    )
    assert [await ask(reports, **one) for one in asked] == told


async def test_a_day_that_begins_twice_begins_once(
    reports: UsageReports, sql: psycopg.Connection
) -> None:
    """In Havana the clock goes from one back to midnight."""
    give_credits(sql)
    first = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)  # midnight, for the first time
    for moment in (first - timedelta(minutes=1), first, first + timedelta(hours=1)):
        call_at(sql, moment)
    roll_twice(sql)
    given = {"start": first - timedelta(hours=24), "end": first + timedelta(hours=25)}
    later = UsageReports(UsageStore(reports._store._database), NovemberClock())
    rows, _ = await ask(later, zone="America/Havana", **given)
    assert [(row.start, row.sums.calls) for row in rows] == [
        (first - timedelta(hours=24), 1),
        (first, 2),
    ]
    assert rows[0].end == first
    assert rows[1].end - first == timedelta(hours=25)


@pytest.mark.parametrize("is_counted", [False, True])
async def test_an_hour_in_which_a_day_begins_belongs_to_both(
    reports: UsageReports, sql: psycopg.Connection, is_counted: bool
) -> None:
    give_credits(sql)
    midnight = datetime(2026, 10, 25, 18, 30, tzinfo=UTC)  # of India
    instant = timedelta(milliseconds=1)
    for number, moment in enumerate(
        (midnight - timedelta(minutes=30), midnight - instant, midnight, midnight + instant)
    ):
        hold_id = call_at(sql, moment)
        write_row(sql, routed(hold_id, MINE, task="chat" if number else "coding"))
    call_at(sql, midnight - instant, THEIRS)
    call_at(sql, midnight - instant, kind=Final.VOID)
    if is_counted:
        roll_twice(sql)
    rows, total = await ask(reports, Dimension.TASK, start=START, zone="Asia/Kolkata")
    days = [(row.start, row.task, row.sums.calls, row.sums.failed) for row in rows]
    before = midnight - timedelta(days=1)
    assert days == [
        (before, "", 1, 1),
        (before, "chat", 1, 0),
        (before, "coding", 1, 0),
        (midnight, "chat", 2, 0),
    ]
    assert (total.calls, total.compared, total.cost) == (5, 4, 4 * COST)
    rows, _ = await ask(
        reports,
        start=midnight,
        end=midnight + timedelta(minutes=5),
        zone="Asia/Kolkata",
        bucket=Bucket.WHOLE,
    )
    assert [(row.start, row.sums.calls) for row in rows] == [(midnight, 2)]


async def test_a_range_is_widened_to_whole_hours_and_its_end_is_left_out(
    told: UsageReports,
) -> None:
    begun = MOMENTS[10] + timedelta(minutes=10)  # in the hour of the call before
    _, total = await ask(told, start=begun, end=MOMENTS[12].replace(minute=0), bucket=Bucket.WHOLE)
    assert total.calls == 2
    _, total = await ask(told, start=begun, end=MOMENTS[12], bucket=Bucket.WHOLE)
    assert total.calls == 3
    _, total = await ask(
        told,
        start=MOMENTS[10] + timedelta(minutes=10),  # in an hour of India that begins with a call
        end=MOMENTS[12],
        bucket=Bucket.WHOLE,
        zone="Asia/Kolkata",
    )
    assert total.calls == 2


async def test_pages_are_parts_of_one_report(told: UsageReports) -> None:
    for by in ((), (Dimension.MODEL,), (Dimension.KEY, Dimension.TASK), tuple(Dimension)):
        whole, total = await ask(told, *by, bucket=Bucket.HOUR, start=START)
        for size in (7, 20):
            parts, again = await ask(told, *by, bucket=Bucket.HOUR, start=START, size=size)
            assert parts == whole
            assert again == total
        assert total.compared == LABELLED
        assert sum(row.sums.cost for row in whole) == total.cost
        assert {row.task for row in whole} == (TASKS if Dimension.TASK in by else {""})
        assert {row.provider for row in whole} == {"sim" if Dimension.PROVIDER in by else ""}


async def test_later_pages_are_of_the_first_ones_range(told: UsageReports) -> None:
    fields: dict[str, Any] = {
        "start": None,
        "end": None,
        "bucket": Bucket.HOUR,
        "dimensions": (),
        "time_zone": "",
        "start_field": "from",
        "end_field": "to",
    }
    query = await told.query(MINE, **fields)
    page, position = await told.summarize(query, None, 5)
    later = UsageReports(told._store, HandClock())  # whose clock says something else
    other = await later.query(MINE, **fields)
    assert other != query
    rest, _ = await later.summarize(other, position, 1_000)
    assert (len(page.rows), len(rest.rows)) == (5, 19)


async def test_an_account_is_told_of_itself_alone(told: UsageReports) -> None:
    rows, total = await ask(told, start=START, account=THEIRS)
    assert (len(rows), total.calls) == (1, 1)
    assert (await ask(told, start=START, account=AccountId(WALLETS[2])))[0] == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"start": START, "end": START}, "to"),
        ({"start": START, "end": START - timedelta(seconds=1)}, "to"),
        ({"start": START + timedelta(days=400)}, "from"),
        ({"zone": "Europe/Nowhere"}, "time_zone"),
        ({"zone": "UTC'; DROP TABLE posting; --"}, "time_zone"),
        ({"zone": "EST5EDT4,M3.2.0,M11.1.0"}, "time_zone"),
        ({"zone": "z" * 10_000}, "time_zone"),
        ({"zone": "\x00"}, "time_zone"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(
    told: UsageReports, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await ask(told, **given)
    assert caught.value.field == field


async def test_a_range_of_all_time_costs_what_it_finds(told: UsageReports) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for bucket in Bucket:
        rows, total = await ask(told, start=first, end=last, bucket=bucket)
        assert total.calls == HOURS
        assert rows
    past = datetime(1990, 1, 1, tzinfo=UTC)
    assert (await ask(told, start=past, end=past + timedelta(days=1)))[0] == []
    for bucket in Bucket:
        assert (await ask(told, end=first + timedelta(days=1), bucket=bucket))[0] == []


@pytest.mark.parametrize("zone", ["", "Asia/Kolkata"])
async def test_a_range_that_is_not_divided_is_told_as_it_was_asked_for(
    told: UsageReports, zone: str
) -> None:
    """Also where it begins before there was anything, and ends after now."""
    first, last = datetime(2001, 2, 3, 18, 30, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    rows, total = await ask(told, start=first, end=last, bucket=Bucket.WHOLE, zone=zone)
    assert [(row.start, row.end) for row in rows] == [(first, last)]
    assert total.calls == HOURS
    by = (Dimension.KEY, Dimension.TASK)
    fields: dict[str, Any] = {"start": first, "end": last, "bucket": Bucket.WHOLE, "zone": zone}
    assert {(row.start, row.end) for row in (await ask(told, *by, size=1, **fields))[0]} == {
        (first, last)
    }
    days, _ = await ask(told, start=first, end=last, zone=zone)
    assert days[0].start == min(starts_of(Bucket.DAY, zone or "UTC"))


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "Did you mean 'Europe/Berlin'?"),
        ("asia/kolkatta", "Did you mean 'Asia/Kolkata'?"),
        ("%%%", "Name one as Europe/Berlin."),
    ],
)
async def test_a_time_zone_that_is_none_has_the_nearest_name(
    told: UsageReports, zone: str, meant: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await ask(told, zone=zone)
    assert caught.value.message == f"{zone!r} is no time zone that is known here. {meant}"


# --- lists --------------------------------------------------------------------------------------
async def listed(
    reports: UsageReports, text: str = "", size: int = 1_000, **given: Any
) -> list[HoldId]:
    """The first attempts of all calls of a list."""
    query = CallQuery(account_id=MINE, filter=parse_call_filter(text), **given)
    found: list[HoldId] = []
    position: str | None = None
    while position != "":
        page, position = await reports.calls(query, position, size)
        found += [hold_id_of(call.record.call_id, 1) for call in page.calls]
    return found


@pytest.mark.parametrize("size", [1, 3])
async def test_calls_are_listed_newest_first_each_once(
    reports: UsageReports, sql: psycopg.Connection, size: int
) -> None:
    give_credits(sql)
    made = [call_at(sql, START + timedelta(minutes=number)) for number in range(8)]
    second = HoldId(UUID(int=made[3].int + 1))
    apply(sql, hold_op(COST, hold_id=second))
    apply(sql, final_op(Final.VOID, second))
    call_at(sql, START, THEIRS)
    assert await listed(reports, size=size) == made[::-1]
    assert await listed(reports, size=size, start=START + timedelta(minutes=5)) == made[:4:-1]
    assert await listed(reports, size=size, end=START + timedelta(minutes=2)) == made[1::-1]
    assert await listed(reports, "outcome = failed", size=size) == [made[3]]
    assert await listed(reports, 'outcome != "failed"', size=size) == made[::-1]
    assert (
        await listed(reports, 'model = "sim/one" AND outcome = answered', size=size) == made[::-1]
    )
    assert await listed(reports, "model != sim/one", size=size) == []
    assert await listed(reports, "key = nobody", size=size) == []
    assert await listed(reports, "key != nobody", size=size) == made[::-1]
    assert await listed(reports, 'model = "x\' OR true --"', size=size) == []


async def test_who_signed_in_is_named_as_a_user(
    reports: UsageReports, sql: psycopg.Connection
) -> None:
    give_credits(sql)
    sql.execute(
        "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE "
        "VALUES (501, 'acme', '', 501) ON CONFLICT DO NOTHING"
    )
    found = sql.execute(
        "INSERT INTO org_user (org_id, code, issuer, subject, role) "
        "VALUES (501, '0123456789ab', 'https://idp', 'ann', 'viewer') RETURNING id"
    ).fetchone()
    assert found is not None
    by_user = call_at(sql, START, key_id=-found[0])
    name = "orgs/acme/users/0123456789ab"
    (call,) = (await reports.calls(CallQuery(account_id=MINE), None, 10))[0].calls
    assert (call.key, call.key_id) == (name, -found[0])
    assert await listed(reports, f'key = "{name}"') == [by_user]
    assert await listed(reports, f'key != "{name}"') == []
    roll_twice(sql)
    rows, _ = await ask(reports, Dimension.KEY, start=START - timedelta(hours=1))
    assert [row.key for row in rows] == [name]


@pytest.mark.parametrize("is_user", [False, True])
async def test_a_call_tells_its_key_from_its_first_moment(
    reports: UsageReports, sql: psycopg.Connection, is_user: bool
) -> None:
    give_credits(sql)
    sql.execute(
        "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE "
        "VALUES (501, 'acme', '', 501) ON CONFLICT DO NOTHING"
    )
    (user_id,) = sql.execute(
        "INSERT INTO org_user (org_id, code, issuer, subject, role) "
        "VALUES (501, 'aaaaaaaaaaaa', 'https://idp', 'ann', 'viewer') RETURNING id"
    ).fetchone() or (0,)
    (key_id,) = sql.execute(
        "INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by) VALUES "
        "(501, 'bbbbbbbbbbbb', decode(repeat('00', 32), 'hex'), '', '{inference}', 'a test') "
        "RETURNING id"
    ).fetchone() or (0,)
    who = (-user_id, "orgs/acme/users/aaaaaaaaaaaa") if is_user else (key_id, "bbbbbbbbbbbb")
    call_id = new_call_id()
    record = UsageRecord(call_id=call_id, account_id=MINE, attempts=())

    async def caller(of: UsageRecord) -> tuple[int, str]:
        found = await reports.call(of)
        return found.key_id, found.key

    assert await caller(record) == (0, "")
    hold_id = hold_id_of(call_id, 1)
    held = hold_op(COST, wallet=MINE, hold_id=hold_id)
    apply(sql, dataclasses.replace(held, key_id=KeyId(who[0])))
    assert await caller(record) == who
    assert await caller(dataclasses.replace(record, account_id=THEIRS)) == (0, "")
    apply(sql, final_op(Final.SETTLE, hold_id, COST, wallet=MINE))
    assert await caller(record) == who
    assert await reports._store.caller(MINE, call_id) == who


async def test_usage_is_told_by_the_teams_of_keys(
    reports: UsageReports, sql: psycopg.Connection
) -> None:
    give_credits(sql)
    sql.execute(
        "INSERT INTO org (id, slug, display_name, account_id) OVERRIDING SYSTEM VALUE "
        "VALUES (501, 'acme', '', 501) ON CONFLICT DO NOTHING"
    )
    web, ops, gone = sql.execute(
        "INSERT INTO team (org_id, slug, display_name) "
        "VALUES (501, 'web', ''), (501, 'ops', ''), (501, 'gone', '') RETURNING id"
    ).fetchall()
    keys = sql.execute(
        "INSERT INTO api_key (org_id, team_id, prefix, secret_hash, display_name, scopes,"
        "  create_by) SELECT 501, t, lpad(n::text, 12, '0'), decode(repeat('00', 32), 'hex'), '', "
        "        '{inference}', 'a test'"
        "  FROM unnest(%s::bigint[]) WITH ORDINALITY x(t, n) RETURNING id",
        [[web[0], web[0], ops[0], gone[0], None]],
    ).fetchall()
    sql.execute("DELETE FROM team WHERE slug = 'gone'")
    for (key_id,) in keys:
        call_at(sql, START, key_id=key_id)
    roll_twice(sql)
    call_at(sql, START, key_id=keys[2][0])  # not counted yet
    call_at(sql, START, key_id=-9)  # a user's
    start = START - timedelta(hours=1)
    for size in (1, 2, 50):
        rows, total = await ask(reports, Dimension.TEAM, start=start, size=size)
        assert {row.team: row.sums.calls for row in rows} == {
            "orgs/acme/teams/web": 2,
            "orgs/acme/teams/ops": 2,
            "": 3,
        }
        assert (len(rows), total.calls, {row.key for row in rows}) == (3, 7, {""})
    rows, _ = await ask(reports, Dimension.TEAM, Dimension.KEY, start=start, size=2)
    assert sorted((row.team, row.sums.calls) for row in rows if row.key) == [
        ("", 1),
        ("", 1),
        ("orgs/acme/teams/ops", 2),
        ("orgs/acme/teams/web", 1),
        ("orgs/acme/teams/web", 1),
    ]


async def test_a_list_that_looks_at_few_rows_goes_on_where_it_stopped(
    reports: UsageReports, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_credits(sql)
    made = [
        call_at(sql, START + timedelta(minutes=number), kind=kind)
        for number, kind in enumerate([Final.VOID, *[Final.SETTLE] * 9, Final.VOID])
    ]
    for hold_id in made[4:6]:  # calls of several attempts at the places where a page may end
        for number in range(1, 4):
            more = HoldId(UUID(int=hold_id.int + number))
            apply(sql, hold_op(COST, hold_id=more))
            apply(sql, final_op(Final.VOID, more))
    monkeypatch.setattr("omni_grpc.billing.usage.store.SCANNED_ROWS_MAX", 5)
    expected = [made[10], made[5], made[4], made[0]]
    assert await listed(reports, "outcome = failed", size=2) == expected


@pytest.mark.parametrize(
    "text",
    [
        "model",
        "model =",
        "= x",
        "model > x",
        "cost = 1",
        "model = a model = b",
        "model = a AND model = b",
        "model = a OR key = b",
        "outcome = lost",
        'model = "a',
        "model = 'a'",
        "model = a;",
        "model = a AND",
        "model = \x00",
        "x" * 2_000,
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        parse_call_filter(text)
    assert caught.value.field == "filter"
