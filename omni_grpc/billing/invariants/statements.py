"""What the doctor asks of the database: statements of a bounded number of rows.

Each sees one moment. A batch of the ledger commits as a whole, so rows that belong together are
found together, and a join within one statement needs no second look. Joins are written as one
probe a row, so that no plan ever reads a whole table for one slice.
"""

from typing import Final

MONEY: Final = """
SELECT coalesce(sum(credits_posted), 0)::numeric(40), coalesce(sum(debits_posted), 0)::numeric(40)
  FROM account WHERE kind <> 2
"""

# --- accounts ---------------------------------------------------------------------------------
SYSTEM_ACCOUNTS: Final = """
SELECT id, kind, credits_posted, debits_posted, entry_count, pg_current_snapshot()::text,
       statement_timestamp()
  FROM account WHERE kind <> 1 ORDER BY id
"""
WALLETS: Final = """
SELECT a.id, a.credits_posted, a.debits_posted, a.debits_pending, a.entry_count,
       coalesce(p.entry, 0), coalesce(p.balance_after, 0)
  FROM (SELECT * FROM account WHERE kind = 1 AND id > %s ORDER BY id LIMIT %s) a
  LEFT JOIN LATERAL (
    SELECT entry, balance_after FROM posting WHERE wallet = a.id AND entry IS NOT NULL
     ORDER BY entry DESC LIMIT 1) p ON true
 ORDER BY a.id
"""
ENTRIES: Final = """
SELECT wallet, entry, kind = 'G', amount, balance_after FROM posting
 WHERE entry IS NOT NULL AND (wallet, entry) > (%s, %s) AND wallet <= %s
 ORDER BY wallet, entry LIMIT %s
"""
LAST_ACCOUNT: Final = """
SELECT id, count(*) OVER () FROM (SELECT id FROM account WHERE id > %s ORDER BY id LIMIT %s) s
 ORDER BY id DESC LIMIT 1
"""
PENDING: Final = """
WITH h AS (
  SELECT acct, sum(amount) AS held FROM (
    SELECT wallet, amount FROM hold
    UNION ALL
    SELECT y.acct, y.amount FROM hold, unnest(legs, leg_amounts) y(acct, amount)
  ) z(acct, amount) WHERE acct > %(after)s AND acct <= %(upto)s GROUP BY acct),
a AS (SELECT id, debits_pending FROM account WHERE id > %(after)s AND id <= %(upto)s)
SELECT coalesce(a.id, h.acct), a.debits_pending, coalesce(h.held, 0)::numeric(40)
  FROM a FULL JOIN h ON h.acct = a.id
 WHERE a.debits_pending IS DISTINCT FROM coalesce(h.held, 0)
"""
LAPSED: Final = """
SELECT id, origin::text, lease_until FROM hold
 WHERE state = 'O' AND lease_until < clock_timestamp() - make_interval(secs => %s)
 ORDER BY lease_until LIMIT %s
"""

