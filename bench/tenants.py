"""What a tenant's context costs a call, and how long the lists of large tenants take.

    .venv/bin/python bench/tenants.py [--quick]

With 10,000 organisations of ten keys each in the database, one worker is called over both
transports with a key that has nothing and with one that meets three rate limits and three budgets
(its own, its team's and its organisation's), by turns in one run; what authentication costs is
timed apart, over a thousand of the keys. Then one organisation gets a million rows of each kind,
and the first, a middle and the last page of each list are asked for.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any, Final

import grpc
import msgspec
import psycopg
from google.protobuf.message_factory import GetMessageClass
from load import Load
from omni.admin.v1 import admin_service_pb2
from omni.billing.v1 import billing_service_pb2
from rich.console import Console
from rich.table import Table
from service import Bench, Target, Transport

from omni_grpc.core.clock import SystemClock
from omni_grpc.identity import Identity
from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text
from omni_grpc.storage import Database

ORGS: Final = 10_000
KEYS_OF_EACH: Final = 10
KEYS_USED: Final = 1_000
CALLERS: Final = 16
ROUNDS: Final = 6
ROWS: Final = 1_000_000
ASKED: Final = 30

_ORGS: Final = """
INSERT INTO org (slug, display_name, account_id)
SELECT 'bench-' || n, '', 2000000 + n FROM generate_series(1, %s) n
"""
_KEYS: Final = """
INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by)
SELECT o.id, lpad(translate(to_hex(row_number() OVER ()), 'ilou', ''), 12, '0'),
       sha256(random()::text::bytea), '', '{inference,billing}', 'bench'
  FROM org o, generate_series(1, %s) WHERE o.slug LIKE 'bench-%%'
"""
_CONTEXT: Final = """
WITH k AS (SELECT k.id, k.org_id, t.id AS team FROM api_key k JOIN team t ON t.id = k.team_id
            WHERE k.prefix = %(prefix)s),
subjects AS (
  SELECT org_id, 'k'::"char" AS kind, id FROM k UNION ALL
  SELECT org_id, 't', team FROM k UNION ALL SELECT org_id, 'o', org_id FROM k),
limits AS (
  INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug, requests_per_minute,
                          tokens_per_minute, concurrent)
  SELECT org_id, kind, id, 'wide', 1000000000, 1000000000000, 1000000 FROM subjects)
INSERT INTO budget (org_id, subject_kind, subject_id, slug, unit, amount, period)
SELECT org_id, kind, id, 'wide', CASE kind WHEN 't' THEN 'tokens' ELSE 'nanousd' END,
       1000000000000000, CASE kind WHEN 'k' THEN 'day' WHEN 't' THEN 'month' ELSE 'total' END
  FROM subjects
