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
       coalesce(p.entry, 0), coalesce(p.balance_after, 0),
       s.entry_count, s.credits_posted, s.debits_posted,
       CASE WHEN a.credits_posted - a.debits_posted < a.debits_pending THEN (
         SELECT coalesce(sum(amount), 0)::bigint FROM posting
          WHERE wallet = a.id AND entry IS NOT NULL AND kind = 'B') ELSE 0 END
  FROM (SELECT * FROM account WHERE kind = 1 AND id > %s ORDER BY id LIMIT %s) a
  LEFT JOIN LATERAL (
    SELECT entry, balance_after FROM posting WHERE wallet = a.id AND entry IS NOT NULL
     ORDER BY entry DESC LIMIT 1) p ON true
  LEFT JOIN LATERAL (
    SELECT * FROM account_snapshot WHERE account = a.id ORDER BY day DESC LIMIT 1) s ON true
 ORDER BY a.id
"""
ENTRIES: Final = """
SELECT wallet, entry, kind::text, amount, balance_after,
       CASE kind WHEN 'G' THEN (SELECT credited_after FROM credit_lot l WHERE l.id = p.id) END
  FROM posting p
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
# Each snapshot against the next one, the last against the account; and what a wallet had at each
# but its last, which the replay looks at.
LAST_SNAPSHOT: Final = """
SELECT account, day::text, count(*) OVER () FROM (
  SELECT account, day FROM account_snapshot WHERE (account, day) > (%s, %s::date)
   ORDER BY account, day LIMIT %s) s
 ORDER BY account DESC, day DESC LIMIT 1
"""
SNAPSHOTS: Final = """
SELECT s.account, s.day::text, s.entry_count, s.credits_posted, s.debits_posted,
       coalesce(n.entry_count, a.entry_count), coalesce(n.credits_posted, a.credits_posted),
       coalesce(n.debits_posted, a.debits_posted),
       CASE WHEN a.kind = 1 AND n.account IS NOT NULL THEN coalesce(p.balance_after, 0)
            ELSE s.credits_posted - s.debits_posted END
  FROM account_snapshot s
  LEFT JOIN LATERAL (SELECT * FROM account WHERE id = s.account LIMIT 1) a ON true
  LEFT JOIN LATERAL (
    SELECT * FROM account_snapshot WHERE account = s.account AND day > s.day
     ORDER BY day LIMIT 1) n ON true
  LEFT JOIN LATERAL (
    SELECT balance_after FROM posting
     WHERE wallet = s.account AND entry = s.entry_count LIMIT 1) p ON true
 WHERE (s.account, s.day) > (%s, %s::date) AND (s.account, s.day) <= (%s, %s::date)
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
    SELECT p.other_account, p.amount::numeric + p.loss, coalesce(p.reversed, 0), 0
     WHERE p.kind IN ('S', 'W', 'E', 'B')
    UNION ALL SELECT p.other_account, 0, p.amount, 0 WHERE p.kind IN ('G', 'R')
    UNION ALL SELECT p.loss_account, coalesce(p.reversed, 0), p.loss, 0
    UNION ALL SELECT y.a, CASE p.kind WHEN 'R' THEN y.m ELSE 0 END,
                     CASE p.kind WHEN 'R' THEN 0 ELSE y.m END, (y.m > 0)::int
                FROM unnest(p.legs, p.leg_amounts) y(a, m) WHERE y.m IS NOT NULL
  ) x(acct, credits, debits, entries)
 WHERE p.id > %(after)s AND p.id <= %(upto)s AND x.acct IS NOT NULL
   AND (p.create_time < %(time)s - interval '1 hour'
        OR (((p.xmin::text::bigint - %(xmax)s) & 4294967295) >= 2147483648
            AND p.xmin::text::bigint <> ALL (%(running)s::bigint[])))
 GROUP BY x.acct
"""
# `wrong` has one flag for each of FAULT_KINDS, in their order.
FAULTS: Final = """
SELECT id, n, kind, decider, wallet, amount, held, loss, loss_account, of, first_kind,
       first_decider, wallet_kind, usage_wallet, asked, asked_amount, charged, refunded, lot_wallet,
       reversed, written_off, paid, wrong
  FROM (
    SELECT p.*, f.kind AS first_kind, f.decider AS first_decider, a.kind AS wallet_kind,
           u.wallet AS usage_wallet, q.asked, q.asked_amount, c.charged, b.refunded,
           l.wallet AS lot_wallet, f.loss AS written_off,
           concat(y.amount, ' for ', y.wallet) AS paid,
           ARRAY[
             a.kind IS DISTINCT FROM 1,
             h.id IS NOT NULL,
             p.n = 1 AND f.kind IS NULL,
             p.n = 1 AND NOT (p.kind = 'S' AND CASE f.kind WHEN 'S' THEN p.amount + p.loss > 0
                              ELSE f.kind IN ('V', 'W') AND f.decider <> 'o' END),
             p.kind = 'S' AND p.amount::numeric + coalesce(f.amount, 0) > p.held,
             p.kind = 'R' AND c.charged IS NULL,
             b.refunded > c.charged,
             p.kind = 'R' AND b.refunded <= c.charged AND EXISTS (
               SELECT FROM generate_subscripts(p.leg_amounts, 1) k
                WHERE (SELECT sum(leg_amounts[k]) FROM posting WHERE of = p.of AND kind = 'R')
                      > (SELECT coalesce(sum(leg_amounts[k]), 0) FROM posting WHERE id = p.of)),
             p.leg_held IS NOT NULL AND EXISTS (
               SELECT FROM generate_subscripts(p.leg_held, 1) k
                WHERE p.leg_held[k] < (SELECT sum(leg_amounts[k]) FROM posting WHERE id = p.id)),
             p.n = 0 AND p.loss > 0 AND (p.kind NOT IN ('S', 'W')
                                         OR (p.kind = 'S' AND p.amount < p.held)),
             (p.loss > 0 OR p.reversed > 0) <> (p.loss_account IS NOT NULL),
             p.reversed <> CASE f.kind WHEN 'W' THEN f.loss ELSE 0 END,
             p.origin = 'r' AND p.n = 0 AND u.wallet IS DISTINCT FROM p.wallet,
             q.asked <> 1,
             q.asked = 1 AND q.asked_amount IS DISTINCT FROM p.amount,
             (y.wallet, y.amount) <> (p.wallet, p.amount),
             p.kind = 'E' AND l.wallet IS DISTINCT FROM p.wallet,
             p.kind = 'B' AND (v.amount IS DISTINCT FROM p.amount OR v.wallet <> p.wallet
                               OR v.taken > v.paid)
           ] AS wrong
      FROM posting p
      LEFT JOIN LATERAL (SELECT kind FROM account WHERE id = p.wallet LIMIT 1) a ON true
      LEFT JOIN LATERAL (SELECT id FROM hold WHERE id = p.id LIMIT 1) h ON true
      LEFT JOIN LATERAL (
        SELECT kind, decider, amount, loss FROM posting
         WHERE id = p.id AND n = 0 LIMIT 1) f ON p.n = 1
      LEFT JOIN LATERAL (
        SELECT wallet FROM usage_record WHERE hold_id = p.id LIMIT 1) u ON p.origin = 'r'
      LEFT JOIN LATERAL (
        SELECT count(*) AS asked, min(amount) AS asked_amount FROM (
          SELECT amount FROM request WHERE target = p.id AND operation = 'G' AND p.kind = 'G'
          UNION ALL
          SELECT amount FROM request WHERE target = p.id AND operation = 'R' AND p.kind = 'R') y
      ) q ON p.kind IN ('G', 'R')
      LEFT JOIN LATERAL (
        SELECT sum(amount)::numeric(40) AS charged FROM posting
         WHERE id = p.of AND kind = 'S' AND wallet = p.wallet) c ON p.kind = 'R'
      LEFT JOIN LATERAL (
        SELECT sum(amount)::numeric(40) AS refunded FROM posting
         WHERE of = p.of AND kind = 'R') b ON p.kind = 'R'
      LEFT JOIN LATERAL (SELECT wallet FROM credit_lot WHERE id = p.of LIMIT 1) l ON p.kind = 'E'
      LEFT JOIN LATERAL (
        SELECT wallet, amount FROM payment WHERE posting = p.id LIMIT 1) y ON p.kind = 'G'
      LEFT JOIN LATERAL (
        SELECT r.amount, w.wallet, w.amount AS paid,
               payment_taken(r.of) AS taken
          FROM payment_reversal r JOIN payment w ON w.posting = r.of
         WHERE r.posting = p.id AND r.of = p.of LIMIT 1) v ON p.kind = 'B'
     WHERE p.id > %(after)s AND p.id <= %(upto)s) x
 WHERE true = ANY (wrong)
"""
CHARGES: Final = """
SELECT p.id, p.cost, u.price_version, u.markup_ppm, u.prompt, u.cached_read, u.cached_write,
       u.prompt_audio, u.completion, u.reasoning, u.completion_audio, u.rare_counts
  FROM (SELECT id, sum(amount::numeric(40) + loss)::numeric(40) AS cost FROM posting
         WHERE id > %(after)s AND id <= %(upto)s AND kind = 'S' AND origin = 'r' GROUP BY id) p
  JOIN LATERAL (SELECT * FROM usage_record WHERE hold_id = p.id LIMIT 1) u ON true
"""
# --- payments ---------------------------------------------------------------------------------
LAST_PAYMENT: Final = """
SELECT posting, count(*) OVER () FROM (
  SELECT posting FROM payment WHERE posting > %s ORDER BY posting LIMIT %s) s
 ORDER BY posting DESC LIMIT 1
"""
PAYMENTS_ALONE: Final = """
SELECT network || ' ' || payment_id FROM payment y
 WHERE y.posting > %(after)s AND y.posting <= %(upto)s AND NOT EXISTS (
   SELECT FROM posting p WHERE p.id = y.posting AND p.n = 0 AND p.kind = 'G' OFFSET 0)
"""
# --- grants that expire -----------------------------------------------------------------------
LAST_LOT: Final = """
SELECT id, count(*) OVER () FROM (SELECT id FROM credit_lot WHERE id > %s ORDER BY id LIMIT %s) s
 ORDER BY id DESC LIMIT 1
"""
LOTS: Final = """
SELECT l.id, concat('a grant of ', l.amount, ' to ', l.wallet, ', ', l.expired, ' expired'),
       concat('a grant of ', g.amount, ' to ', g.wallet, ', ', e.expired, ' expired')
  FROM credit_lot l
  LEFT JOIN LATERAL (
    SELECT wallet, amount FROM posting WHERE id = l.id AND n = 0 AND kind = 'G' LIMIT 1) g ON true
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount), 0)::numeric(40) AS expired FROM posting
     WHERE of = l.id AND kind = 'E') e
 WHERE l.id > %(after)s AND l.id <= %(upto)s
   AND (l.wallet IS DISTINCT FROM g.wallet OR l.amount IS DISTINCT FROM g.amount
        OR l.expired <> e.expired)
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
            WHEN q.operation = 'C' THEN 'no attempt of its call'
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
          WHEN 'R' THEN p.kind = 'R'
          WHEN 'C' THEN
            EXISTS (SELECT FROM posting
                     WHERE id BETWEEN q.target AND ledger_last_attempt(q.target))
            OR EXISTS (SELECT FROM hold
                        WHERE id BETWEEN q.target AND ledger_last_attempt(q.target))
          ELSE p.origin = 'a' AND p.kind = q.operation AND p.amount = q.amount
        END) IS NOT TRUE
"""
LAST_ANSWER: Final = """
SELECT call_id, count(*) OVER () FROM (
  SELECT call_id FROM request_answer WHERE call_id > %s ORDER BY call_id LIMIT %s) s
 ORDER BY call_id DESC LIMIT 1
"""
ANSWERS_ASTRAY: Final = """
SELECT call_id FROM request_answer
 WHERE call_id > %(after)s AND call_id <= %(upto)s AND NOT EXISTS (
   SELECT FROM posting
    WHERE id BETWEEN call_id AND ledger_last_attempt(call_id) AND kind = 'S' AND origin = 'r'
    OFFSET 0)
"""
