"""The same books, kept as it is usually done: one transaction for each hold and each settle.

Each transaction is a handful of ordinary prepared statements that begins by locking the wallet's
row, over one of many connections. It writes the same rows into the same tables, so that the doctor
finds nothing wrong. It is spared the revenue account, which would be one more row to lock: that is
credited once, after the measuring.

Two clients do so: psycopg, as a service in Python would, and pgbench, which is written in C and
costs next to nothing. pgbench is the harder one to beat.
"""

import itertools
import os
import re
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from ledger_work import (
    CREDENTIAL,
    KEY_ID,
    LEASE_SECONDS,
    MODEL,
    Found,
    Work,
    costs,
    held,
    provider_ref,
    usages,
)

from omni_grpc.core.ids import hold_id_of, new_call_id
from omni_grpc.core.usage import Usage

STEPS_REVENUE: Final = 115
"""The revenue account of the last lane, which no lane of a bench has."""

_LOCK: Final[LiteralString] = """
SELECT credits_posted - debits_posted, debits_pending, entry_count FROM account
 WHERE id = %(wallet)s FOR UPDATE
"""
_HOLD: Final[LiteralString] = """
INSERT INTO hold (id, origin, wallet, amount, key_id, model, credential, price_version, markup_ppm,
                  owner, epoch, lease_until)
VALUES (%(id)s, 'r', %(wallet)s, %(held)s, %(key)s, %(model)s, %(credential)s, %(price_version)s, 0,
        'bench steps', 1, clock_timestamp() + make_interval(secs => %(lease_s)s))
"""
_RESERVE: Final[LiteralString] = """
UPDATE account SET debits_pending = debits_pending + %(held)s WHERE id = %(wallet)s
"""
_RELEASE: Final[LiteralString] = "DELETE FROM hold WHERE id = %(id)s"
_POST: Final[LiteralString] = """
INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, other_account, entry,
                     balance_after)
VALUES (%(id)s, 'S', 'r', 'o', %(wallet)s, %(cost)s, %(held)s, %(revenue)s, %(entry)s, %(balance)s)
"""
_USE: Final[LiteralString] = """
INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm, outcome,
                          estimated, prompt, cached_read, completion, reasoning, provider_ref)
VALUES (%(id)s, %(wallet)s, %(key)s, %(model)s, %(price_version)s, 0, 'A', false, %(prompt)s,
        %(cached_read)s, %(completion)s, %(reasoning)s, %(provider_ref)s)
"""
_CHARGE: Final[LiteralString] = """
UPDATE account SET debits_posted = debits_posted + %(cost)s,
       debits_pending = debits_pending - %(held)s, entry_count = entry_count + 1
 WHERE id = %(wallet)s
"""


class StepBooks:
    """Holds and settles over one connection, which is not in autocommit mode."""

    def __init__(self, connection: psycopg.AsyncConnection, work: Work, number: int) -> None:
        first, count = work.wallets
        wallets = list(range(first, first + count))
        turn = number * count // max(1, work.callers)  # connections begin far from each other
        self._connection = connection
        self._facts = {
            "held": held(work.price),
            "key": KEY_ID,
            "model": MODEL,
            "credential": CREDENTIAL,
            "price_version": work.price.version,
            "lease_s": work.lease_s,
            "revenue": STEPS_REVENUE,
        }
        self._wallets: Iterator[int] = itertools.cycle(wallets[turn:] + wallets[:turn])
        self._answers: Iterator[tuple[Usage, int]] = itertools.cycle(
            zip(usages(), costs(work.price), strict=True)
        )

    async def hold(self) -> tuple[UUID, int]:
        """One transaction: is there room, the hold, what is pending."""
        wallet, hold_id = next(self._wallets), hold_id_of(new_call_id(), 1)
        facts = self._facts | {"id": hold_id, "wallet": wallet}
        posted, pending, _ = await self._locked(facts)
        if posted - pending < self._facts["held"]:
            raise RuntimeError(f"wallet {wallet} has no room; the bench grants enough")
        await self._do(_HOLD, facts)
        await self._do(_RESERVE, facts)
        await self._connection.commit()
        return hold_id, wallet

    async def settle(self, hold_id: UUID, wallet: int) -> int:
        """One transaction: the hold goes, the posting and the usage come; returns the charge."""
        usage, cost = next(self._answers)
        facts = self._facts | {
            "id": hold_id,
            "wallet": wallet,
            "cost": cost,
            "prompt": usage.prompt,
            "cached_read": usage.cached_read,
            "completion": usage.completion,
            "reasoning": usage.reasoning,
            "provider_ref": provider_ref(hold_id),
        }
        posted, _, entries = await self._locked(facts)
        await self._do(_RELEASE, facts)
        await self._do(_POST, facts | {"entry": entries + 1, "balance": posted - cost})
        await self._do(_USE, facts)
        await self._do(_CHARGE, facts)
        await self._connection.commit()
        return cost

    async def _locked(self, facts: dict[str, object]) -> tuple[int, int, int]:
        cursor = await self._connection.execute(_LOCK, facts, prepare=True, binary=True)
        row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("no such wallet")
        return row[0], row[1], row[2]

    async def _do(self, statement: LiteralString, facts: dict[str, object]) -> None:
        await self._connection.execute(statement, facts, prepare=True)


