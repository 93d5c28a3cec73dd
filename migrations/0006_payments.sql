-- Payments from outside that credits were bought with, each booked once for ever; and three mends
-- of the ledger's function: a settle that comes after a write-off takes back the loss that it had
-- booked, one that comes late counts in the budget windows of its hold, and a call that was
-- answered keeps its request id whoever says later that it failed.
--
-- Servers of the versions before go on working: they call the function by their own arguments.

-- Never partitioned and never pruned: that is what makes a payment's name unique for ever.
CREATE TABLE payment (
  network     text   NOT NULL,         -- CAIP-2, or the operator's own name of a way to pay
  payment_id  text   NOT NULL,         -- what the network itself calls the payment, normalised
  posting     uuid   NOT NULL UNIQUE,  -- the grant that it bought
  wallet      bigint NOT NULL,
  amount      bigint NOT NULL CHECK (amount > 0),
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (network, payment_id)
);

ALTER TABLE posting
  ADD COLUMN reversed bigint,    -- of a settle after a write-off: the loss that it takes back
  ADD COLUMN leg_held bigint[],  -- what each budget window had reserved
  ADD CONSTRAINT posting_reversed CHECK (reversed IS NULL OR (reversed > 0 AND n = 1)) NOT VALID;

-- Applies one batch of operations in one transaction. Finals come first, since they free room;
-- then transfers, then holds in their order, so that exactly those that fit pass.
--
-- Groups: f_ finals (S settle, V void, L lease end, U outcome not known, W write-off), h_ holds,
-- t_ transfers (G grant, R refund, E expiry), q_ the request ids of some of them (q_group 'f', 'h'
-- or 't', q_ord the position in that group), r_ chats that end (r_ord NULL: beside a final).
-- Legs are written as array literals ('{7,9}'), NULL where there is none. t_network and t_payment
-- name the outside payment that a grant is for, NULL where there is none; both may be empty.
--
-- One result row an operation. rc:
--   0 done now            1 done before, same content    2 decided before in another way
--   3 no such hold        4 short: posted and pending are of short_account
--   5 request id reused   6 request id repeated: target, amount and until are the first outcome
--   7 more than was held (API), or than is left of the charge (refund)
--   8 renewed by its owner meanwhile (L), nothing to do
--   9 the chat with this request id still runs; target is its call
--  10 the chat with this request id ended early; target is its call, amount what it was charged
--  11 the hold is not unresolved, so only its owner may end it
--  12 the payment was booked for another account or amount; target and amount are that grant's
--
-- SQLSTATE OM001: something changed between a look and its lock; send the batch again.
-- SQLSTATE OM002: unknown account. OM003: an id or a payment twice in a batch. Split the batch.
CREATE FUNCTION ledger_apply(
  p_owner text, p_epoch bigint, p_lane integer, t_network text[], t_payment text[],
  f_id uuid[] DEFAULT '{}', f_kind "char"[] DEFAULT '{}', f_origin "char"[] DEFAULT '{}',
  f_decider "char"[] DEFAULT '{}', f_wallet bigint[] DEFAULT '{}', f_cost bigint[] DEFAULT '{}',
  f_leg_costs text[] DEFAULT '{}', f_outcome "char"[] DEFAULT '{}',
  f_estimated boolean[] DEFAULT '{}', f_prompt bigint[] DEFAULT '{}',
  f_cached_read bigint[] DEFAULT '{}', f_cached_write bigint[] DEFAULT '{}',
  f_prompt_audio bigint[] DEFAULT '{}', f_completion bigint[] DEFAULT '{}',
  f_reasoning bigint[] DEFAULT '{}', f_completion_audio bigint[] DEFAULT '{}',
  f_provider_ref text[] DEFAULT '{}', f_rare_counts text[] DEFAULT '{}',
  h_id uuid[] DEFAULT '{}', h_origin "char"[] DEFAULT '{}', h_wallet bigint[] DEFAULT '{}',
  h_min bigint[] DEFAULT '{}', h_max bigint[] DEFAULT '{}', h_legs text[] DEFAULT '{}',
  h_leg_mins text[] DEFAULT '{}', h_leg_maxs text[] DEFAULT '{}',
  h_seconds integer[] DEFAULT '{}', h_key bigint[] DEFAULT '{}', h_model text[] DEFAULT '{}',
  h_credential text[] DEFAULT '{}', h_price_version bigint[] DEFAULT '{}',
  h_markup_ppm integer[] DEFAULT '{}',
  t_id uuid[] DEFAULT '{}', t_kind "char"[] DEFAULT '{}', t_wallet bigint[] DEFAULT '{}',
  t_amount bigint[] DEFAULT '{}', t_reference text[] DEFAULT '{}', t_of uuid[] DEFAULT '{}',
  t_expires timestamptz[] DEFAULT '{}',
  q_group "char"[] DEFAULT '{}', q_ord integer[] DEFAULT '{}', q_principal bigint[] DEFAULT '{}',
  q_request_id text[] DEFAULT '{}', q_fingerprint bytea[] DEFAULT '{}',
  q_operation "char"[] DEFAULT '{}', q_target uuid[] DEFAULT '{}',
  r_ord integer[] DEFAULT '{}', r_principal bigint[] DEFAULT '{}',
  r_request_id text[] DEFAULT '{}', r_call uuid[] DEFAULT '{}', r_state "char"[] DEFAULT '{}',
  r_answer bytea[] DEFAULT '{}'
) RETURNS TABLE (
  grp "char", ord integer, rc smallint, target uuid, amount bigint, posted bigint, pending bigint,
  short_account bigint, until timestamptz
) LANGUAGE plpgsql VOLATILE
-- Plans are pinned: each table is reached through its primary key, one probe an operation. Plans
-- made from statistics of an empty or a bloated moment were five times slower.
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_material = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  funding CONSTANT bigint := 1;
  revenue bigint := 100 + p_lane;
  losses  bigint := 200 + p_lane;
  ids bigint[]; found bigint; made bigint; held_finals bigint;
  skip_f int[] := '{}'; skip_h int[] := '{}'; skip_t int[] := '{}';
  tight bigint[]; room bigint[]; owned bigint[]; waiting bigint[];
  r record; i int; p int; code smallint; grant_amount bigint; worst int; worst_num numeric;
  worst_den numeric; leg_ids bigint[]; leg_min bigint[]; leg_max bigint[]; leg_grant bigint[];
  who bigint; first_id uuid; last_id uuid;
  has_legs boolean; accounts bigint[]; needs bigint[]; takes bigint[];
  ok_amount bigint[]; ok_legs text[]; ok_until timestamptz[];
  charged numeric; refunded numeric; entry_no bigint; credited bigint;
