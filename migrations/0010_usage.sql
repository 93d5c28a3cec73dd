-- Reports of usage and savings: what the ledger does not know of a call, and sums by the hour that
-- are kept as calls end. docs/usage.md tells the whole story.
--
-- As in 0001 there is no trigger: a default notes the transaction that wrote a row, and one session
-- at a time counts what is over.

-- The number of the transaction that writes, and the lowest number that may still be written. All
-- below that is committed or gone, so it can be counted once, in whatever order it was committed.
-- usage_restart() adds to both where a restored database counts its transactions from 1 again.
CREATE FUNCTION usage_xact() RETURNS bigint LANGUAGE sql STABLE
AS $$SELECT pg_current_xact_id()::text::bigint + 0$$;
CREATE FUNCTION usage_horizon() RETURNS bigint LANGUAGE sql STABLE
AS $$SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + 0$$;

ALTER TABLE posting ADD COLUMN xact bigint;  -- NULL: from before this migration, so below all
ALTER TABLE posting ALTER COLUMN xact SET DEFAULT usage_xact();
CREATE INDEX posting_xact ON posting (xact) WHERE xact IS NOT NULL;
CREATE INDEX usage_record_wallet ON usage_record (wallet, hold_id);

-- One row a call, written behind it: what it cost stands in the postings, here is why it went where
-- it went and what that saved. A killed worker loses the rows of its last moment.
CREATE TABLE routed_call (
  call_id         uuid     PRIMARY KEY,
  wallet          bigint   NOT NULL,
  key_id          bigint   NOT NULL,
  asked           text     NOT NULL,     -- the model that the request named
  model           text     NOT NULL,     -- the offer of the last attempt
  task            text     NOT NULL,     -- empty: not analysed
  complexity      text     NOT NULL,
  policy          text     NOT NULL,
  experiment      text     NOT NULL,
  arm             text     NOT NULL,
  premium_model   text,                  -- NULL: compared with none
  premium_version bigint,
  premium_nanousd bigint,
  single_model    text,
  single_nanousd  bigint,
  saved_nanousd   bigint,                -- premium less cost; negative: it cost more
  cost_nanousd    bigint   NOT NULL,     -- as it was when the call ended
  first_token_ms  integer,               -- NULL: not streamed, or nothing came
  duration_ms     integer  NOT NULL,
  reason          text     NOT NULL,     -- OK, CANCELLED, or an error's reason
  attempt_count   smallint NOT NULL,
  tags            jsonb,
  end_user        text     NOT NULL,
  create_time     timestamptz NOT NULL DEFAULT clock_timestamp(),
  xact            bigint   DEFAULT usage_xact()
);
CREATE INDEX routed_call_xact ON routed_call (xact) WHERE xact IS NOT NULL;
CREATE INDEX routed_call_experiment ON routed_call (experiment, call_id) WHERE experiment <> '';

