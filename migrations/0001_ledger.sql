-- The ledger: accounts, holds, postings, usage records and requests, and the one function that
-- moves money. Amounts are bigint nano-USD (1e-9 USD). docs/ledger.md tells the whole story.
--
-- There is no trigger, advisory lock, NOTIFY or foreign key here: nothing that a managed or
-- distributed PostgreSQL lacks, and nothing that locks a row which a batch did not name.

-- Money accounts obey double entry: the sum of their credits equals the sum of their debits.
-- Budget windows (kind 2) are memo accounts: they mirror a wallet's debits and limit them.
CREATE TABLE account (
  id             bigint   PRIMARY KEY,
  kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 5),
  -- 1 wallet, 2 budget window, 3 revenue of a lane, 4 funding, 5 operator loss of a lane
  org_id         bigint   CHECK ((org_id IS NOT NULL) = (kind IN (1, 2))),
  credits_posted bigint   NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
  debits_posted  bigint   NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
  debits_pending bigint   NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
  debit_limit    bigint   CHECK (debit_limit IS NULL OR (debit_limit >= 0 AND kind = 2)),
  -- NULL: no limit
  entry_count    bigint   NOT NULL DEFAULT 0,  -- postings that changed it: its commit order
  create_time    timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE UNIQUE INDEX account_wallet_of_org ON account (org_id) WHERE kind = 1;

CREATE SEQUENCE account_id START 1000;
-- Each worker's lane credits its own revenue row, so that no row is shared by all.
CREATE SEQUENCE ledger_lane MINVALUE 0 START 0 MAXVALUE 15 CYCLE;
CREATE SEQUENCE ledger_epoch;

INSERT INTO account (id, kind) VALUES (1, 4);
INSERT INTO account (id, kind) SELECT 100 + n, 3 FROM generate_series(0, 15) n;
INSERT INTO account (id, kind) SELECT 200 + n, 5 FROM generate_series(0, 15) n;

-- Open and unresolved holds only: small and hot. Each router's hold is at once the durable intent
-- to call a provider. A lease, not an expiry, guards it: when the lease ends its money stays
-- reserved until somebody knows what the provider did.
CREATE TABLE hold (
  id            uuid     PRIMARY KEY,   -- of a router's hold: the call's id plus the attempt, 1-15
  state         "char"   NOT NULL DEFAULT 'O' CHECK (state IN ('O', 'U')),  -- open, unresolved
  origin        "char"   NOT NULL CHECK (origin IN ('r', 'a')),             -- router, API
  wallet        bigint   NOT NULL,
  amount        bigint   NOT NULL CHECK (amount >= 0),
  legs          bigint[],               -- budget windows, and what each of them holds
  leg_amounts   bigint[],
  key_id        bigint   NOT NULL,
  model         text,                   -- the router's intent: which offer,
  credential    text,                   -- called with whose credential,
  price_version bigint,                 -- at which price, pinned
  markup_ppm    integer,
  owner         text     NOT NULL,      -- by which worker, in which of its lives
  epoch         bigint   NOT NULL,
  lease_until   timestamptz NOT NULL,
  create_time   timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (cardinality(legs) = cardinality(leg_amounts)),
  CHECK (origin = 'a' OR (model, credential, price_version, markup_ppm) IS NOT NULL)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX hold_lease ON hold (lease_until) WHERE state = 'O';
CREATE INDEX hold_unresolved ON hold (wallet) WHERE state = 'U';

-- The final word on every hold, and every other movement; append-only. `n` is 0 for the first
-- word, 1 for the one correction that may follow it.
CREATE TABLE posting (
  id             uuid     NOT NULL,     -- the hold's id, or the transfer's own
  n              smallint NOT NULL DEFAULT 0 CHECK (n IN (0, 1)),
  kind           "char"   NOT NULL CHECK (kind IN ('S', 'V', 'G')),  -- settle, void, grant
  origin         "char"   NOT NULL CHECK (origin IN ('r', 'a', 'o')), -- router, API, operator
  decider        "char"   NOT NULL CHECK (decider IN ('o', 't', 'p')), -- owner, time, operator
  wallet         bigint   NOT NULL,
  amount         bigint   NOT NULL CHECK (amount >= 0),  -- debited (S) or credited (G)
  legs           bigint[],
  leg_amounts    bigint[],
  held           bigint   NOT NULL DEFAULT 0 CHECK (held >= 0),
  loss           bigint   NOT NULL DEFAULT 0 CHECK (loss >= 0),  -- reported above the hold
  other_account  bigint,                -- revenue (S) or funding (G)
  loss_account   bigint,
  entry          bigint,                -- position in the wallet's commit order
  balance_after  bigint,                -- posted balance of the wallet after this entry
  reference      text,
  create_time    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, n),
  CHECK (kind <> 'V' OR amount = 0),
  CHECK ((entry IS NULL) = (balance_after IS NULL)),
  CHECK ((entry IS NULL) = (amount = 0))
);
CREATE UNIQUE INDEX posting_entry ON posting (wallet, entry) WHERE entry IS NOT NULL;