BEGIN
  -- What an empty group would cost is not asked of it: each statement has its price, also over
  -- nothing.
  IF cardinality(f_id) + cardinality(h_id) + cardinality(t_id) > 1
     AND (SELECT count(*) <> count(DISTINCT x) FROM unnest(f_id || h_id || t_id) x) THEN
    RAISE EXCEPTION 'an id stands twice in one batch' USING ERRCODE = 'OM003';
  END IF;

  -- 0. Request ids, before any account and in one order, so that replicas cannot deadlock.
  IF cardinality(q_group) > 0 OR cardinality(r_call) > 0 THEN
    IF (SELECT count(*) <> count(DISTINCT (a, b)) FROM unnest(q_principal, q_request_id) x(a, b))
    THEN RAISE EXCEPTION 'a request id stands twice in one batch' USING ERRCODE = 'OM003'; END IF;
    INSERT INTO request (principal, request_id, fingerprint, operation, target, until)
    SELECT q.principal, q.request_id, q.fingerprint, q.operation, q.target,
           CASE WHEN q.operation = 'C'
                THEN clock_timestamp() + make_interval(secs => h_seconds[q.ord]) END
      FROM unnest(q_ord, q_principal, q_request_id, q_fingerprint, q_operation, q_target)
           AS q(ord, principal, request_id, fingerprint, operation, target)
     ORDER BY q.principal, q.request_id
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS made = ROW_COUNT;
    -- Rows that were there before are locked, in order; those of the requests that end here too.
    SELECT count(*) FILTER (WHERE x.asked) INTO found FROM (
      SELECT (e.principal, e.request_id) IN (SELECT * FROM unnest(q_principal, q_request_id))
               AS asked
        FROM request e
       WHERE (e.principal, e.request_id) IN (
               SELECT * FROM unnest(q_principal, q_request_id)
               UNION ALL SELECT * FROM unnest(r_principal, r_request_id))
         AND e.xmin <> pg_current_xact_id()::xid
       ORDER BY e.principal, e.request_id FOR UPDATE) x;
    IF made + found < cardinality(q_group) THEN
      RAISE EXCEPTION 'a request id was freed while it was being locked' USING ERRCODE = 'OM001';
    END IF;
    -- A new statement sees what that waited for. A row with another creator is a repeat; a settle
    -- or release names the same hold each time, so its row is told by its age.
    FOR r IN
      SELECT q.grp, q.ord, q.operation, q.principal, q.request_id, q.target AS own, e.target,
             e.amount, e.until, e.fingerprint = q.fingerprint AS same
        FROM unnest(q_group, q_ord, q_principal, q_request_id, q_fingerprint, q_operation, q_target)
             AS q(grp, ord, principal, request_id, fingerprint, operation, target)
        JOIN request e USING (principal, request_id)
       WHERE e.xmin <> pg_current_xact_id()::xid
    LOOP
      rc := CASE WHEN r.same THEN 6 ELSE 5 END;
      amount := r.amount; until := r.until;
      IF r.operation = 'C' AND r.same THEN
        -- A chat: the books say where the call stands that has this request id.
        first_id := r.target; last_id := ledger_last_attempt(r.target);
        amount := NULL;
        IF r.target = r.own THEN
          CONTINUE;  -- the next attempt of the same call
        ELSIF EXISTS (SELECT FROM request_answer a WHERE a.call_id = first_id) THEN
          rc := 6;
        ELSIF EXISTS (SELECT FROM hold h WHERE h.id BETWEEN first_id AND last_id AND h.state = 'O')
        THEN
          rc := 9;
        ELSE
          SELECT sum(g.amount)::bigint INTO amount FROM posting g
           WHERE g.id BETWEEN first_id AND last_id AND g.kind = 'S';
          IF amount > 0 THEN
            rc := 10;  -- no attempt follows one that was charged
          ELSIF r.until > clock_timestamp() THEN
            rc := 9; amount := NULL;  -- perhaps between two attempts
          ELSIF EXISTS (SELECT FROM hold h WHERE h.id BETWEEN first_id AND last_id) THEN
            rc := 10;
          ELSE
            -- It ended without a charge, or was never dispatched: the new call takes its place.
            UPDATE request e SET target = r.own, create_time = clock_timestamp(),
                   until = clock_timestamp() + make_interval(secs => h_seconds[r.ord])
             WHERE e.principal = r.principal AND e.request_id = r.request_id;
            CONTINUE;
          END IF;
        END IF;
      END IF;
      CASE r.grp WHEN 'f' THEN skip_f := skip_f || r.ord;
                 WHEN 'h' THEN skip_h := skip_h || r.ord;
                 ELSE          skip_t := skip_t || r.ord; END CASE;
      grp := r.grp; ord := r.ord; target := r.target;
      posted := NULL; pending := NULL; short_account := NULL;
      RETURN NEXT;
    END LOOP;
  END IF;

  -- 0b. Payments, after the request ids and before any account, in one order too. Of several that
  -- present one payment at the same time the first makes it, and the others wait for its end.
  IF cardinality(array_remove(t_payment, NULL)) > 0 THEN
    IF (SELECT count(*) <> count(DISTINCT (a, b)) FROM unnest(t_network, t_payment) x(a, b)
         WHERE b IS NOT NULL)
    THEN RAISE EXCEPTION 'a payment stands twice in one batch' USING ERRCODE = 'OM003'; END IF;
    INSERT INTO payment (network, payment_id, posting, wallet, amount)
    SELECT t.network, t.payment, t.id, t.wallet, t.amount
      FROM unnest(t_network, t_payment, t_id, t_wallet, t_amount)
           WITH ORDINALITY AS t(network, payment, id, wallet, amount, ord)
     WHERE t.payment IS NOT NULL AND t.ord <> ALL (skip_t)
     ORDER BY t.network, t.payment
    ON CONFLICT DO NOTHING;
    -- A new statement sees what that waited for.
    FOR r IN
      SELECT t.ord, e.posting, e.amount, e.wallet = t.wallet AND e.amount = t.amount AS same
        FROM unnest(t_network, t_payment, t_id, t_wallet, t_amount)
             WITH ORDINALITY AS t(network, payment, id, wallet, amount, ord)
        JOIN payment e ON e.network = t.network AND e.payment_id = t.payment
       WHERE t.ord <> ALL (skip_t) AND e.posting <> t.id
    LOOP
      skip_t := skip_t || r.ord::int;
      grp := 't'; ord := r.ord; target := r.posting; amount := r.amount; until := NULL;
      posted := NULL; pending := NULL; short_account := NULL;
      rc := CASE WHEN r.same THEN 6 ELSE 12 END;
      RETURN NEXT;
    END LOOP;
  END IF;

  -- 1. Lock every account that the batch touches, in one statement and one order. The accounts of
  -- a hold never change, so where each final found its hold nothing needs a second look.
  held_finals := 0;
  IF cardinality(f_id) > 0 THEN
    SELECT count(DISTINCT x.id), array_agg(x.acct) INTO held_finals, ids
      FROM (SELECT h.id, unnest(h.wallet || h.legs) AS acct FROM hold h WHERE h.id = ANY (f_id)) x;
  END IF;
  ids := ARRAY[revenue, losses] || h_wallet || t_wallet || ids;
  has_legs := cardinality(array_remove(h_legs, NULL)) > 0;
  IF has_legs THEN
    ids := ids || ARRAY(SELECT unnest(l::bigint[]) FROM unnest(h_legs) l WHERE l IS NOT NULL);
  END IF;
  IF cardinality(t_id) > 0 THEN
    ids := ids || funding
               || ARRAY(SELECT unnest(g.wallet || g.legs) FROM posting g WHERE g.id = ANY (t_of));
  END IF;
  IF held_finals < cardinality(f_id) THEN
    ids := ids || ARRAY(SELECT unnest(g.wallet || g.legs) FROM posting g WHERE g.id = ANY (f_id));
  END IF;
  SELECT array_agg(DISTINCT x) INTO ids FROM unnest(ids) x;
  PERFORM 1 FROM account a WHERE a.id = ANY (ids) ORDER BY a.id FOR NO KEY UPDATE;
  GET DIAGNOSTICS found = ROW_COUNT;
  IF found <> cardinality(ids) THEN
    RAISE EXCEPTION 'unknown account in %', ids USING ERRCODE = 'OM002';
  END IF;
  -- Each later statement takes a new snapshot, so it sees what the lock waited for. A hold that
  -- was committed meanwhile may name an account that is not locked: begin again, in order.
  IF (held_finals < cardinality(f_id) AND (
        EXISTS (SELECT FROM hold h WHERE h.id = ANY (f_id) AND NOT (h.wallet || h.legs) <@ ids) OR
        EXISTS (SELECT FROM posting g WHERE g.id = ANY (f_id) AND NOT (g.wallet || g.legs) <@ ids)))
     OR (cardinality(t_of) > 0 AND
        EXISTS (SELECT FROM posting g WHERE g.id = ANY (t_of) AND NOT (g.wallet || g.legs) <@ ids))
  THEN
    RAISE EXCEPTION 'a hold appeared while its accounts were being locked' USING ERRCODE = 'OM001';
  END IF;

  -- 2. Finals of holds that are there: nearly all. An origin reaches only its own holds, and a
  -- caller only those of its own wallet. Others than the owner end unresolved holds only.
  IF cardinality(f_id) > 0 THEN
    RETURN QUERY
    WITH gone AS (
      DELETE FROM hold h
       USING unnest(f_id, f_kind, f_origin, f_decider, f_wallet, f_cost, f_leg_costs, f_outcome,
             f_estimated, f_prompt, f_cached_read, f_cached_write, f_prompt_audio, f_completion,
             f_reasoning, f_completion_audio, f_provider_ref, f_rare_counts)
             WITH ORDINALITY AS f(id, kind, origin, decider, wallet, cost, leg_costs, outcome,
             estimated, prompt, cached_read, cached_write, prompt_audio, completion, reasoning,
             completion_audio, provider_ref, rare_counts, ord)
       WHERE h.id = f.id AND h.origin = f.origin AND (f.wallet IS NULL OR f.wallet = h.wallet)
         AND f.ord <> ALL (skip_f) AND (f.decider = 'o' OR f.kind = 'L' OR h.state = 'U')
         AND CASE f.kind WHEN 'S' THEN f.origin = 'r' OR f.cost <= h.amount
                         WHEN 'L' THEN h.origin = 'a' AND h.lease_until < clock_timestamp()
                         ELSE f.kind IN ('V', 'W') END
         AND (held_finals = cardinality(f_id) OR (h.wallet || h.legs) <@ ids)
      RETURNING f.*, h.amount AS held, h.legs, h.leg_amounts, h.model, h.price_version,
                h.markup_ppm, h.key_id, h.wallet AS payer,
                coalesce(f.provider_ref, h.provider_ref) AS reference,
                CASE f.kind WHEN 'S' THEN least(f.cost, h.amount) ELSE 0 END AS charged,
                CASE f.kind WHEN 'S' THEN greatest(f.cost - h.amount, 0)
                            WHEN 'W' THEN f.cost ELSE 0 END AS loss),
    entered AS MATERIALIZED (
      SELECT g.*,
             CASE WHEN g.kind = 'S' AND g.legs IS NOT NULL THEN (
               SELECT array_agg(least(coalesce(c, g.cost), m) ORDER BY k)
                 FROM unnest(g.leg_costs::bigint[], g.leg_amounts) WITH ORDINALITY z(c, m, k)
                WHERE m IS NOT NULL) END AS leg_charged,
             CASE WHEN g.charged > 0 THEN a.entry_count + count(*) FILTER (WHERE g.charged > 0)
                  OVER (PARTITION BY g.payer ORDER BY g.ord) END AS entry,
             CASE WHEN g.charged > 0 THEN a.credits_posted - a.debits_posted - sum(g.charged)
                  OVER (PARTITION BY g.payer ORDER BY g.ord) END AS balance_after,
             a.credits_posted - a.debits_posted AS posted_before, a.debits_pending AS pending_before
        FROM gone g JOIN account a ON a.id = g.payer),
    posted AS (
      INSERT INTO posting (id, kind, origin, decider, wallet, amount, legs, leg_amounts, leg_held,
                           held, loss, other_account, loss_account, entry, balance_after)
      SELECT id, CASE WHEN kind IN ('S', 'W') THEN kind ELSE 'V'::"char" END, origin,
             CASE kind WHEN 'L' THEN 't'::"char" ELSE decider END, payer, charged, legs,
             leg_charged, leg_amounts, held, loss, CASE WHEN kind IN ('S', 'W') THEN revenue END,
             CASE WHEN loss > 0 THEN losses END, entry, balance_after
        FROM entered),
    used AS (
      INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm,
          outcome, estimated, prompt, cached_read, cached_write, prompt_audio,
          completion, reasoning, completion_audio, provider_ref, rare_counts)
      SELECT id, payer, key_id, model, price_version, markup_ppm, outcome,
             estimated, prompt, cached_read, cached_write, prompt_audio, completion, reasoning,
             completion_audio, reference, rare_counts::bigint[]
        FROM gone WHERE origin = 'r'),
    delta AS (
      SELECT acct, sum(c)::bigint AS charged, sum(fr)::bigint AS freed,
             sum(e)::bigint AS entries, sum(cr)::bigint AS credited
        FROM (SELECT payer AS acct, charged AS c, held AS fr, (charged > 0)::int AS e, 0 AS cr
                FROM entered
              UNION ALL
              SELECT z.a, coalesce(z.c, 0), coalesce(z.m, 0), (coalesce(z.c, 0) > 0)::int, 0
                FROM entered w, unnest(w.legs, w.leg_charged, w.leg_amounts) z(a, c, m)
              UNION ALL SELECT revenue, 0, 0, 0, charged + loss FROM entered
              UNION ALL SELECT losses, loss, 0, 0, 0 FROM entered WHERE loss > 0) y
       GROUP BY acct),
    moved AS (
      UPDATE account a SET debits_posted = a.debits_posted + d.charged,
             debits_pending = a.debits_pending - d.freed,
             credits_posted = a.credits_posted + d.credited,
             entry_count = a.entry_count + d.entries
        FROM delta d WHERE a.id = d.acct AND (d.charged, d.freed, d.credited) <> (0, 0, 0)
      RETURNING a.id, a.credits_posted - a.debits_posted AS posted, a.debits_pending AS pending)
    SELECT 'f'::"char", e.ord::int, 0::smallint, e.id, e.charged,
           coalesce(v.posted, e.posted_before), coalesce(v.pending, e.pending_before),
           NULL::bigint, NULL::timestamptz
      FROM entered e LEFT JOIN moved v ON v.id = e.payer;
    GET DIAGNOSTICS found = ROW_COUNT;
  END IF;

  -- The others: holds that stay, holds that were ended before, and those that nobody knows. One
  -- that came just now was not locked, and one that was ended or renewed just now is not what was
  -- seen: begin again.
  IF found + cardinality(skip_f) < cardinality(f_id) THEN
    FOR grp, ord, rc, target, amount, posted, pending, short_account, until IN
    WITH f AS MATERIALIZED (
      SELECT * FROM unnest(f_id, f_kind, f_origin, f_decider, f_wallet, f_cost, f_leg_costs,
          f_outcome, f_estimated, f_prompt, f_cached_read, f_cached_write, f_prompt_audio,
          f_completion, f_reasoning, f_completion_audio, f_provider_ref, f_rare_counts)
        WITH ORDINALITY AS t(id, kind, origin, decider, wallet, cost, leg_costs, outcome,
          estimated, prompt, cached_read, cached_write, prompt_audio, completion, reasoning,
          completion_audio, provider_ref, rare_counts, ord)
       WHERE t.ord <> ALL (skip_f) AND NOT EXISTS (  -- not ended just now
             SELECT FROM posting p
              WHERE p.id = t.id AND p.n = 0 AND p.xmin = pg_current_xact_id()::xid)),
    mine AS MATERIALIZED (
      SELECT f.id, f.kind, f.provider_ref, h.state, h.origin, h.lease_until,
             f.decider = 'o' OR f.kind = 'L' OR h.state = 'U' AS may,
             CASE f.kind WHEN 'S' THEN f.origin = 'r' OR f.cost <= h.amount
                         WHEN 'L' THEN h.origin = 'a' AND h.lease_until < clock_timestamp()
                         ELSE f.kind IN ('V', 'W') END AS ends,
             h.origin = 'r' AND h.state = 'O' AND (
               f.kind = 'U' OR (f.kind = 'L' AND h.lease_until < clock_timestamp())) AS parts
        FROM f JOIN hold h USING (id, origin) WHERE f.wallet IS NULL OR f.wallet = h.wallet),
    unknown AS (
      UPDATE hold h SET state = 'U', provider_ref = coalesce(m.provider_ref, h.provider_ref)
        FROM mine m
       WHERE h.id = m.id AND m.parts AND h.state = 'O'
         AND (m.kind = 'U' OR h.lease_until < clock_timestamp())
      RETURNING h.id),
    -- Its owner may know more than whoever ended its lease.
    named AS (
      UPDATE hold h SET provider_ref = m.provider_ref FROM mine m
       WHERE h.id = m.id AND m.kind = 'U' AND m.state = 'U' AND h.provider_ref IS NULL
         AND m.provider_ref IS NOT NULL),
    -- A settle by the router is posted all the same after a void or a write-off that it did not
    -- decide, and corrects a smaller one that was an estimate: as far as the wallet has room, the
    -- rest is the operator's loss. What a write-off had booked as that loss is given back.
    late AS (
      SELECT f.*, g.held, g.wallet AS payer, f.cost - g.said AS more, g.reversed, g.legs,
             g.leg_charged AS leg_before, g.leg_held,
             greatest(least(g.due, a.credits_posted - a.debits_posted - a.debits_pending
               - coalesce(sum(g.due) OVER (
                   PARTITION BY g.wallet ORDER BY f.ord
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)), 0)::bigint AS charged
        FROM f
        CROSS JOIN LATERAL (
          SELECT p.held, p.wallet, p.legs, p.leg_amounts AS leg_charged, p.leg_held,
                 CASE p.kind WHEN 'S' THEN p.amount + p.loss ELSE 0 END AS said,
                 CASE p.kind WHEN 'W' THEN p.loss ELSE 0 END AS reversed,
                 least(f.cost, p.held) - p.amount AS due
            FROM posting p
           WHERE p.id = f.id AND p.n = 0 AND p.origin = 'r'
             AND (f.wallet IS NULL OR f.wallet = p.wallet) AND CASE p.kind
                   WHEN 'S' THEN f.cost > p.amount + p.loss AND EXISTS (
                     SELECT FROM usage_record u WHERE u.hold_id = f.id AND u.estimated)
                   ELSE p.decider <> 'o' END OFFSET 0) g
        JOIN account a ON a.id = g.wallet
       WHERE f.kind = 'S' AND f.origin = 'r'
         AND NOT EXISTS (SELECT FROM posting l WHERE l.id = f.id AND l.n = 1)),
    entered AS MATERIALIZED (
      SELECT l.*, l.more - l.charged AS loss,
             -- A budget window counts what was charged, or its own cost, up to what it had held.
             CASE WHEN l.legs IS NOT NULL THEN (
               SELECT array_agg(greatest(0, least(
                        coalesce(c - coalesce(b, 0), l.charged), m - coalesce(b, 0))) ORDER BY k)
                 FROM unnest(l.leg_costs::bigint[], l.leg_before, l.leg_held, l.legs)
                      WITH ORDINALITY z(c, b, m, a, k)
                WHERE a IS NOT NULL) END AS leg_charged,
             CASE WHEN l.charged > 0 THEN a.entry_count + count(*) FILTER (WHERE l.charged > 0)
                  OVER (PARTITION BY l.payer ORDER BY l.ord) END AS entry,
             CASE WHEN l.charged > 0 THEN a.credits_posted - a.debits_posted - sum(l.charged)
                  OVER (PARTITION BY l.payer ORDER BY l.ord) END AS balance_after,
             a.credits_posted - a.debits_posted AS posted_before, a.debits_pending AS pending_now
        FROM late l JOIN account a ON a.id = l.payer),
    posted AS (
      INSERT INTO posting (id, n, kind, origin, decider, wallet, amount, legs, leg_amounts, held,
                           loss, reversed, other_account, loss_account, entry, balance_after)
      SELECT id, 1, 'S', 'r', decider, payer, charged, legs, leg_charged, held, loss,
             CASE WHEN reversed > 0 THEN reversed END, revenue,
             CASE WHEN loss > 0 OR reversed > 0 THEN losses END, entry, balance_after
        FROM entered),
    -- A late settle's usage replaces that of the word which it corrects.
    corrected AS (
      UPDATE usage_record u SET outcome = l.outcome, estimated = l.estimated, prompt = l.prompt,
             cached_read = l.cached_read, cached_write = l.cached_write,
             prompt_audio = l.prompt_audio, completion = l.completion, reasoning = l.reasoning,
             completion_audio = l.completion_audio, rare_counts = l.rare_counts::bigint[],
             provider_ref = coalesce(l.provider_ref, u.provider_ref)
        FROM late l WHERE u.hold_id = l.id),
    delta AS (
      SELECT acct, sum(c)::bigint AS charged, sum(e)::bigint AS entries, sum(cr)::bigint AS credited
        FROM (SELECT payer AS acct, charged AS c, (charged > 0)::int AS e, 0 AS cr FROM entered
              UNION ALL SELECT z.a, z.c, (z.c > 0)::int, 0
                FROM entered w, unnest(w.legs, w.leg_charged) z(a, c) WHERE z.c IS NOT NULL
              UNION ALL SELECT revenue, reversed, 0, charged + loss FROM entered
              UNION ALL SELECT losses, loss, 0, reversed FROM entered) y
       GROUP BY acct),
    moved AS (
      UPDATE account a SET debits_posted = a.debits_posted + d.charged,
             credits_posted = a.credits_posted + d.credited,
             entry_count = a.entry_count + d.entries
        FROM delta d WHERE a.id = d.acct AND (d.charged, d.credited) <> (0, 0)
      RETURNING a.id, a.credits_posted - a.debits_posted AS posted),
    earlier AS (
      SELECT g.id, (array_agg(g.kind ORDER BY g.n DESC))[1] AS kind,
             (array_agg(g.origin))[1] AS origin, min(g.wallet) AS wallet,
             sum(g.amount)::bigint AS amount,
             (sum(g.amount) + sum(g.loss) FILTER (WHERE g.kind = 'S'))::bigint AS cost
        FROM posting g JOIN f USING (id) GROUP BY g.id)
    SELECT 'f'::"char", f.ord::int, (CASE
             WHEN e.payer <> ALL (ids) OR (m.may AND m.ends) OR (m.parts AND u.id IS NULL) THEN -1
             WHEN e.id IS NOT NULL THEN 0
             WHEN u.id IS NOT NULL THEN 0
             WHEN m.id IS NOT NULL AND NOT m.may THEN 11
             WHEN m.id IS NOT NULL AND m.kind = 'S' THEN 7
             WHEN m.id IS NOT NULL AND m.kind = 'U' THEN 1
             WHEN m.id IS NOT NULL AND m.state = 'U' THEN 1
             WHEN m.id IS NOT NULL THEN 8
             WHEN b.id IS NULL OR b.origin <> f.origin OR f.wallet <> b.wallet THEN 3
             WHEN f.kind = 'S' AND b.kind = 'S' AND b.cost = f.cost THEN 1
             WHEN f.kind IN ('V', 'L') AND b.kind = 'V' THEN 1
             WHEN f.kind = 'W' AND b.kind = 'W' THEN 1
             WHEN f.kind = 'L' THEN 1
             ELSE 2 END)::smallint,
           f.id, coalesce(e.charged, b.amount), coalesce(v.posted, e.posted_before),
           e.pending_now, NULL::bigint, NULL::timestamptz
      FROM f LEFT JOIN entered e ON e.id = f.id LEFT JOIN unknown u ON u.id = f.id
             LEFT JOIN mine m ON m.id = f.id LEFT JOIN earlier b ON b.id = f.id
             LEFT JOIN moved v ON v.id = e.payer
    LOOP
      IF rc < 0 THEN
        RAISE EXCEPTION 'a hold came or went just now' USING ERRCODE = 'OM001';
      END IF;
      RETURN NEXT;
    END LOOP;
  END IF;

  -- 3. Transfers, one after the other; they are few. Grants (G) and refunds (R) make room as well;
  -- of a grant that expires (E) goes what is neither spent nor reserved.
  IF cardinality(t_id) > 0 THEN
    FOR r IN
      SELECT t.*, g.amount AS done
        FROM unnest(t_id, t_kind, t_wallet, t_amount, t_reference, t_of, t_expires)
             WITH ORDINALITY AS t(id, kind, wallet, amount, reference, of, expires, ord)
        LEFT JOIN LATERAL (SELECT * FROM posting x WHERE x.id = t.id AND x.n = 0 OFFSET 0) g ON true
       WHERE t.ord <> ALL (skip_t) ORDER BY t.ord
    LOOP
      code := 0; grant_amount := r.amount; leg_ids := NULL; leg_grant := NULL;
      posted := NULL; pending := NULL; short_account := NULL; until := NULL;
      IF r.done IS NOT NULL THEN
        code := 1; grant_amount := r.done;
      ELSIF r.kind = 'R' THEN
        SELECT sum(g.amount) INTO charged FROM posting g
         WHERE g.id = r.of AND g.wallet = r.wallet AND g.kind = 'S';
        SELECT coalesce(sum(g.amount), 0) INTO refunded FROM posting g
         WHERE g.of = r.of AND g.kind = 'R';
        IF charged IS NULL THEN
          code := 3; grant_amount := NULL;
        ELSIF refunded + r.amount > charged THEN
          code := 7; grant_amount := charged - refunded;
        ELSE
          -- Back into the budget windows that were charged, in proportion to all that was refunded;
          -- less what they were given back before, since a correction may have raised the charge.
          SELECT g.legs, (SELECT array_agg(greatest(0,
                                   div((SELECT coalesce(sum(b.leg_amounts[k]), 0) FROM posting b
                                         WHERE b.id = r.of) * (refunded + r.amount), charged)
                                   - coalesce((SELECT sum(b.leg_amounts[k]) FROM posting b
                                                WHERE b.of = r.of AND b.kind = 'R'), 0))::bigint
                                   ORDER BY k)
                            FROM generate_subscripts(g.legs, 1) k)
            INTO leg_ids, leg_grant FROM posting g WHERE g.id = r.of AND g.n = 0;
        END IF;
      ELSIF r.kind = 'E' THEN
        SELECT ledger_lot_unspent(l.id) INTO grant_amount FROM credit_lot l
         WHERE l.id = r.of AND l.wallet = r.wallet;
        code := CASE WHEN grant_amount > 0 THEN 0 ELSE 1 END;
      END IF;
      IF code = 0 THEN
        UPDATE account a
           SET credits_posted = a.credits_posted
                 + CASE r.kind WHEN 'E' THEN 0 ELSE grant_amount END,
               debits_posted = a.debits_posted + CASE r.kind WHEN 'E' THEN grant_amount ELSE 0 END,
               entry_count = a.entry_count + 1
         WHERE a.id = r.wallet
        RETURNING a.entry_count, a.credits_posted, a.credits_posted - a.debits_posted,
                  a.debits_pending
             INTO entry_no, credited, posted, pending;
        UPDATE account a
           SET debits_posted = a.debits_posted + CASE r.kind WHEN 'E' THEN 0 ELSE grant_amount END,
               credits_posted = a.credits_posted + CASE r.kind WHEN 'E' THEN grant_amount ELSE 0 END
         WHERE a.id = CASE r.kind WHEN 'R' THEN revenue ELSE funding END;
        UPDATE account a
           SET credits_posted = a.credits_posted + x.m, entry_count = a.entry_count + 1
          FROM unnest(leg_ids, leg_grant) x(acct, m) WHERE a.id = x.acct AND x.m > 0;
        INSERT INTO posting (id, kind, origin, decider, wallet, amount, legs, leg_amounts,
                             other_account, entry, balance_after, reference, of)
        VALUES (r.id, r.kind, 'o', CASE r.kind WHEN 'E' THEN 't'::"char" ELSE 'o' END, r.wallet,
                grant_amount, leg_ids, leg_grant,
                CASE r.kind WHEN 'R' THEN revenue ELSE funding END,
                entry_no, posted, r.reference, r.of);
        IF r.expires IS NOT NULL THEN
          INSERT INTO credit_lot (id, wallet, amount, expire_time, credited_after)
          VALUES (r.id, r.wallet, grant_amount, r.expires, credited);
        END IF;
      END IF;
      IF r.kind = 'E' THEN
        UPDATE credit_lot l SET expired = l.expired + CASE code WHEN 0 THEN grant_amount ELSE 0 END
         WHERE l.id = r.of;
        UPDATE credit_lot l SET open = false WHERE l.id = r.of AND ledger_lot_left(r.of) <= 0;
      END IF;
      grp := 't'; ord := r.ord; rc := code; target := r.id; amount := grant_amount;
      RETURN NEXT;
    END LOOP;
  END IF;

  -- 4. Holds: which accounts cannot take the whole batch at its largest?
  IF cardinality(h_id) > 0 THEN
    ok_amount := array_fill(NULL::bigint, ARRAY[cardinality(h_id)]);
    ok_legs := array_fill(NULL::text, ARRAY[cardinality(h_id)]);
    ok_until := array_fill(NULL::timestamptz, ARRAY[cardinality(h_id)]);
    accounts := h_wallet; needs := h_max;
    IF has_legs THEN
      SELECT h_wallet || array_agg(y.a ORDER BY x.o, y.o), h_max || array_agg(y.m ORDER BY x.o, y.o)
        INTO accounts, needs
        FROM unnest(h_legs, h_leg_maxs) WITH ORDINALITY x(l, m, o),
             unnest(l::bigint[], m::bigint[]) WITH ORDINALITY y(a, m, o) WHERE l IS NOT NULL;
    END IF;
    SELECT array_agg(s.acct), array_agg(s.room), array_agg(s.posted), array_agg(s.pending)
      INTO tight, room, owned, waiting
      FROM (
        SELECT a.id AS acct, v.room, v.posted, a.debits_pending AS pending
          FROM (SELECT acct, sum(need) AS need FROM unnest(accounts, needs) z(acct, need)
                 GROUP BY acct) n
          JOIN account a ON a.id = n.acct
          CROSS JOIN LATERAL (SELECT
            a.credits_posted - a.debits_posted AS posted,
            a.credits_posted - a.debits_posted - a.debits_pending + coalesce(a.debit_limit, 0)
              AS room) v
         WHERE (a.kind = 1 OR (a.kind = 2 AND a.debit_limit IS NOT NULL)) AND n.need > v.room) s;
    accounts := '{}'; takes := '{}';

    -- 5. Decide in arrival order. A hold that fits only in part is granted what the tightest of
    -- its accounts can take, if that is at least its minimum; the others in proportion.
    FOR r IN
      SELECT t.ord::int AS ord, t.id, t.origin, t.wallet, t.low, t.high, t.legs, t.lows, t.highs,
             o.id AS open_id, o.amount AS open_amount, o.wallet AS open_wallet, o.state,
             o.owner, o.epoch, o.lease_until, g.id AS final_id, g.kind AS final_kind
        FROM unnest(h_id, h_origin, h_wallet, h_min, h_max, h_legs, h_leg_mins, h_leg_maxs)
             WITH ORDINALITY AS t(id, origin, wallet, low, high, legs, lows, highs, ord)
        LEFT JOIN LATERAL (SELECT * FROM hold x WHERE x.id = t.id OFFSET 0) o ON true
        LEFT JOIN LATERAL (SELECT * FROM posting x WHERE x.id = t.id AND x.n = 0 OFFSET 0) g ON true
       WHERE t.ord <> ALL (skip_h)
       ORDER BY t.ord
    LOOP
      code := 0; who := NULL; grant_amount := r.high; leg_grant := NULL; until := NULL;
      IF r.open_id IS NOT NULL THEN
        -- Sent again: the same content of the same life is still held; anything else is not.
        grant_amount := r.open_amount; until := r.lease_until;
        code := CASE WHEN r.open_wallet = r.wallet AND r.open_amount BETWEEN r.low AND r.high
                      AND r.state = 'O' AND r.owner = p_owner AND r.epoch = p_epoch
                     THEN 1 ELSE 2 END;
      ELSIF r.final_id IS NOT NULL THEN code := 2; grant_amount := NULL;
      ELSE
        IF r.legs IS NOT NULL THEN
          leg_ids := r.wallet || r.legs::bigint[];
          leg_min := r.low || r.lows::bigint[]; leg_max := r.high || r.highs::bigint[];
          leg_grant := r.highs::bigint[];
        END IF;
        IF tight IS NOT NULL THEN
          worst := NULL;
          IF r.legs IS NULL THEN
            p := array_position(tight, r.wallet);
            IF p IS NOT NULL THEN
              -- A hold that asks for nothing at least is always granted: it brings back a lost one.
              IF room[p] < r.low AND r.low > 0 THEN code := 4; who := p;
              ELSE grant_amount := greatest(r.low, least(r.high, room[p]));
                   room[p] := room[p] - grant_amount;
                   waiting[p] := waiting[p] + grant_amount; END IF;
            END IF;
          ELSE
            FOR i IN 1 .. cardinality(leg_ids) LOOP
              p := array_position(tight, leg_ids[i]);
              CONTINUE WHEN p IS NULL OR room[p] >= leg_max[i];
              IF room[p] < leg_min[i] AND leg_min[i] > 0 THEN code := 4; who := p; EXIT; END IF;
              CONTINUE WHEN leg_max[i] = leg_min[i];  -- nothing is asked of it
              -- room[p] < leg_max[i], so the share is below one and the divisor above zero
              IF worst IS NULL OR greatest(0, room[p] - leg_min[i])::numeric * worst_den
                                  < worst_num * (leg_max[i] - leg_min[i]) THEN
                worst := i; worst_num := greatest(0, room[p] - leg_min[i]);
                worst_den := leg_max[i] - leg_min[i];
              END IF;
            END LOOP;
            IF code = 0 AND worst IS NOT NULL THEN
              FOR i IN 1 .. cardinality(leg_ids) LOOP
                leg_max[i] := leg_min[i]
                  + div((leg_max[i] - leg_min[i])::numeric * worst_num, worst_den)::bigint;
              END LOOP;
              grant_amount := leg_max[1]; leg_grant := leg_max[2:];
            END IF;
            IF code = 0 THEN
              FOR i IN 1 .. cardinality(leg_ids) LOOP
                p := array_position(tight, leg_ids[i]);
                IF p IS NOT NULL THEN room[p] := room[p] - leg_max[i];
                                      waiting[p] := waiting[p] + leg_max[i]; END IF;
              END LOOP;
            END IF;
          END IF;
        END IF;
      END IF;
      IF code = 0 THEN
        until := clock_timestamp() + make_interval(secs => h_seconds[r.ord]);
        ok_amount[r.ord] := grant_amount; ok_legs[r.ord] := leg_grant::text;
        ok_until[r.ord] := until;
        accounts := accounts || r.wallet; takes := takes || grant_amount;
        IF leg_grant IS NOT NULL THEN
          accounts := accounts || r.legs::bigint[]; takes := takes || leg_grant;
        END IF;
      END IF;
      grp := 'h'; ord := r.ord; rc := code; target := r.id;
      amount := CASE WHEN code IN (0, 1) THEN grant_amount END;
      short_account := tight[who]; posted := owned[who]; pending := waiting[who];
      RETURN NEXT;
    END LOOP;

    -- 6. Write what was granted.
    INSERT INTO hold (id, origin, wallet, amount, legs, leg_amounts, key_id, model, credential,
                      price_version, markup_ppm, owner, epoch, lease_until)
    SELECT id, origin, wallet, amount, legs::bigint[], leg_amounts::bigint[], key, model,
           credential, price_version, markup_ppm, p_owner, p_epoch, until
      FROM unnest(h_id, h_origin, h_wallet, h_legs, h_key, h_model, h_credential,
                  h_price_version, h_markup_ppm, ok_amount, ok_legs, ok_until)
           AS h(id, origin, wallet, legs, key, model, credential, price_version, markup_ppm,
                amount, leg_amounts, until)
     WHERE amount IS NOT NULL;
    UPDATE account a SET debits_pending = a.debits_pending + s.taken
      FROM (SELECT acct, sum(m)::bigint AS taken FROM unnest(accounts, takes) z(acct, m)
             GROUP BY acct) s
     WHERE a.id = s.acct;
  END IF;

  -- 7. A request id remembers what was done; one whose operation was refused is free again.
  IF cardinality(q_group) > 0 THEN
    UPDATE request e
       SET amount = CASE q.grp WHEN 'h' THEN CASE e.operation WHEN 'H' THEN h.amount END
                               WHEN 't' THEN t_amount[q.ord]
                               ELSE g.amount END,
           until = h.lease_until
      FROM unnest(q_group, q_ord, q_principal, q_request_id) AS q(grp, ord, principal, request_id)
      LEFT JOIN hold h ON q.grp = 'h' AND h.id = h_id[q.ord]
      LEFT JOIN posting g ON q.grp = 'f' AND g.id = f_id[q.ord] AND g.n = 0
     WHERE e.principal = q.principal AND e.request_id = q.request_id
       AND e.xmin = pg_current_xact_id()::xid;
    DELETE FROM request e
     USING unnest(q_group, q_ord, q_principal, q_request_id) AS q(grp, ord, principal, request_id)
     WHERE e.principal = q.principal AND e.request_id = q.request_id
       AND e.xmin = pg_current_xact_id()::xid
       AND CASE q.grp
             WHEN 'h' THEN NOT EXISTS (SELECT FROM hold h WHERE h.id = h_id[q.ord])
             WHEN 't' THEN NOT EXISTS (SELECT FROM posting g WHERE g.id = t_id[q.ord])
             ELSE NOT EXISTS (
               SELECT FROM posting g
                WHERE g.id = f_id[q.ord] AND g.kind = f_kind[q.ord] AND g.origin = 'a'
                  AND g.wallet = f_wallet[q.ord]
                  AND (g.kind = 'V' OR g.amount = f_cost[q.ord])) END;
  END IF;

  -- 8. Chats that end: D, done and settled, with the answer where it is kept; F, failed without a
  -- charge, so that its request id is free for a new attempt.
  IF cardinality(r_call) > 0 THEN
    INSERT INTO request_answer (call_id, sealed)
    SELECT DISTINCT ON (x.call) x.call, x.answer
      FROM unnest(r_principal, r_request_id, r_call, r_state, r_answer)
           AS x(principal, request_id, call, state, answer)
      CROSS JOIN LATERAL (
        SELECT e.target FROM request e
         WHERE e.principal = x.principal AND e.request_id = x.request_id
           AND e.operation = 'C' OFFSET 0) e
     WHERE x.state = 'D' AND e.target = x.call
       AND EXISTS (SELECT FROM posting g
                    WHERE g.id BETWEEN x.call AND ledger_last_attempt(x.call) AND g.kind = 'S')
     ORDER BY x.call
    ON CONFLICT DO NOTHING;
    IF 'F' = ANY (r_state) THEN
      DELETE FROM request e
       USING unnest(r_principal, r_request_id, r_call, r_state)
             AS x(principal, request_id, call, state)
       WHERE e.principal = x.principal AND e.request_id = x.request_id AND x.state = 'F'
         AND e.operation = 'C' AND e.target = x.call
         AND NOT EXISTS (SELECT FROM request_answer a WHERE a.call_id = x.call)
         AND NOT EXISTS (SELECT FROM hold h
                          WHERE h.id BETWEEN x.call AND ledger_last_attempt(x.call))
         AND NOT EXISTS (SELECT FROM posting g
                          WHERE g.id BETWEEN x.call AND ledger_last_attempt(x.call)
                            AND g.kind = 'S' AND g.amount > 0);
      -- What stays was charged, or nobody knows it; its call is over, so a repeat is told that now.
      UPDATE request e SET until = clock_timestamp()
        FROM unnest(r_principal, r_request_id, r_call, r_state)
             AS x(principal, request_id, call, state)
       WHERE e.principal = x.principal AND e.request_id = x.request_id AND x.state = 'F'
         AND e.operation = 'C' AND e.target = x.call;
    END IF;
    RETURN QUERY
    SELECT 'r'::"char", x.ord, 0::smallint, x.call, NULL::bigint, NULL::bigint, NULL::bigint,
           NULL::bigint, NULL::timestamptz
      FROM unnest(r_ord, r_call) AS x(ord, call) WHERE x.ord IS NOT NULL;
  END IF;
END $$;

-- The arguments of the version before, which knew no payments.
CREATE OR REPLACE FUNCTION ledger_apply(
  p_owner text, p_epoch bigint, p_lane integer,
  f_id uuid[] DEFAULT '{}', f_kind "char"[] DEFAULT '{}', f_origin "char"[] DEFAULT '{}',
  f_decider "char"[] DEFAULT '{}', f_wallet bigint[] DEFAULT '{}', f_cost bigint[] DEFAULT '{}',
  f_leg_costs text[] DEFAULT '{}', f_outcome "char"[] DEFAULT '{}',
  f_estimated boolean[] DEFAULT '{}', f_prompt bigint[] DEFAULT '{}',
  f_cached_read bigint[] DEFAULT '{}', f_cached_write bigint[] DEFAULT '{}',
  f_prompt_audio bigint[] DEFAULT '{}', f_completion bigint[] DEFAULT '{}',
  f_reasoning bigint[] DEFAULT '{}', f_completion_audio bigint[] DEFAULT '{}',
  f_provider_ref text[] DEFAULT '{}', f_rare_counts text[] DEFAULT '{}',
  h_id uuid[] DEFAULT '{}', h_origin "char"[] DEFAULT '{}', h_wallet bigint[] DEFAULT '{}',
  h_min bigint[] DEFAULT '{}', h_max bigint[] DEFAULT '{}', h_legs text[] DEFAULT '{}',
  h_leg_mins text[] DEFAULT '{}', h_leg_maxs text[] DEFAULT '{}',
  h_seconds integer[] DEFAULT '{}', h_key bigint[] DEFAULT '{}', h_model text[] DEFAULT '{}',
  h_credential text[] DEFAULT '{}', h_price_version bigint[] DEFAULT '{}',
  h_markup_ppm integer[] DEFAULT '{}',
  t_id uuid[] DEFAULT '{}', t_kind "char"[] DEFAULT '{}', t_wallet bigint[] DEFAULT '{}',
  t_amount bigint[] DEFAULT '{}', t_reference text[] DEFAULT '{}', t_of uuid[] DEFAULT '{}',
  t_expires timestamptz[] DEFAULT '{}',
  q_group "char"[] DEFAULT '{}', q_ord integer[] DEFAULT '{}', q_principal bigint[] DEFAULT '{}',
  q_request_id text[] DEFAULT '{}', q_fingerprint bytea[] DEFAULT '{}',
  q_operation "char"[] DEFAULT '{}', q_target uuid[] DEFAULT '{}',
  r_ord integer[] DEFAULT '{}', r_principal bigint[] DEFAULT '{}',
  r_request_id text[] DEFAULT '{}', r_call uuid[] DEFAULT '{}', r_state "char"[] DEFAULT '{}',
  r_answer bytea[] DEFAULT '{}'
) RETURNS TABLE (
  grp "char", ord integer, rc smallint, target uuid, amount bigint, posted bigint, pending bigint,
  short_account bigint, until timestamptz
) LANGUAGE sql VOLATILE AS $$
  SELECT * FROM ledger_apply(
      t_network => '{}'::text[], t_payment => '{}'::text[],
      p_owner => p_owner, p_epoch => p_epoch, p_lane => p_lane, f_id => f_id, f_kind => f_kind,
      f_origin => f_origin, f_decider => f_decider, f_wallet => f_wallet, f_cost => f_cost,
      f_leg_costs => f_leg_costs, f_outcome => f_outcome, f_estimated => f_estimated,
      f_prompt => f_prompt, f_cached_read => f_cached_read, f_cached_write => f_cached_write,
      f_prompt_audio => f_prompt_audio, f_completion => f_completion, f_reasoning => f_reasoning,
      f_completion_audio => f_completion_audio, f_provider_ref => f_provider_ref,
      f_rare_counts => f_rare_counts, h_id => h_id, h_origin => h_origin, h_wallet => h_wallet,
      h_min => h_min, h_max => h_max, h_legs => h_legs, h_leg_mins => h_leg_mins,
      h_leg_maxs => h_leg_maxs, h_seconds => h_seconds, h_key => h_key, h_model => h_model,
      h_credential => h_credential, h_price_version => h_price_version,
      h_markup_ppm => h_markup_ppm, t_id => t_id, t_kind => t_kind, t_wallet => t_wallet,
      t_amount => t_amount, t_reference => t_reference, t_of => t_of, t_expires => t_expires,
      q_group => q_group, q_ord => q_ord, q_principal => q_principal,
      q_request_id => q_request_id, q_fingerprint => q_fingerprint, q_operation => q_operation,
      q_target => q_target, r_ord => r_ord, r_principal => r_principal,
      r_request_id => r_request_id, r_call => r_call, r_state => r_state, r_answer => r_answer)
$$;