-- What was used in an hour (that in which the call began), by whom, of what, for what; and the same
-- by the day of UTC, since an account that does many things has nearly as many hours as calls.
CREATE TABLE usage_sum (
  generation       integer     NOT NULL,  -- the sums that are read, or those being rebuilt
  wallet           bigint      NOT NULL,
  span             "char"      NOT NULL CHECK (span IN ('h', 'd')),
  start            timestamptz NOT NULL,
  key_id           bigint      NOT NULL,
  model            text        NOT NULL,  -- the offer, provider/model
  task             text        NOT NULL,
  calls            bigint      NOT NULL,
  attempts         bigint      NOT NULL,
  failed           bigint      NOT NULL,
  cancelled        bigint      NOT NULL,
  estimated        bigint      NOT NULL,
  prompt           bigint      NOT NULL,
  cached_read      bigint      NOT NULL,
  cached_write     bigint      NOT NULL,
  prompt_audio     bigint      NOT NULL,
  completion       bigint      NOT NULL,
  reasoning        bigint      NOT NULL,
  completion_audio bigint      NOT NULL,
  cached_write_1h  bigint      NOT NULL,
  prompt_image     bigint      NOT NULL,
  completion_image bigint      NOT NULL,
  image            bigint      NOT NULL,
  second           bigint      NOT NULL,
  character        bigint      NOT NULL,
  cost             bigint      NOT NULL,  -- charged, corrections included
  refunded         bigint      NOT NULL,  -- and given back of that
  compared         bigint      NOT NULL,  -- calls that were compared with a premium model
  premium          bigint      NOT NULL,
  saved            bigint      NOT NULL,
  single           bigint      NOT NULL,
  single_saved     bigint      NOT NULL,
  PRIMARY KEY (generation, wallet, span, start, key_id, model, task)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

-- What was counted of attempts whose counts may still be corrected.
CREATE TABLE usage_estimate (
  generation integer  NOT NULL,
  hold_id    uuid     NOT NULL,
  counts     bigint[] NOT NULL,          -- as usage_attempt has them
  PRIMARY KEY (generation, hold_id)
);

-- How far each generation has counted: all transactions below `watermark`. One that is built goes
-- through what was there at its beginning first, by id; `walked` is NULL once it has. It waits until
-- all that ran at its beginning is over, which is so when the horizon has passed `barrier`.
CREATE TABLE usage_state (
  generation integer PRIMARY KEY,
  active     boolean NOT NULL,
  watermark  bigint  NOT NULL,
  walked     uuid,
  barrier    bigint
);
CREATE UNIQUE INDEX usage_state_active ON usage_state (active) WHERE active;
INSERT INTO usage_state (generation, active, watermark, walked)
VALUES (1, true, usage_horizon(), '00000000-0000-0000-0000-000000000000');

CREATE FUNCTION usage_call_of(p_hold uuid) RETURNS uuid LANGUAGE sql IMMUTABLE
AS $$SELECT overlay(p_hold::text PLACING '0' FROM 36)::uuid$$;

-- The hour of a time-ordered id.
CREATE FUNCTION usage_hour_of(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT to_timestamp(
    ('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 3600000 * 3600)
$$;

-- An attempt's counts, in the order of usage_sum's columns from `failed` to `character`. A count
-- is at most 10^12, so that no sum of them leaves bigint, whatever a provider reported.
CREATE VIEW usage_attempt AS
SELECT u.hold_id, u.wallet, u.key_id, u.model, ARRAY[
         (u.outcome IN ('R', 'F', 'U'))::int, (u.outcome = 'C')::int, u.estimated::int,
         least(coalesce(u.prompt, 0), 1000000000000),
         least(coalesce(u.cached_read, 0), 1000000000000),
         least(coalesce(u.cached_write, 0), 1000000000000),
         least(coalesce(u.prompt_audio, 0), 1000000000000),
         least(coalesce(u.completion, 0), 1000000000000),
         least(coalesce(u.reasoning, 0), 1000000000000),
         least(coalesce(u.completion_audio, 0), 1000000000000),
         least(coalesce(u.rare_counts[1], 0), 1000000000000),
         least(coalesce(u.rare_counts[2], 0), 1000000000000),
         least(coalesce(u.rare_counts[3], 0), 1000000000000),
         least(coalesce(u.rare_counts[4], 0), 1000000000000),
         least(coalesce(u.rare_counts[5], 0), 1000000000000),
         least(coalesce(u.rare_counts[6], 0), 1000000000000)]::bigint[] AS counts
  FROM usage_record u;

-- What the events of a window change in the sums, as rows to be added. A window is the transactions
-- from p_from on and below p_until, of all wallets or of one; or, with p_after, the ids above it and
-- up to p_upto, of transactions below p_until.
--
-- An event is an attempt's end, its correction, a refund, or the row of a call, which comes when it
-- likes: an attempt is counted under the task of its call if the row stands below p_until, else
-- under none, and the row that comes later moves what was counted before it.
CREATE FUNCTION usage_changes(
  p_generation integer, p_from bigint, p_until bigint, p_after uuid, p_upto uuid, p_wallet bigint)
RETURNS SETOF usage_sum LANGUAGE sql STABLE
-- Plans are pinned, as in ledger_apply: a window is small beside the tables, so each join is one
-- probe an event.
SET enable_seqscan = off
SET jit = off
AS $$
  WITH p AS MATERIALIZED (
    SELECT id, n, kind, amount, of FROM posting
     WHERE p_after IS NULL AND xact >= p_from AND xact < p_until
       AND (p_wallet IS NULL OR wallet = p_wallet) AND (origin = 'r' OR kind = 'R')
    UNION ALL
    SELECT id, n, kind, amount, of FROM posting
     WHERE p_after IS NOT NULL AND id > p_after AND id <= p_upto
       AND coalesce(xact, 0) < p_until AND (origin = 'r' OR kind = 'R')),
  c AS MATERIALIZED (
    SELECT * FROM routed_call
     WHERE p_after IS NULL AND xact >= p_from AND xact < p_until
       AND (p_wallet IS NULL OR wallet = p_wallet)
    UNION ALL
    SELECT * FROM routed_call
     WHERE p_after IS NOT NULL AND call_id > p_after AND call_id <= p_upto
       AND coalesce(xact, 0) < p_until),
  counted AS (
    SELECT a.hold_id, a.wallet, a.key_id, a.model, 1 AS sign, 1 AS word, a.counts,
           p.amount AS cost, 0::bigint AS refunded, NULL AS task
      FROM p CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = p.id OFFSET 0) a
     WHERE p.kind <> 'R' AND p.n = 0
    UNION ALL
    SELECT a.hold_id, a.wallet, a.key_id, a.model, 1, 0, NULL, p.amount, 0, NULL
      FROM p CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = p.id OFFSET 0) a
     WHERE p.kind <> 'R' AND p.n = 1
    UNION ALL  -- the corrected counts, in place of those that were counted before
    SELECT a.hold_id, a.wallet, a.key_id, a.model, s.sign, 0, s.counts, 0, 0, NULL
      FROM p CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = p.id OFFSET 0) a
      CROSS JOIN LATERAL (SELECT * FROM usage_estimate
                           WHERE generation = p_generation AND hold_id = p.id OFFSET 0) e
      CROSS JOIN LATERAL (VALUES (1, a.counts), (-1, e.counts)) s(sign, counts)
     WHERE p.kind <> 'R' AND p.n = 1
    UNION ALL
    SELECT a.hold_id, a.wallet, a.key_id, a.model, 1, 0, NULL, 0, p.amount, NULL
      FROM p CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = p.of OFFSET 0) a
     WHERE p.kind = 'R'
    UNION ALL  -- from no task to the call's
    SELECT a.hold_id, a.wallet, a.key_id, a.model, m.sign, 1 - g.n,
           CASE WHEN g.n = 0 THEN CASE WHEN EXISTS (
             SELECT FROM posting l WHERE l.id = g.id AND l.n = 1 AND coalesce(l.xact, 0) < p_from)
             THEN a.counts ELSE coalesce(e.counts, a.counts) END END,
           g.amount, 0, m.task
      FROM c CROSS JOIN LATERAL (
        SELECT * FROM posting WHERE id BETWEEN c.call_id AND ledger_last_attempt(c.call_id)
           AND coalesce(xact, 0) < p_from OFFSET 0) g
      CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = g.id OFFSET 0) a
      LEFT JOIN LATERAL (SELECT * FROM usage_estimate
                          WHERE generation = p_generation AND hold_id = g.id OFFSET 0) e ON true
      CROSS JOIN LATERAL (VALUES (-1, ''), (1, c.task)) m(sign, task)
     WHERE c.task <> ''
    UNION ALL
    SELECT a.hold_id, a.wallet, a.key_id, a.model, m.sign, 0, NULL, 0, g.amount, m.task
      FROM c CROSS JOIN LATERAL (
        SELECT * FROM posting WHERE of BETWEEN c.call_id AND ledger_last_attempt(c.call_id)
           AND kind = 'R' AND coalesce(xact, 0) < p_from OFFSET 0) g
      CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = g.of OFFSET 0) a
      CROSS JOIN LATERAL (VALUES (-1, ''), (1, c.task)) m(sign, task)
     WHERE c.task <> '')
  SELECT p_generation, k.wallet, 'h'::"char", usage_hour_of(k.hold_id), k.key_id, k.model,
         coalesce(k.task, t.task, ''),
         -- a call is counted with its first attempt
         CASE WHEN right(k.hold_id::text, 1) = '1' THEN k.sign * k.word ELSE 0 END::bigint,
         (k.sign * k.word)::bigint,
         s * coalesce(n[1], 0), s * coalesce(n[2], 0), s * coalesce(n[3], 0),
         s * coalesce(n[4], 0), s * coalesce(n[5], 0), s * coalesce(n[6], 0),
         s * coalesce(n[7], 0), s * coalesce(n[8], 0), s * coalesce(n[9], 0),
         s * coalesce(n[10], 0), s * coalesce(n[11], 0), s * coalesce(n[12], 0),
         s * coalesce(n[13], 0), s * coalesce(n[14], 0), s * coalesce(n[15], 0),
         s * coalesce(n[16], 0), s * k.cost, s * k.refunded,
         0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint
    FROM counted k
    CROSS JOIN LATERAL (SELECT k.sign::bigint AS s, k.counts AS n) x
    LEFT JOIN LATERAL (SELECT r.task FROM routed_call r
                        WHERE r.call_id = usage_call_of(k.hold_id)
                          AND coalesce(r.xact, 0) < p_until OFFSET 0) t ON k.task IS NULL
  UNION ALL
  SELECT p_generation, wallet, 'h', usage_hour_of(call_id), key_id, model, task,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
         1, premium_nanousd, saved_nanousd, coalesce(single_nanousd, 0),
         coalesce(single_nanousd - cost_nanousd, 0)
    FROM c WHERE premium_nanousd IS NOT NULL