# --- pgbench ------------------------------------------------------------------------------------
_SCRIPT: Final = """
\\set wallet random({first}, {last})
BEGIN;
SELECT credits_posted - debits_posted - debits_pending AS room FROM account
 WHERE id = :wallet FOR UPDATE \\gset
INSERT INTO hold (id, origin, wallet, amount, key_id, model, credential, price_version, markup_ppm,
                  owner, epoch, lease_until)
VALUES (uuidv7(), 'r', :wallet, {held}, {key}, '{model}', '{credential}', {price_version}, 0,
        'bench steps', 1, clock_timestamp() + interval '{lease_s} s') RETURNING id AS hold \\gset
UPDATE account SET debits_pending = debits_pending + {held} WHERE id = :wallet;
COMMIT;
BEGIN;
SELECT credits_posted - debits_posted - {cost} AS balance, entry_count + 1 AS entry FROM account
 WHERE id = :wallet FOR UPDATE \\gset
DELETE FROM hold WHERE id = :hold;
INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, other_account, entry,
                     balance_after)
VALUES (:hold, 'S', 'r', 'o', :wallet, {cost}, {held}, {revenue}, :entry, :balance);
INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm, outcome,
                          estimated, prompt, cached_read, completion, reasoning, provider_ref)
VALUES (:hold, :wallet, {key}, '{model}', {price_version}, 0, 'A', false, {prompt}, {cached_read},
        {completion}, {reasoning}, '{provider_ref}');
UPDATE account SET debits_posted = debits_posted + {cost},
       debits_pending = debits_pending - {held}, entry_count = entry_count + 1
 WHERE id = :wallet;
COMMIT;
"""
_DONE: Final = re.compile(r"number of transactions actually processed: (\d+)")
_RATE: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_THREADS: Final = 2


def pgbench(program: str, work: Work) -> Found:
    """Runs pgbench for `work.seconds`, connecting left out."""
    usage, cost = usages()[0], costs(work.price)[0]
    first, count = work.wallets
    script = _SCRIPT.format(
        first=first,
        last=first + count - 1,
        held=held(work.price),
        key=KEY_ID,
        model=MODEL,
        credential=CREDENTIAL,
        price_version=work.price.version,
        lease_s=LEASE_SECONDS,
        cost=cost,
        revenue=STEPS_REVENUE,
        prompt=usage.prompt,
        cached_read=usage.cached_read,
        completion=usage.completion,
        reasoning="NULL" if usage.reasoning is None else usage.reasoning,
        provider_ref=provider_ref(new_call_id()),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.sql"
        path.write_text(script)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [
                *(program, "--no-vacuum", "--protocol=prepared", f"--file={path}"),
                *(f"--client={work.callers}", f"--jobs={min(_THREADS, work.callers)}"),
                *(f"--time={max(1, round(work.seconds or 1))}", work.url),
            ],
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    done, rate = _DONE.search(ran.stdout), _RATE.search(ran.stdout)
    if ran.returncode != 0 or done is None or rate is None:
        raise SystemExit(f"pgbench failed:\n{ran.stdout}{ran.stderr}")
    calls = int(done[1])
    return Found(
        operations=2 * calls,
        seconds=calls / float(rate[1]),
        charged_nanousd=calls * cost,
        refused=0,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )
