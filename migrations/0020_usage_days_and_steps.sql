-- --- reports ------------------------------------------------------------------------------------
-- Reports by the days of any time zone. A day is that of UTC, less the hours at its edges that
-- belong to another day there, so that its other hours are never read. Where a day begins within an
-- hour, as in India, the calls of that piece of an hour are added up by themselves. docs/usage.md
-- tells more.

-- The first moment at which clocks in a zone show that time, or a later one where they skip it.
CREATE FUNCTION usage_moment(p_local timestamp, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN (at - interval '1 hour') AT TIME ZONE p_zone >= p_local
              THEN at - interval '1 hour' ELSE at END  -- that time comes twice; this is the second
    FROM (SELECT p_local AT TIME ZONE p_zone AS at) x
$$;

-- The lowest id that a call of that moment can have.
CREATE FUNCTION usage_id_at(p_moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT rpad(lpad(to_hex(floor(extract(epoch FROM p_moment) * 1000)::bigint), 12, '0'), 32, '0')
           ::uuid
$$;

-- What a wallet's calls of a piece of an hour add to its sums, counted or not: rows to be added, as
-- those of usage_changes. It costs what it finds.
CREATE FUNCTION usage_calls(p_wallet bigint, p_start timestamptz, p_end timestamptz)
RETURNS SETOF usage_sum LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_indexscan = on
SET jit = off
AS $$
  WITH a AS MATERIALIZED (
    SELECT u.hold_id, u.key_id, u.model, u.counts AS n, r.call_id, r.task, r.key_id AS call_key,
           r.model AS call_model, r.premium_nanousd, r.saved_nanousd, r.single_nanousd,
           r.cost_nanousd
      FROM (SELECT * FROM usage_attempt
             -- compared as pairs, so that no other wallet's calls of that time are looked at
             WHERE (wallet, hold_id) >= (p_wallet, usage_id_at(p_start))
               AND (wallet, hold_id) < (p_wallet, usage_id_at(p_end)) OFFSET 0) u
      LEFT JOIN LATERAL (SELECT * FROM routed_call
                          WHERE call_id = usage_call_of(u.hold_id) OFFSET 0) r ON true)
  SELECT 0, p_wallet, 'h'::"char", usage_hour_of(a.hold_id), a.key_id, a.model,
         coalesce(a.task, ''),
         CASE WHEN right(a.hold_id::text, 1) = '1' THEN 1 ELSE 0 END::bigint, 1::bigint,
         n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14],
         n[15], n[16], p.cost, coalesce(b.refunded, 0),
         0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint
    FROM a
    CROSS JOIN LATERAL (SELECT sum(amount)::bigint AS cost FROM posting
                         WHERE id = a.hold_id AND kind <> 'R' OFFSET 0) p
    CROSS JOIN LATERAL (SELECT sum(amount)::bigint AS refunded FROM posting
                         WHERE of = a.hold_id AND kind = 'R' OFFSET 0) b
  UNION ALL
  SELECT 0, p_wallet, 'h', usage_hour_of(call_id), call_key, call_model, task,
         0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
         1, premium_nanousd, saved_nanousd, coalesce(single_nanousd, 0),
         coalesce(single_nanousd - cost_nanousd, 0)
    FROM (SELECT DISTINCT ON (call_id) * FROM a WHERE premium_nanousd IS NOT NULL) c
$$;

-- The sums of a wallet from p_start on and before p_end, by p_bucket (hour, day, month or whole) in
-- the time zone p_zone, with what is not counted into usage_sum yet, as of one moment. `start` is a
-- bucket's beginning; hours are UTC's. p_model: 2 keeps models apart, 1 providers, 0 neither.
CREATE OR REPLACE FUNCTION usage_sums(
  p_wallet bigint, p_start timestamptz, p_end timestamptz, p_bucket text, p_zone text,
  p_model integer, p_task boolean, p_key boolean)
RETURNS SETOF usage_sum LANGUAGE sql STABLE
SET enable_seqscan = off
-- A wallet's rows of a day lie all over the pages of that day. Read in the order of the pages, as a
-- bitmap has them, they come twice as fast from a disk; from memory it makes no difference.
SET enable_indexscan = off
-- It adds up many rows to few: hashed they need no memory, sorted they went through files.
SET enable_sort = off
SET work_mem = '32MB'
SET jit = off
AS $$
  WITH s AS MATERIALIZED (SELECT generation, watermark FROM usage_state WHERE active),
  buckets AS MATERIALIZED (  -- but those of hours, which are read as they are
    SELECT row_number() OVER (ORDER BY low)::integer AS n, x.*,
           date_trunc('day', low + interval '12 hours', 'UTC') AS first_day,
           date_trunc('day', high + interval '12 hours', 'UTC') AS end_day,
           date_trunc('hour', low, 'UTC') AS first_hour,
           date_trunc('hour', high, 'UTC') AS end_hour
      FROM (
        SELECT at AS start, greatest(at, p_start) AS low,
               least(usage_moment(t + ('1 ' || unit)::interval, p_zone), p_end) AS high
          FROM (SELECT CASE p_bucket WHEN 'month' THEN 'month' ELSE 'day' END AS unit) u
          CROSS JOIN LATERAL generate_series(
            date_trunc(unit, p_start AT TIME ZONE p_zone), p_end AT TIME ZONE p_zone,
            ('1 ' || unit)::interval) t
          CROSS JOIN LATERAL (SELECT usage_moment(t, p_zone) AS at) y
         WHERE p_bucket IN ('day', 'month')
        UNION ALL
        SELECT p_start, p_start, p_end WHERE p_bucket = 'whole') x
     WHERE low < high),
  -- A bucket is made of whole days, from the midnight of UTC that is next to its beginning to the
  -- one that is next to its end. So at each cut the hours between the cut and its midnight are with
  -- the wrong side: they go to the bucket before it (n - 1) and leave the one behind it, or, with a
  -- minus, the other way. The hour in which a cut lies is with the later side, and the piece of it
  -- that is before the cut goes over.
  cuts AS MATERIALIZED (
    SELECT n, low AS at, first_hour AS hour, first_day AS day FROM buckets
    UNION ALL
    SELECT n + 1, high, end_hour, end_day FROM buckets WHERE high = p_end),
  edges AS (
    SELECT c.n, CASE WHEN c.day < c.hour THEN 1 ELSE -1 END AS sign, h.*
      FROM s CROSS JOIN cuts c CROSS JOIN LATERAL (
        SELECT * FROM usage_sum
         WHERE generation = s.generation AND wallet = p_wallet AND span = 'h'
           AND start >= least(c.hour, c.day) AND start < greatest(c.hour, c.day) OFFSET 0) h
    UNION ALL
    SELECT c.n, 1, h.*
      FROM cuts c CROSS JOIN LATERAL (
        SELECT * FROM usage_calls(p_wallet, c.hour, c.at) WHERE c.hour < c.at OFFSET 0) h),
  summed AS (  -- once for both sides
    SELECT n, sign, CASE WHEN p_key THEN key_id ELSE 0 END AS key_id,
           CASE p_model WHEN 2 THEN model WHEN 1 THEN split_part(model, '/', 1) ELSE '' END
             AS model,
           CASE WHEN p_task THEN task ELSE '' END AS task,
           sum(calls)::bigint AS calls, sum(attempts)::bigint AS attempts,
           sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled,
           sum(estimated)::bigint AS estimated, sum(prompt)::bigint AS prompt,
           sum(cached_read)::bigint AS cached_read, sum(cached_write)::bigint AS cached_write,
           sum(prompt_audio)::bigint AS prompt_audio, sum(completion)::bigint AS completion,
           sum(reasoning)::bigint AS reasoning, sum(completion_audio)::bigint AS completion_audio,
           sum(cached_write_1h)::bigint AS cached_write_1h,
           sum(prompt_image)::bigint AS prompt_image,
           sum(completion_image)::bigint AS completion_image, sum(image)::bigint AS image,
           sum(second)::bigint AS second, sum(character)::bigint AS character,
           sum(cost)::bigint AS cost, sum(refunded)::bigint AS refunded,
           sum(compared)::bigint AS compared, sum(premium)::bigint AS premium,
           sum(saved)::bigint AS saved, sum(single)::bigint AS single,
           sum(single_saved)::bigint AS single_saved
      FROM edges GROUP BY 1, 2, 3, 4, 5),
  r AS (
    SELECT b.start AS bucket, key_id, model, task,
           calls, attempts, failed, cancelled, estimated, prompt, cached_read, cached_write,
           prompt_audio, completion, reasoning, completion_audio, cached_write_1h, prompt_image,
           completion_image, image, second, character, cost, refunded, compared, premium, saved,
           single, single_saved
      FROM s CROSS JOIN buckets b
      CROSS JOIN LATERAL generate_series(
        b.first_day, b.end_day - interval '24 hours', interval '24 hours') d
      CROSS JOIN LATERAL (
        SELECT * FROM usage_sum
         WHERE generation = s.generation AND wallet = p_wallet AND span = 'd'
           AND usage_sum.start = d OFFSET 0) h
    UNION ALL
    SELECT b.start, key_id, model, task,
           factor * calls, factor * attempts, factor * failed, factor * cancelled,
           factor * estimated, factor * prompt, factor * cached_read, factor * cached_write,
           factor * prompt_audio, factor * completion, factor * reasoning,
           factor * completion_audio, factor * cached_write_1h, factor * prompt_image,
           factor * completion_image, factor * image, factor * second, factor * character,
           factor * cost, factor * refunded, factor * compared, factor * premium, factor * saved,
           factor * single, factor * single_saved
      FROM (SELECT e.n - side.back AS bucket_n, side.sign * e.sign AS factor, e.*
              FROM summed e CROSS JOIN (VALUES (0, -1), (1, 1)) side(back, sign)) x
      JOIN buckets b ON b.n = x.bucket_n
    UNION ALL
    SELECT h.start, key_id, model, task,
           calls, attempts, failed, cancelled, estimated, prompt, cached_read, cached_write,
           prompt_audio, completion, reasoning, completion_audio, cached_write_1h, prompt_image,
           completion_image, image, second, character, cost, refunded, compared, premium, saved,
           single, single_saved
      FROM s CROSS JOIN LATERAL (
        SELECT * FROM usage_sum
         WHERE generation = s.generation AND wallet = p_wallet AND span = 'h'
           AND p_bucket = 'hour' AND usage_sum.start >= p_start AND usage_sum.start < p_end
        OFFSET 0) h
    UNION ALL  -- what is not counted yet
    SELECT coalesce(b.start, c.start), key_id, model, task,
           calls, attempts, failed, cancelled, estimated, prompt, cached_read, cached_write,
           prompt_audio, completion, reasoning, completion_audio, cached_write_1h, prompt_image,
           completion_image, image, second, character, cost, refunded, compared, premium, saved,
           single, single_saved
      FROM s
      CROSS JOIN LATERAL usage_changes(
        s.generation, s.watermark, 9223372036854775807, NULL, NULL, p_wallet) c
      LEFT JOIN buckets b ON c.start >= b.first_hour AND c.start < b.end_hour
     WHERE b.n IS NOT NULL OR (p_bucket = 'hour' AND c.start >= p_start AND c.start < p_end))
  SELECT 0, p_wallet, ''::"char", r.bucket,
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

-- One probe an event, also where it is called from above.
ALTER FUNCTION usage_changes(integer, bigint, bigint, uuid, uuid, bigint) SET enable_indexscan = on;

-- It looked for rows to drop, which there hardly ever are, by reading the whole table each second.
ALTER FUNCTION usage_sweep(integer) SET enable_seqscan = off;

-- --- agents' runs -------------------------------------------------------------------------------
-- A step has its row before its call begins, and says when it was answered. What one costs that was
-- not stands in its postings alone, which may come after its caller has left.
ALTER TABLE agent_step ADD COLUMN answered boolean NOT NULL DEFAULT true;