$$;

-- The sums of a wallet from p_start on and before p_end, by p_bucket (hour, day, month or whole) in
-- the time zone p_zone, with what is not counted into usage_sum yet, as of one moment. `start` is a
-- bucket's beginning. p_model: 2 keeps models apart, 1 providers, 0 neither.
CREATE FUNCTION usage_sums(
  p_wallet bigint, p_start timestamptz, p_end timestamptz, p_bucket text, p_zone text,
  p_model integer, p_task boolean, p_key boolean)
RETURNS SETOF usage_sum LANGUAGE sql STABLE
SET enable_seqscan = off
SET jit = off
AS $$
  WITH s AS MATERIALIZED (SELECT generation, watermark FROM usage_state WHERE active),
  days AS MATERIALIZED (  -- of UTC; one that lies in the range and in one bucket is read as a whole
    SELECT d AS day, d >= p_start AND d + interval '24 hours' <= p_end AND CASE p_bucket
             WHEN 'whole' THEN true WHEN 'hour' THEN false
             ELSE date_trunc(p_bucket, d, p_zone) =
                  date_trunc(p_bucket, d + interval '23 hours', p_zone) END AS is_whole
      FROM generate_series(date_trunc('day', p_start, 'UTC'), p_end - interval '1 hour',
                           interval '24 hours') d),
  r AS (
    SELECT h.* FROM s CROSS JOIN days CROSS JOIN LATERAL (
      SELECT * FROM usage_sum
       WHERE generation = s.generation AND wallet = p_wallet AND span = 'd'
         AND start = days.day OFFSET 0) h
     WHERE days.is_whole
    UNION ALL
    SELECT h.* FROM s CROSS JOIN days CROSS JOIN LATERAL (
      SELECT * FROM usage_sum
       WHERE generation = s.generation AND wallet = p_wallet AND span = 'h'
         AND start >= greatest(days.day, p_start)
         AND start < least(days.day + interval '24 hours', p_end) OFFSET 0) h
     WHERE NOT days.is_whole
    UNION ALL
    SELECT c.* FROM s
      CROSS JOIN LATERAL usage_changes(
        s.generation, s.watermark, 9223372036854775807, NULL, NULL, p_wallet) c
     WHERE c.start >= p_start AND c.start < p_end)
  SELECT 0, p_wallet, ''::"char",
         CASE p_bucket WHEN 'whole' THEN p_start WHEN 'hour' THEN r.start
                       ELSE date_trunc(p_bucket, r.start, p_zone) END,
         CASE WHEN p_key THEN r.key_id ELSE 0 END,
         CASE p_model WHEN 2 THEN r.model WHEN 1 THEN split_part(r.model, '/', 1) ELSE '' END,
         CASE WHEN p_task THEN r.task ELSE '' END,
         sum(r.calls)::bigint, sum(r.attempts)::bigint, sum(r.failed)::bigint,
         sum(r.cancelled)::bigint, sum(r.estimated)::bigint, sum(r.prompt)::bigint,
         sum(r.cached_read)::bigint, sum(r.cached_write)::bigint, sum(r.prompt_audio)::bigint,
         sum(r.completion)::bigint, sum(r.reasoning)::bigint, sum(r.completion_audio)::bigint,
         sum(r.cached_write_1h)::bigint, sum(r.prompt_image)::bigint,
         sum(r.completion_image)::bigint, sum(r.image)::bigint, sum(r.second)::bigint,
         sum(r.character)::bigint, sum(r.cost)::bigint, sum(r.refunded)::bigint,
         sum(r.compared)::bigint, sum(r.premium)::bigint, sum(r.saved)::bigint,
         sum(r.single)::bigint, sum(r.single_saved)::bigint
    FROM r GROUP BY 4, 5, 6, 7
  HAVING (sum(r.attempts), sum(r.cost), sum(r.refunded), sum(r.compared)) <> (0, 0, 0, 0)