# --- postings ---------------------------------------------------------------------------------
LAST_POSTING: Final = """
SELECT id, count(*) OVER () FROM (
  SELECT id FROM posting WHERE id > %s ORDER BY id FETCH FIRST %s ROWS WITH TIES) s
 ORDER BY id DESC LIMIT 1
"""
# A posting is later than the moment at which the accounts were read if its transaction began
# later, or had not committed then. A transaction's number comes again after 2^32 others, so only
# rows of about that time are told apart by it.
TOTALS: Final = """
SELECT x.acct, sum(x.credits)::numeric(40), sum(x.debits)::numeric(40), sum(x.entries)::bigint
  FROM posting p CROSS JOIN LATERAL (
    SELECT p.other_account, p.amount::numeric + p.loss, 0, 0 WHERE p.kind = 'S'
    UNION ALL SELECT p.other_account, 0, p.amount, 0 WHERE p.kind = 'G'
    UNION ALL SELECT p.loss_account, 0, p.loss, 0
    UNION ALL SELECT y.a, 0, y.m, (y.m > 0)::int FROM unnest(p.legs, p.leg_amounts) y(a, m)
               WHERE y.m IS NOT NULL
  ) x(acct, credits, debits, entries)
 WHERE p.id > %(after)s AND p.id <= %(upto)s AND x.acct IS NOT NULL
   AND (p.create_time < %(time)s - interval '1 hour'
        OR (((p.xmin::text::bigint - %(xmax)s) & 4294967295) >= 2147483648
            AND p.xmin::text::bigint <> ALL (%(running)s::bigint[])))
 GROUP BY x.acct
"""
# `wrong` has one flag for each of FAULT_KINDS, in their order.
FAULTS: Final = """
SELECT id, n, kind, decider, wallet, amount, held, loss, loss_account, first_kind, first_decider,
       wallet_kind, usage_wallet, asked, asked_amount, wrong
  FROM (
    SELECT p.*, f.kind AS first_kind, f.decider AS first_decider, a.kind AS wallet_kind,
           u.wallet AS usage_wallet, q.asked, q.asked_amount,
           ARRAY[
             a.kind IS DISTINCT FROM 1,
             h.id IS NOT NULL,
             p.n = 1 AND f.kind IS NULL,
             p.n = 1 AND (p.kind <> 'S' OR f.kind <> 'V' OR f.decider = 'o'),
             p.kind = 'S' AND p.amount::numeric + coalesce(f.amount, 0) > p.held,
             p.n = 0 AND p.loss > 0 AND (p.kind <> 'S' OR p.amount < p.held),
             (p.loss > 0) <> (p.loss_account IS NOT NULL),
             p.origin = 'r' AND p.n = 0 AND u.wallet IS DISTINCT FROM p.wallet,
             q.asked <> 1,
             q.asked = 1 AND q.asked_amount IS DISTINCT FROM p.amount
           ] AS wrong
      FROM posting p
      LEFT JOIN LATERAL (SELECT kind FROM account WHERE id = p.wallet LIMIT 1) a ON true
      LEFT JOIN LATERAL (SELECT id FROM hold WHERE id = p.id LIMIT 1) h ON true
      LEFT JOIN LATERAL (
        SELECT kind, decider, amount FROM posting WHERE id = p.id AND n = 0 LIMIT 1) f ON p.n = 1
      LEFT JOIN LATERAL (
        SELECT wallet FROM usage_record WHERE hold_id = p.id LIMIT 1) u ON p.origin = 'r'
      LEFT JOIN LATERAL (
        SELECT count(*) AS asked, min(amount) AS asked_amount FROM request
         WHERE target = p.id AND operation = 'G') q ON p.kind = 'G'
     WHERE p.id > %(after)s AND p.id <= %(upto)s) x
 WHERE true = ANY (wrong)
"""
CHARGES: Final = """
SELECT p.id, p.n, p.amount::numeric(40) + p.loss, u.price_version, u.markup_ppm, u.prompt,
       u.cached_read, u.cached_write, u.prompt_audio, u.completion, u.reasoning,
       u.completion_audio
  FROM posting p
  JOIN LATERAL (SELECT * FROM usage_record WHERE hold_id = p.id LIMIT 1) u ON true
 WHERE p.id > %(after)s AND p.id <= %(upto)s AND p.kind = 'S' AND p.origin = 'r'
"""

# --- usage records and requests ---------------------------------------------------------------
LAST_USAGE: Final = """
SELECT hold_id, count(*) OVER () FROM (
  SELECT hold_id FROM usage_record WHERE hold_id > %s ORDER BY hold_id LIMIT %s) s
 ORDER BY hold_id DESC LIMIT 1
"""
USAGE_ALONE: Final = """
SELECT u.hold_id FROM usage_record u
  LEFT JOIN LATERAL (
    SELECT 1 AS found FROM posting
     WHERE id = u.hold_id AND n = 0 AND origin = 'r' LIMIT 1) p ON true
 WHERE u.hold_id > %(after)s AND u.hold_id <= %(upto)s AND p.found IS NULL
"""
LAST_REQUEST: Final = """
SELECT principal, request_id, count(*) OVER () FROM (
  SELECT principal, request_id FROM request WHERE (principal, request_id) > (%s, %s)
   ORDER BY principal, request_id LIMIT %s) s
 ORDER BY principal DESC, request_id DESC LIMIT 1
"""
REQUESTS: Final = """
SELECT q.principal, q.request_id,
       concat(q.operation, ' of ', coalesce(q.amount::text, 'nothing')),
       CASE WHEN h.amount IS NOT NULL THEN concat('H of ', h.amount)
            WHEN p.amount IS NOT NULL THEN concat(p.kind, ' of ', p.amount, ', held ', p.held)
            ELSE 'nothing' END
  FROM request q
  LEFT JOIN LATERAL (
    SELECT origin, amount FROM hold WHERE id = q.target AND q.operation = 'H' LIMIT 1) h ON true
  LEFT JOIN LATERAL (
    SELECT kind, origin, amount, held FROM posting WHERE id = q.target AND n = 0 LIMIT 1) p ON true
 WHERE (q.principal, q.request_id) > (%s, %s) AND (q.principal, q.request_id) <= (%s, %s)
   AND (CASE q.operation
          WHEN 'H' THEN coalesce(h.origin, p.origin) = 'a' AND coalesce(p.kind, 'S') <> 'G'
                        AND coalesce(h.amount, p.held) = q.amount
          WHEN 'G' THEN p.kind = 'G'
          ELSE p.origin = 'a' AND p.kind = q.operation AND p.amount = q.amount
        END) IS NOT TRUE
"""