-- What each attempt used: enough to compute its charge again, for ever. A call's attempts stand
-- side by side in the primary key, from the call's id (whose last four bits are 0) on.
CREATE TABLE usage_record (
  hold_id          uuid     PRIMARY KEY,
  wallet           bigint   NOT NULL,
  key_id           bigint   NOT NULL,
  model            text     NOT NULL,
  price_version    bigint   NOT NULL,
  markup_ppm       integer  NOT NULL,
  outcome          "char"   NOT NULL CHECK (outcome IN ('A', 'R', 'F', 'C')),
  -- answered, refused by the provider, failed, cancelled
  estimated        boolean  NOT NULL,
  prompt           bigint,
  cached_read      bigint,
  cached_write     bigint,
  prompt_audio     bigint,
  completion       bigint,
  reasoning        bigint,
  completion_audio bigint,
  create_time      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Idempotency: what a caller's request id first did. Written in the transaction that does it.
CREATE TABLE request (
  principal   bigint NOT NULL,          -- the caller's organisation
  request_id  text   NOT NULL,
  fingerprint bytea  NOT NULL,          -- of the canonical request
  operation   "char" NOT NULL CHECK (operation IN ('G', 'H', 'S', 'V')),
  target      uuid   NOT NULL,          -- the hold, or the posting of a grant
  amount      bigint,
  until       timestamptz,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (principal, request_id)
);
-- From a grant to who asked for it: the doctor looks for grants that nobody asked for.
CREATE INDEX request_grant ON request (target) WHERE operation = 'G';

-- Opens the one wallet of an organisation. Called in the transaction that creates it.
CREATE FUNCTION ledger_open_wallet(p_org_id bigint) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO account (id, kind, org_id) VALUES (nextval('account_id'), 1, p_org_id) RETURNING id
$$;

-- Applies one batch of operations in one transaction. Finals come first, since they free room;
-- then holds are decided in their order, so that exactly those that fit pass.
--
-- Groups: f_ finals (S settle, V void, L lease end, U outcome not known), h_ holds, t_ transfers,
-- q_ the request ids of some of them (q_group 'f', 'h' or 't', q_ord the position in that group).
-- Legs are written as array literals ('{7,9}'), NULL where there is none.
--
-- One result row an operation. rc:
--   0 done now            1 done before, same content    2 decided before in another way
--   3 no such hold        4 short: posted and pending are of short_account
--   5 request id reused   6 request id repeated: target, amount and until are the first outcome
--   7 more than was held (API only)   8 renewed by its owner meanwhile (L), nothing to do
--
-- SQLSTATE OM001: a hold named other accounts than were locked; send the batch again.
-- SQLSTATE OM002: unknown account. OM003: an id twice in a batch. Split the batch.
CREATE FUNCTION ledger_apply(
  p_owner text, p_epoch bigint, p_lane integer,
  f_id uuid[], f_kind "char"[], f_origin "char"[], f_decider "char"[], f_wallet bigint[],
  f_cost bigint[], f_leg_costs text[], f_outcome "char"[], f_estimated boolean[],
  f_prompt bigint[], f_cached_read bigint[], f_cached_write bigint[], f_prompt_audio bigint[],
  f_completion bigint[], f_reasoning bigint[], f_completion_audio bigint[],
  h_id uuid[], h_origin "char"[], h_wallet bigint[], h_min bigint[], h_max bigint[],
  h_legs text[], h_leg_mins text[], h_leg_maxs text[], h_seconds integer[], h_key bigint[],
  h_model text[], h_credential text[],
  h_price_version bigint[], h_markup_ppm integer[],
  t_id uuid[], t_wallet bigint[], t_amount bigint[], t_reference text[],
  q_group "char"[], q_ord integer[], q_principal bigint[], q_request_id text[],
  q_fingerprint bytea[]
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
  ids bigint[]; found bigint; skip_f int[] := '{}'; skip_h int[] := '{}'; skip_t int[] := '{}';
  tight bigint[]; room bigint[]; owned bigint[]; waiting bigint[];
  r record; i int; p int; code smallint; grant_amount bigint; worst int; worst_num numeric;
  worst_den numeric; leg_ids bigint[]; leg_min bigint[]; leg_max bigint[]; leg_grant bigint[];
  who bigint; ok_ord int[] := '{}'; ok_amount bigint[] := '{}'; ok_legs text[] := '{}';
  ok_until timestamptz[] := '{}';
BEGIN
  IF (SELECT count(*) <> count(DISTINCT x) FROM unnest(f_id || h_id || t_id) x) THEN
    RAISE EXCEPTION 'an id stands twice in one batch' USING ERRCODE = 'OM003';
  END IF;

  -- 0. Request ids, before any account and in one order, so that replicas cannot deadlock.
  IF cardinality(q_group) > 0 THEN
    IF (SELECT count(*) <> count(DISTINCT (a, b)) FROM unnest(q_principal, q_request_id) x(a, b))
    THEN RAISE EXCEPTION 'a request id stands twice in one batch' USING ERRCODE = 'OM003'; END IF;
    INSERT INTO request (principal, request_id, fingerprint, operation, target)
    SELECT q.principal, q.request_id, q.fingerprint,
           CASE q.grp WHEN 'h' THEN 'H'::"char" WHEN 't' THEN 'G'::"char" ELSE f_kind[q.ord] END,
           CASE q.grp WHEN 'h' THEN h_id[q.ord] WHEN 't' THEN t_id[q.ord] ELSE f_id[q.ord] END
      FROM unnest(q_group, q_ord, q_principal, q_request_id, q_fingerprint)
           AS q(grp, ord, principal, request_id, fingerprint)
     ORDER BY q.principal, q.request_id
    ON CONFLICT DO NOTHING;
    -- A new statement sees what that insert waited for. A row with another creator is a repeat;
    -- a settle or release names the same hold each time, so its row is told by its age.
    FOR r IN
      SELECT q.grp, q.ord, e.target, e.amount, e.until, e.fingerprint = q.fingerprint AS same
        FROM unnest(q_group, q_ord, q_principal, q_request_id, q_fingerprint)
             AS q(grp, ord, principal, request_id, fingerprint)
        JOIN request e USING (principal, request_id)
       WHERE e.xmin <> pg_current_xact_id()::xid
    LOOP
      CASE r.grp WHEN 'f' THEN skip_f := skip_f || r.ord;
                 WHEN 'h' THEN skip_h := skip_h || r.ord;
                 ELSE          skip_t := skip_t || r.ord; END CASE;
      grp := r.grp; ord := r.ord; target := r.target; amount := r.amount; until := r.until;
      posted := NULL; pending := NULL; short_account := NULL;
      rc := CASE WHEN r.same THEN 6 ELSE 5 END;
      RETURN NEXT;
    END LOOP;
  END IF;

  -- 1. Lock every account that the batch touches, in one statement and one order.
  SELECT array_agg(DISTINCT x) INTO ids FROM (
    SELECT unnest(ARRAY[revenue, losses] || h_wallet || t_wallet) AS x
    UNION ALL SELECT unnest(l::bigint[]) FROM unnest(h_legs) l WHERE l IS NOT NULL
    UNION ALL SELECT funding WHERE cardinality(t_id) > 0
    UNION ALL SELECT unnest(h.wallet || h.legs) FROM hold h WHERE h.id = ANY (f_id)
    UNION ALL SELECT unnest(g.wallet || g.legs) FROM posting g WHERE g.id = ANY (f_id)) z;
  PERFORM 1 FROM account a WHERE a.id = ANY (ids) ORDER BY a.id FOR NO KEY UPDATE;
  GET DIAGNOSTICS found = ROW_COUNT;
  IF found <> cardinality(ids) THEN
    RAISE EXCEPTION 'unknown account in %', ids USING ERRCODE = 'OM002';
  END IF;
  -- Each later statement takes a new snapshot, so it sees what the lock waited for. A hold that
  -- was committed meanwhile may name an account that is not locked: begin again, in order.
  IF cardinality(f_id) > 0 AND (
    EXISTS (SELECT FROM hold h WHERE h.id = ANY (f_id) AND NOT (h.wallet || h.legs) <@ ids) OR
    EXISTS (SELECT FROM posting g WHERE g.id = ANY (f_id) AND NOT (g.wallet || g.legs) <@ ids)) THEN
    RAISE EXCEPTION 'a hold appeared while its accounts were being locked' USING ERRCODE = 'OM001';
  END IF;

  -- 2. Finals.
  IF cardinality(f_id) > 0 THEN
    RETURN QUERY
    WITH f AS MATERIALIZED (
      SELECT * FROM unnest(f_id, f_kind, f_origin, f_decider, f_wallet, f_cost, f_leg_costs,
          f_outcome, f_estimated, f_prompt, f_cached_read, f_cached_write, f_prompt_audio,
          f_completion, f_reasoning, f_completion_audio)
        WITH ORDINALITY AS t(id, kind, origin, decider, wallet, cost, leg_costs, outcome,
          estimated, prompt, cached_read, cached_write, prompt_audio, completion, reasoning,
          completion_audio, ord)
       WHERE t.ord <> ALL (skip_f)),
    -- An origin reaches only its own holds, and a caller only those of its own wallet.
    mine AS MATERIALIZED (
      SELECT f.*, h.amount AS held, h.legs, h.leg_amounts, h.state, h.model,
             h.price_version, h.markup_ppm, h.key_id, h.wallet AS payer,
             h.lease_until < clock_timestamp() AS lapsed
        FROM f JOIN hold h USING (id, origin) WHERE f.wallet IS NULL OR f.wallet = h.wallet),
    unknown AS (
      UPDATE hold h SET state = 'U' FROM mine m
       WHERE h.id = m.id AND h.origin = 'r' AND h.state = 'O'
         AND (m.kind = 'U' OR (m.kind = 'L' AND h.lease_until < clock_timestamp()))
      RETURNING h.id),
    gone AS (
      DELETE FROM hold h USING mine m
       WHERE h.id = m.id AND (
             (m.kind = 'S' AND (m.origin = 'r' OR m.cost <= m.held)) OR m.kind = 'V'
             OR (m.kind = 'L' AND h.origin = 'a' AND h.lease_until < clock_timestamp()))
      RETURNING m.*),
    -- A settle by the router after a void that it did not decide is posted all the same: as far
    -- as the wallet has room, the rest is the operator's loss.
    late AS (
      SELECT f.*, g.held, g.wallet AS payer,
             least(f.cost, g.held, greatest(
               a.credits_posted - a.debits_posted - a.debits_pending
                 - coalesce(sum(least(f.cost, g.held)) OVER (
                     PARTITION BY g.wallet ORDER BY f.ord
                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0))::bigint AS charged
        FROM f JOIN posting g ON g.id = f.id AND g.n = 0 AND g.kind = 'V' AND g.origin = 'r'
                             AND g.decider <> 'o'
        JOIN account a ON a.id = g.wallet
       WHERE f.kind = 'S' AND f.origin = 'r'
         AND NOT EXISTS (SELECT FROM posting l WHERE l.id = f.id AND l.n = 1)),
    word AS (
      SELECT g.id, 0 AS n, CASE g.kind WHEN 'S' THEN 'S'::"char" ELSE 'V' END AS kind, g.origin,
             CASE g.kind WHEN 'L' THEN 't'::"char" ELSE g.decider END AS decider,
             g.payer, g.ord, g.held, g.held AS freed, g.legs, g.leg_amounts AS leg_freed,
             CASE g.kind WHEN 'S' THEN least(g.cost, g.held) ELSE 0 END AS charged,
             CASE g.kind WHEN 'S' THEN greatest(g.cost - g.held, 0) ELSE 0 END AS loss,
             CASE g.kind WHEN 'S' THEN (
               SELECT array_agg(least(coalesce(c, g.cost), m) ORDER BY k)
                 FROM unnest(g.leg_costs::bigint[], g.leg_amounts) WITH ORDINALITY z(c, m, k)
                WHERE m IS NOT NULL)
             END AS leg_charged
        FROM gone g
      UNION ALL
      SELECT l.id, 1, 'S', 'r', 'o', l.payer, l.ord, l.held, 0, NULL, NULL,
             l.charged, l.cost - l.charged, NULL
        FROM late l),
    entered AS MATERIALIZED (
      SELECT w.*,
             CASE WHEN w.charged > 0 THEN a.entry_count + count(*) FILTER (WHERE w.charged > 0)
                  OVER (PARTITION BY w.payer ORDER BY w.ord) END AS entry,
             CASE WHEN w.charged > 0 THEN a.credits_posted - a.debits_posted - sum(w.charged)
                  OVER (PARTITION BY w.payer ORDER BY w.ord) END AS balance_after,
             a.credits_posted - a.debits_posted AS posted_before, a.debits_pending AS pending_before
        FROM word w JOIN account a ON a.id = w.payer),
    posted AS (
      INSERT INTO posting (id, n, kind, origin, decider, wallet, amount, legs, leg_amounts, held,
                           loss, other_account, loss_account, entry, balance_after)
      SELECT id, n, kind, origin, decider, payer, charged, legs, leg_charged, held, loss,
             CASE WHEN kind = 'S' THEN revenue END, CASE WHEN loss > 0 THEN losses END,
             entry, balance_after
        FROM entered RETURNING id),
    used AS (
      INSERT INTO usage_record (hold_id, wallet, key_id, model, price_version, markup_ppm,
          outcome, estimated, prompt, cached_read, cached_write, prompt_audio,
          completion, reasoning, completion_audio)
      SELECT id, payer, key_id, model, price_version, markup_ppm, outcome,
             estimated, prompt, cached_read, cached_write, prompt_audio, completion, reasoning,
             completion_audio
        FROM gone WHERE origin = 'r' RETURNING 1),
    -- A late settle's usage replaces that of the void which it corrects.
    corrected AS (
      UPDATE usage_record u SET outcome = l.outcome, estimated = l.estimated, prompt = l.prompt,
             cached_read = l.cached_read, cached_write = l.cached_write,
             prompt_audio = l.prompt_audio, completion = l.completion, reasoning = l.reasoning,
             completion_audio = l.completion_audio
        FROM late l WHERE u.hold_id = l.id RETURNING 1),
    delta AS (
      SELECT acct, sum(c)::bigint AS charged, sum(fr)::bigint AS freed,
             sum(e)::bigint AS entries, sum(cr)::bigint AS credited
        FROM (SELECT payer AS acct, charged AS c, freed AS fr, (charged > 0)::int AS e, 0 AS cr
                FROM entered
              UNION ALL
              SELECT z.a, coalesce(z.c, 0), coalesce(z.m, 0), (coalesce(z.c, 0) > 0)::int, 0
                FROM entered w, unnest(w.legs, w.leg_charged, w.leg_freed) z(a, c, m)
              UNION ALL SELECT revenue, 0, 0, 0, charged + loss FROM entered
              UNION ALL SELECT losses, loss, 0, 0, 0 FROM entered) y
       GROUP BY acct),
    moved AS (
      UPDATE account a SET debits_posted = a.debits_posted + d.charged,
             debits_pending = a.debits_pending - d.freed,
             credits_posted = a.credits_posted + d.credited,
             entry_count = a.entry_count + d.entries
        FROM delta d WHERE a.id = d.acct AND (d.charged, d.freed, d.credited) <> (0, 0, 0)
      RETURNING a.id, a.credits_posted - a.debits_posted AS posted, a.debits_pending AS pending),
    earlier AS (
      SELECT DISTINCT ON (g.id) g.id, g.kind, g.amount, g.loss, g.origin, g.wallet
        FROM posting g JOIN f USING (id) ORDER BY g.id, g.n DESC)
    SELECT 'f'::"char", f.ord::int, (CASE
             WHEN e.id IS NOT NULL THEN 0
             WHEN u.id IS NOT NULL THEN 0
             WHEN m.id IS NOT NULL AND m.kind = 'S' THEN 7
             WHEN m.id IS NOT NULL AND m.kind = 'U' THEN 1
             WHEN m.id IS NOT NULL AND m.state = 'U' THEN 1
             WHEN m.id IS NOT NULL THEN 8
             WHEN b.id IS NULL OR b.origin <> f.origin OR f.wallet <> b.wallet THEN 3
             WHEN f.kind = 'S' AND b.kind = 'S' AND b.amount + b.loss = f.cost THEN 1
             WHEN f.kind IN ('V', 'L') AND b.kind = 'V' THEN 1
             WHEN f.kind = 'L' THEN 1
             ELSE 2 END)::smallint,
           f.id, coalesce(e.charged, b.amount), coalesce(v.posted, e.posted_before),
           coalesce(v.pending, e.pending_before), NULL::bigint, NULL::timestamptz
      FROM f LEFT JOIN entered e ON e.id = f.id LEFT JOIN unknown u ON u.id = f.id
             LEFT JOIN mine m ON m.id = f.id LEFT JOIN earlier b ON b.id = f.id
             LEFT JOIN moved v ON v.id = e.payer;
  END IF;

  -- 3. Transfers: grants so far. They make room as well.
  IF cardinality(t_id) > 0 THEN
    RETURN QUERY
    WITH t AS (
      SELECT * FROM unnest(t_id, t_wallet, t_amount, t_reference)
        WITH ORDINALITY AS t(id, wallet, amount, reference, ord)
       WHERE t.ord <> ALL (skip_t) AND NOT EXISTS (SELECT FROM posting g WHERE g.id = t.id)),
    entered AS MATERIALIZED (
      SELECT t.*, a.entry_count + row_number() OVER (PARTITION BY t.wallet ORDER BY t.ord) AS entry,
             a.credits_posted - a.debits_posted
               + sum(t.amount) OVER (PARTITION BY t.wallet ORDER BY t.ord) AS balance_after
        FROM t JOIN account a ON a.id = t.wallet),
    posted AS (
      INSERT INTO posting (id, kind, origin, decider, wallet, amount, other_account, entry,
                           balance_after, reference)
      SELECT id, 'G', 'o', 'o', wallet, amount, funding, entry, balance_after, reference
        FROM entered RETURNING id),
    delta AS (
      SELECT wallet AS acct, 0::bigint AS debited, sum(amount)::bigint AS credited,
             count(*) AS entries FROM entered GROUP BY wallet
      UNION ALL SELECT funding, coalesce(sum(amount), 0)::bigint, 0, 0 FROM entered),
    moved AS (
      UPDATE account a SET credits_posted = a.credits_posted + d.credited,
             debits_posted = a.debits_posted + d.debited, entry_count = a.entry_count + d.entries
        FROM delta d WHERE a.id = d.acct
      RETURNING a.id, a.credits_posted - a.debits_posted AS posted, a.debits_pending AS pending)
    SELECT 't'::"char", o.ord::int, (CASE WHEN e.id IS NULL THEN 1 ELSE 0 END)::smallint, o.id,
           o.amount, v.posted, v.pending, NULL::bigint, NULL::timestamptz
      FROM unnest(t_id, t_wallet, t_amount) WITH ORDINALITY o(id, wallet, amount, ord)
      LEFT JOIN entered e ON e.id = o.id LEFT JOIN moved v ON v.id = o.wallet
     WHERE o.ord <> ALL (skip_t);
  END IF;

  -- 4. Holds: which accounts cannot take the whole batch at its largest?
  IF cardinality(h_id) > 0 THEN
    SELECT array_agg(s.acct), array_agg(s.room), array_agg(s.posted), array_agg(s.pending)
      INTO tight, room, owned, waiting
      FROM (
        SELECT a.id AS acct, v.room, v.posted, a.debits_pending AS pending, n.need
          FROM (SELECT acct, sum(need) AS need FROM (
                  SELECT w, m FROM unnest(h_wallet, h_max) x(w, m)
                  UNION ALL
                  SELECT y.a, y.m FROM unnest(h_legs, h_leg_maxs) x(l, m),
                         unnest(l::bigint[], m::bigint[]) y(a, m) WHERE l IS NOT NULL
                ) z(acct, need) GROUP BY acct) n
          JOIN account a ON a.id = n.acct
          CROSS JOIN LATERAL (SELECT
            a.credits_posted - a.debits_posted AS posted,
            a.credits_posted - a.debits_posted - a.debits_pending + coalesce(a.debit_limit, 0)
              AS room) v
         WHERE (a.kind = 1 OR (a.kind = 2 AND a.debit_limit IS NOT NULL)) AND n.need > v.room) s;

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
              IF room[p] < r.low THEN code := 4; who := p;
              ELSE grant_amount := least(r.high, room[p]); room[p] := room[p] - grant_amount;
                   waiting[p] := waiting[p] + grant_amount; END IF;
            END IF;
          ELSE
            FOR i IN 1 .. cardinality(leg_ids) LOOP
              p := array_position(tight, leg_ids[i]);
              CONTINUE WHEN p IS NULL OR room[p] >= leg_max[i];
              IF room[p] < leg_min[i] THEN code := 4; who := p; EXIT; END IF;
              -- room[p] < leg_max[i], so the share is below one and the divisor above zero
              IF worst IS NULL OR (room[p] - leg_min[i])::numeric * worst_den
                                  < worst_num * (leg_max[i] - leg_min[i]) THEN
                worst := i; worst_num := room[p] - leg_min[i]; worst_den := leg_max[i] - leg_min[i];
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
        ok_ord := ok_ord || r.ord; ok_amount := ok_amount || grant_amount;
        ok_legs := ok_legs || leg_grant::text;
        until := clock_timestamp() + make_interval(secs => h_seconds[r.ord]);
        ok_until := ok_until || until;
      END IF;
      grp := 'h'; ord := r.ord; rc := code; target := r.id;
      amount := CASE WHEN code IN (0, 1) THEN grant_amount END;
      short_account := tight[who]; posted := owned[who]; pending := waiting[who];
      RETURN NEXT;
    END LOOP;

    -- 6. Write what was granted.
    WITH i AS (
      INSERT INTO hold (id, origin, wallet, amount, legs, leg_amounts, key_id, model, credential,
                        price_version, markup_ppm, owner, epoch, lease_until)
      SELECT h_id[o], h_origin[o], h_wallet[o], g, h_legs[o]::bigint[], l::bigint[], h_key[o],
             h_model[o], h_credential[o], h_price_version[o], h_markup_ppm[o], p_owner, p_epoch, u
        FROM unnest(ok_ord, ok_amount, ok_legs, ok_until) z(o, g, l, u)
      RETURNING wallet, amount, legs, leg_amounts),
    s AS (
      SELECT acct, sum(m)::bigint AS held FROM (
        SELECT wallet, amount FROM i
        UNION ALL SELECT y.a, y.m FROM i, unnest(i.legs, i.leg_amounts) y(a, m)
      ) z(acct, m) GROUP BY acct)
    UPDATE account a SET debits_pending = a.debits_pending + s.held FROM s WHERE a.id = s.acct;
  END IF;

  -- 7. A request id remembers what was done; one whose operation was refused is free again.
  IF cardinality(q_group) > 0 THEN
    UPDATE request e
       SET amount = CASE q.grp WHEN 'h' THEN h.amount WHEN 't' THEN t_amount[q.ord]
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
             WHEN 't' THEN false
             ELSE NOT EXISTS (
               SELECT FROM posting g
                WHERE g.id = f_id[q.ord] AND g.kind = f_kind[q.ord] AND g.origin = 'a'
                  AND g.wallet = f_wallet[q.ord]
                  AND (g.kind = 'V' OR g.amount = f_cost[q.ord])) END;
  END IF;
END $$;

-- Renews the leases of a worker's own open holds. Returns those that it still owns; a worker that
-- does not find one of its holds here cancels that call. Takes no account.
CREATE FUNCTION ledger_renew(p_owner text, p_epoch bigint, p_seconds integer, p_ids uuid[])
RETURNS SETOF uuid LANGUAGE sql VOLATILE AS $$
  UPDATE hold SET lease_until = clock_timestamp() + make_interval(secs => p_seconds)
   WHERE id = ANY (p_ids) AND state = 'O' AND owner = p_owner AND epoch = p_epoch
  RETURNING id
$$;