$$;

-- Counts the next events of a generation, in one transaction; who else would count them at the same
-- time passes by. Returns how many events there were about, 0 once there is nothing more to count,
-- NULL where another session counts, and -1 where the transactions' numbers have gone back.
CREATE FUNCTION usage_roll(p_generation integer, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
  s usage_state; low bigint := 0; top bigint; cut bigint; upto uuid; seen integer := 0;
  is_whole boolean := false;
BEGIN
  SELECT * INTO s FROM usage_state WHERE generation = p_generation FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN NULL; END IF;
  top := usage_horizon();  -- later statements see all that is over now, and more
  IF s.barrier IS NULL THEN
    UPDATE usage_state SET barrier = top
             + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             - pg_snapshot_xmin(pg_current_snapshot())::text::bigint
     WHERE generation = p_generation;
    RETURN 0;
  ELSIF top < s.watermark THEN
    RETURN -1;
  ELSIF s.walked IS NOT NULL THEN
    IF top < s.barrier THEN RETURN 0; END IF;
    SELECT max(id::text)::uuid, count(*) INTO upto, seen FROM (
      SELECT id FROM posting WHERE id > s.walked ORDER BY id LIMIT p_limit) x;
    IF seen < p_limit THEN upto := 'ffffffff-ffff-ffff-ffff-ffffffffffff'; END IF;
    top := s.watermark;
  ELSE
    low := s.watermark; is_whole := true;
    IF s.active AND NOT EXISTS (SELECT FROM posting WHERE xact >= low AND xact < top)
       AND NOT EXISTS (SELECT FROM routed_call WHERE xact >= low AND xact < top) THEN
      RETURN 0;
    END IF;
    SELECT xact INTO cut FROM posting WHERE xact >= low AND xact < top
     ORDER BY xact OFFSET p_limit LIMIT 1;
    IF FOUND THEN top := greatest(cut, low + 1); is_whole := false; seen := p_limit; END IF;
    SELECT xact INTO cut FROM routed_call WHERE xact >= low AND xact < top
     ORDER BY xact OFFSET p_limit LIMIT 1;
    IF FOUND THEN top := greatest(cut, low + 1); is_whole := false; seen := p_limit; END IF;
  END IF;

  -- One statement: what is counted and what is noted of it are seen at the same moment.
  WITH noted AS (
    INSERT INTO usage_estimate (generation, hold_id, counts)
    SELECT p_generation, a.hold_id, a.counts
      FROM (SELECT * FROM posting
             WHERE s.walked IS NULL AND xact >= low AND xact < top
            UNION ALL
            SELECT * FROM posting
             WHERE s.walked IS NOT NULL AND id > s.walked AND id <= upto
               AND coalesce(xact, 0) < top) p
      CROSS JOIN LATERAL (SELECT * FROM usage_attempt WHERE hold_id = p.id OFFSET 0) a
     WHERE p.n = 0 AND p.origin = 'r'
       AND (a.counts[3] = 1 OR (p.kind <> 'S' AND p.decider <> 'o'))  -- the third: estimated
       AND NOT EXISTS (SELECT FROM posting l
                        WHERE l.id = p.id AND l.n = 1 AND coalesce(l.xact, 0) < top)
    ON CONFLICT DO NOTHING)
  INSERT INTO usage_sum AS h
  SELECT d.generation, d.wallet, x.span,
         CASE x.span WHEN 'd' THEN date_trunc('day', d.start, 'UTC') ELSE d.start END,
         d.key_id, d.model, d.task,
         sum(d.calls), sum(d.attempts), sum(d.failed), sum(d.cancelled), sum(d.estimated),
         sum(d.prompt), sum(d.cached_read), sum(d.cached_write), sum(d.prompt_audio),
         sum(d.completion), sum(d.reasoning), sum(d.completion_audio), sum(d.cached_write_1h),
         sum(d.prompt_image), sum(d.completion_image), sum(d.image), sum(d.second),
         sum(d.character), sum(d.cost), sum(d.refunded), sum(d.compared), sum(d.premium),
         sum(d.saved), sum(d.single), sum(d.single_saved)
    FROM usage_changes(p_generation, low, top, s.walked, upto, NULL) d
    CROSS JOIN (VALUES ('h'::"char"), ('d')) x(span)
   GROUP BY 1, 2, 3, 4, 5, 6, 7
  ON CONFLICT (generation, wallet, span, start, key_id, model, task) DO UPDATE SET
    calls = h.calls + EXCLUDED.calls, attempts = h.attempts + EXCLUDED.attempts,
    failed = h.failed + EXCLUDED.failed, cancelled = h.cancelled + EXCLUDED.cancelled,
    estimated = h.estimated + EXCLUDED.estimated, prompt = h.prompt + EXCLUDED.prompt,
    cached_read = h.cached_read + EXCLUDED.cached_read,
    cached_write = h.cached_write + EXCLUDED.cached_write,
    prompt_audio = h.prompt_audio + EXCLUDED.prompt_audio,
    completion = h.completion + EXCLUDED.completion,
    reasoning = h.reasoning + EXCLUDED.reasoning,
    completion_audio = h.completion_audio + EXCLUDED.completion_audio,
    cached_write_1h = h.cached_write_1h + EXCLUDED.cached_write_1h,
    prompt_image = h.prompt_image + EXCLUDED.prompt_image,
    completion_image = h.completion_image + EXCLUDED.completion_image,
    image = h.image + EXCLUDED.image, second = h.second + EXCLUDED.second,
    character = h.character + EXCLUDED.character, cost = h.cost + EXCLUDED.cost,
    refunded = h.refunded + EXCLUDED.refunded, compared = h.compared + EXCLUDED.compared,
    premium = h.premium + EXCLUDED.premium, saved = h.saved + EXCLUDED.saved,
    single = h.single + EXCLUDED.single, single_saved = h.single_saved + EXCLUDED.single_saved;

  UPDATE usage_state SET watermark = top,
         walked = CASE WHEN seen = p_limit THEN upto END
   WHERE generation = p_generation;
  IF is_whole AND NOT s.active THEN  -- what was built takes the place of what was read
    DELETE FROM usage_state WHERE generation <> p_generation;
    UPDATE usage_state SET active = true WHERE generation = p_generation;
  ELSIF s.walked IS NOT NULL THEN
    RETURN greatest(seen, 1);
  END IF;
  RETURN seen;
END $$;

-- Begins to count everything anew beside the sums that are read, which stay until that is done.
-- Returns the new generation.
CREATE FUNCTION usage_restart() RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE made integer; last bigint; ahead bigint;
BEGIN
  PERFORM 1 FROM usage_state ORDER BY generation FOR UPDATE;
  DELETE FROM usage_state WHERE NOT active;
  SELECT greatest((SELECT max(xact) FROM posting), (SELECT max(xact) FROM routed_call),
                  (SELECT max(watermark) FROM usage_state)) INTO last;
  ahead := last - usage_xact();
  IF ahead > 0 THEN
    -- Restored from a dump into a server that counts from 1: go on from the highest number.
    ahead := ahead + usage_xact() - pg_current_xact_id()::text::bigint + 1;
    EXECUTE format('CREATE OR REPLACE FUNCTION usage_xact() RETURNS bigint LANGUAGE sql STABLE '
      'AS $f$SELECT pg_current_xact_id()::text::bigint + %s$f$', ahead);
    EXECUTE format('CREATE OR REPLACE FUNCTION usage_horizon() RETURNS bigint LANGUAGE sql STABLE '
      'AS $f$SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + %s$f$', ahead);
  END IF;
  SELECT max(generation) + 1 INTO made FROM usage_state;
  INSERT INTO usage_state (generation, active, watermark, walked)
  VALUES (made, false, usage_horizon(), '00000000-0000-0000-0000-000000000000');
  RETURN made;
END $$;

-- Drops sums that nobody reads any more, some at a time; returns how many.
CREATE FUNCTION usage_sweep(p_limit integer) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  WITH h AS (
    DELETE FROM usage_sum WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM usage_sum
       WHERE generation < (SELECT min(generation) FROM usage_state) LIMIT p_limit)) RETURNING 1),
  e AS (
    DELETE FROM usage_estimate WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM usage_estimate
       WHERE generation < (SELECT min(generation) FROM usage_state) LIMIT p_limit)) RETURNING 1)
  SELECT (SELECT count(*) FROM h) + (SELECT count(*) FROM e)
$$;