"""

_SPENT: Final = """
SELECT count(*) FROM budget_window w JOIN account a ON a.id = w.account_id WHERE a.debits_posted > 0
"""


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter, and fewer rows")
    quick = parser.parse_args().quick
    with Bench() as bench:
        _fill(bench.database_url)
        print(f"Authentication, warm: {asyncio.run(_authentication(bench)):.1f} us of CPU")
        _calls(bench, seconds=1.0 if quick else 3.0)
        _lists(bench, ROWS // 100 if quick else ROWS)
        if wrong := bench.doctor():
            sys.exit(wrong)


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as sql:
        sql.execute(_ORGS, [ORGS])
        sql.execute(_KEYS, [KEYS_OF_EACH])
        sql.execute("ANALYZE")


# --- authentication -------------------------------------------------------------------------------
async def _authentication(bench: Bench) -> float:
    """Microseconds of CPU of one authentication; the least of some rounds over all keys used."""
    secret = bench.environment["OMNI_KEY_HASH_SECRET"].encode()
    hasher = KeyHasher(secret)
    texts = [new_key_text() for _ in range(KEYS_USED)]
    with psycopg.connect(bench.database_url, autocommit=True) as sql:
        orgs = [row[0] for row in sql.execute("SELECT id FROM org WHERE slug LIKE 'bench-%'")]
        for place, text in enumerate(texts):
            sql.execute(
                "INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by)"
                " VALUES (%s, %s, %s, '', '{inference}', 'bench')",
                (orgs[place], key_prefix(text), hasher.digest(text)),
            )
    async with Database(bench.database_url, application_name="bench") as database:
        identity = Identity(database, key_hash_secret=secret, clock=SystemClock())
        times = []
        for _ in range(ROUNDS):
            for text in texts:
                await identity.authenticate(text)
            began = time.process_time()
            for text in texts:
                await identity.authenticate(text)
            times.append(1e6 * (time.process_time() - began) / KEYS_USED)
    return min(times)


# --- calls ----------------------------------------------------------------------------------------
def _calls(bench: Bench, seconds: float) -> None:
    plain = bench.serve()
    rich = msgspec.structs.replace(plain, name="3 limits, 3 budgets", api_key=_rich_key(bench))
    table = Table("transport", "context", "calls/s", "worker us/call", "PostgreSQL us/call")
    notes = []
    transports: tuple[Transport, ...] = ("rest", "grpc")
    for transport in transports:
        load = Load(kind="unary", callers=CALLERS, port=0, seconds=seconds)
        targets: tuple[Target, ...] = (plain, rich)
        found: dict[str, list[Any]] = {target.name: [] for target in targets}
        for _ in range(ROUNDS):
            for target in targets:
                found[target.name] += bench.measure(target.name, target, (transport, load))
        worker = {}
        for name, runs in found.items():
            worker[name] = statistics.median(run.server_us for run in runs)
            table.add_row(
                transport,
                "nothing" if name == plain.name else name,
                f"{statistics.median(run.found.per_second for run in runs):,.0f}",
                f"{worker[name]:,.0f}",
                f"{statistics.median(run.postgres_us for run in runs):,.0f}",
            )
        more = worker[rich.name] - worker[plain.name]
        notes.append(f"{transport}: 3 limits and 3 budgets cost {more:+.0f} us of the worker")
    console = Console()
    console.print(table)
    with psycopg.connect(bench.database_url) as sql:
        spent = sql.execute(_SPENT).fetchone()
    if spent != (3,):
        sys.exit(f"{spent} budgets were charged instead of three: the calls did not meet them")
    for note in notes:
        console.print(note)


def _rich_key(bench: Bench) -> str:
    bench.omni_json("teams", "create", "core", "--org", "bench")
    key = bench.omni_json("keys", "create", "--org", "bench", "--team", "core")["secret"]
    with psycopg.connect(bench.database_url, autocommit=True) as sql:
        sql.execute(_CONTEXT, {"prefix": key_prefix(key)})
    return str(key)


# --- lists ----------------------------------------------------------------------------------------
_FILLED: Final = {
    "team": """INSERT INTO team (org_id, slug, display_name)
        SELECT %(org)s, 'big-' || n, '' FROM generate_series(1, %(rows)s) n""",
    "org_user": """INSERT INTO org_user (org_id, code, issuer, subject, role)
        SELECT %(org)s, lpad(translate(to_hex(n), 'ilou', ''), 12, '0'), 'https://issuer', n::text,
               'viewer' FROM generate_series(1, %(rows)s) n""",
    "api_key": """INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by)
        SELECT %(org)s, 'z' || lpad(to_hex(n), 11, '0'), sha256(n::text::bytea), '', '{inference}',
               'bench' FROM generate_series(1, %(rows)s) n""",
    "rate_limit": """INSERT INTO rate_limit (org_id, subject_kind, subject_id, slug,
                                             requests_per_minute)
        SELECT %(org)s, 'o', %(org)s, 'big-' || n, 1000 FROM generate_series(1, %(rows)s) n""",
    "budget": """INSERT INTO budget (org_id, subject_kind, subject_id, slug, unit, amount, period)
        SELECT %(org)s, 'o', %(org)s, 'big-' || n, 'nanousd', 1000, 'day'
          FROM generate_series(1, %(rows)s) n""",
    "webhook": """INSERT INTO webhook (org_id, slug, url, sealed_secret, active)
        SELECT %(org)s, 'big-' || n, 'https://example.com', '', false
          FROM generate_series(1, %(rows)s) n""",
    "audit_entry": """INSERT INTO audit_entry
        SELECT %(org)s, n, now(), 'orgs/x/users/y', '10.0.0.1', 'CreateTeam', 'orgs/big/teams/t',
               NULL, '{}', '', sha256(n::text::bytea) FROM generate_series(1, %(rows)s) n""",
    "top_up": """INSERT INTO top_up (id, org_id, account_id, method, state, amount, request_id,
                                     fingerprint, expire_time)
        SELECT gen_random_uuid(), %(org)s, %(account)s, 'c', 'E', 1, n::text, '', now()
          FROM generate_series(1, %(rows)s) n""",
}
_LISTS: Final = {
    "ListTeams": "team",
    "ListUsers": "org_user",
    "ListApiKeys": "api_key",
    "ListRateLimits": "rate_limit",
    "ListBudgets": "budget",
    "ListWebhooks": "webhook",
    "ListAuditEntries": "audit_entry",
    "ListTopUps": "top_up",
    "ListOrgs": "",
}


def _lists(bench: Bench, rows: int) -> None:
    """Milliseconds of pages of 50, at a client; the organisation is of its own and never serves."""
    bench.omni_json("orgs", "create", "big")
    admin = bench.omni_json("keys", "create", "--org", "operator", "--scope", "admin")["secret"]
    with psycopg.connect(bench.database_url, autocommit=True) as sql:
        org, account = sql.execute(
            "SELECT id, account_id FROM org WHERE slug = 'big'"
        ).fetchone() or (0, 0)
        sql.execute("DELETE FROM audit_entry WHERE org_id = %s", [org])
        for statement in _FILLED.values():
            sql.execute(statement.encode(), {"org": org, "account": account, "rows": rows})
        sql.execute("VACUUM ANALYZE")
    target = bench.serve()
    table = Table(f"list of {rows:,} rows", "first page", "page 40", "p95 of all")
    with grpc.insecure_channel(f"127.0.0.1:{target.ports['grpc']}") as channel:
        for name in _LISTS:
            first, later, all_ms = _pages(channel, name, admin)
            table.add_row(name, f"{first:.1f} ms", f"{later:.1f} ms", f"{all_ms:.1f} ms")
    Console().print(table)
    with psycopg.connect(bench.database_url, autocommit=True) as sql:  # it was no true chain
        sql.execute("DELETE FROM audit_entry WHERE org_id = %s", [org])
        sql.execute("DELETE FROM audit_head WHERE org_id = %s", [org])


def _pages(channel: grpc.Channel, name: str, key: str) -> tuple[float, float, float]:
    """Medians of the first page and of the 40th, and the 95th percentile of both."""
    admin = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
    billing = billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]
    service = billing if name == "ListTopUps" else admin
    method = service.methods_by_name[name]
    request_class = GetMessageClass(method.input_type)
    call = channel.unary_unary(
        f"/{service.full_name}/{name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    given = (
        {}
        if name == "ListOrgs"
        else {"parent": "accounts/big" if name == "ListTopUps" else "orgs/big"}
    )
    metadata = (("authorization", f"Bearer {key}"),)
    token = ""
    for _ in range(40):
        page = call(request_class(**given, page_token=token), metadata=metadata)
        token = page.next_page_token or token
    times: dict[str, list[float]] = {"": [], token: []}
    for _ in range(ASKED):
        for at, found in times.items():
            began = time.perf_counter()
            call(request_class(**given, page_token=at), metadata=metadata)
            found.append(1e3 * (time.perf_counter() - began))
    first, later = (statistics.median(found) for found in times.values())
    both = sorted(one for found in times.values() for one in found)
    return first, later, both[int(len(both) * 0.95)]


if __name__ == "__main__":
    main()
