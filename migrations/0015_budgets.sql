-- Budgets and their windows. A hold names budgets; the database, by its own clock, says which window
-- of each is the current one, so that servers with other clocks cannot spend a day twice.

CREATE TABLE budget (
  id           bigint PRIMARY KEY DEFAULT nextval('account_id'), -- so that no account has its id
  org_id       bigint NOT NULL,
  subject_kind "char" NOT NULL CHECK (subject_kind IN ('o', 't', 'e', 'k')),
  subject_id   bigint NOT NULL,          -- of the org, team, environment or key
  slug         text   NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  display_name text   NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 128),
  unit         text   NOT NULL CHECK (unit IN ('nanousd', 'tokens')),
  amount       bigint NOT NULL CHECK (amount BETWEEN 0 AND 1000000000000000),
  period       text   NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
  time_zone    text   NOT NULL DEFAULT 'UTC',
  revision     bigint NOT NULL DEFAULT 1,
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  delete_time  timestamptz               -- its windows stay: postings name them
);
CREATE UNIQUE INDEX budget_name ON budget (subject_kind, subject_id, slug) WHERE delete_time IS NULL;
CREATE INDEX budget_of_org ON budget (org_id, id);

CREATE TABLE budget_window (
  budget_id  bigint      NOT NULL,
  start_time timestamptz NOT NULL,       -- '-infinity' of a budget without end
  end_time   timestamptz NOT NULL,       -- 'infinity' likewise
  account_id bigint      NOT NULL UNIQUE,  -- its memo account (account.kind 2)
  told_ppm   integer     NOT NULL DEFAULT 0,  -- the highest threshold that was told of
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (budget_id, start_time)
);
CREATE INDEX budget_window_open ON budget_window (end_time, budget_id);

-- When the window of a period begins and ends in which a moment lies.
CREATE FUNCTION budget_span(
  p_period text, p_time_zone text, p_now timestamptz,
  OUT start_time timestamptz, OUT end_time timestamptz
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  local timestamp; step interval;
BEGIN
  IF p_period = 'total' THEN
    start_time := '-infinity'; end_time := 'infinity';
    RETURN;
  END IF;
  step := ('1 ' || p_period)::interval;
  local := date_trunc(p_period, p_now AT TIME ZONE p_time_zone);
  start_time := local AT TIME ZONE p_time_zone;
  -- Where clocks go back over midnight there are two of them: windows change at the second.
  IF start_time > p_now THEN
    local := local - step; start_time := local AT TIME ZONE p_time_zone;
  END IF;
  end_time := (local + step) AT TIME ZONE p_time_zone;
END $$;

-- The accounts of the current windows of budgets, by this database's clock; windows that are missing
-- are made. Both are array literals, one a hold ('{7,9}', NULL where a hold has none), and keep
-- their order and length.
--
-- A window that is there is one probe of an index; the budget itself is read only to make one. Its
-- row is locked then, before any account, in one order, so that a change of its limit comes before
-- the window or finds it. A deleted budget's windows have no limit.
--
-- SQLSTATE OM002: unknown budget, which is never taken for one without a limit.
CREATE FUNCTION ledger_windows(
  p_budgets text[], p_now timestamptz DEFAULT clock_timestamp()
) RETURNS text[] LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_material = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  found text[]; lacks boolean; r record;
BEGIN
  FOR pass IN 1 .. 2 LOOP
    SELECT array_agg(x.accounts::text ORDER BY x.ord),
           bool_or(array_position(x.accounts, NULL) IS NOT NULL)
      INTO found, lacks
      FROM (
        SELECT h.ord, (
                 SELECT array_agg(CASE WHEN w.end_time > p_now THEN w.account_id END ORDER BY b.ord)
                   FROM unnest(h.budgets::bigint[]) WITH ORDINALITY b(id, ord)
                   LEFT JOIN LATERAL (
                     SELECT v.account_id, v.end_time FROM budget_window v
                      WHERE v.budget_id = b.id AND v.start_time <= p_now
                      ORDER BY v.start_time DESC LIMIT 1) w ON true) AS accounts
          FROM unnest(p_budgets) WITH ORDINALITY h(budgets, ord)) x;
    IF lacks IS NOT TRUE THEN RETURN found; END IF;
    IF pass = 2 THEN
      RAISE EXCEPTION 'unknown budget in %', p_budgets USING ERRCODE = 'OM002';
    END IF;
    PERFORM 1 FROM budget g
      WHERE g.id IN (SELECT unnest(b::bigint[]) FROM unnest(p_budgets) b) AND NOT EXISTS (
            SELECT FROM budget_window v
             WHERE v.budget_id = g.id AND v.start_time <= p_now AND v.end_time > p_now)
      ORDER BY g.id FOR NO KEY UPDATE;
    -- A new statement sees what that waited for. No window overlaps another, also where the rules
    -- of a time zone have changed since that was made.
    FOR r IN
      SELECT g.id, g.org_id, CASE WHEN g.delete_time IS NULL THEN g.amount END AS debit_limit,
             greatest(s.start_time, (SELECT max(v.end_time) FROM budget_window v
                                      WHERE v.budget_id = g.id AND v.end_time <= p_now)) AS begins,
             least(s.end_time, (SELECT min(v.start_time) FROM budget_window v
                                 WHERE v.budget_id = g.id AND v.start_time > p_now)) AS ends,
             nextval('account_id') AS account
        FROM budget g CROSS JOIN LATERAL budget_span(g.period, g.time_zone, p_now) s
       WHERE g.id IN (SELECT unnest(b::bigint[]) FROM unnest(p_budgets) b) AND NOT EXISTS (
             SELECT FROM budget_window v
              WHERE v.budget_id = g.id AND v.start_time <= p_now AND v.end_time > p_now)
    LOOP
      INSERT INTO account (id, kind, org_id, debit_limit)
      VALUES (r.account, 2, r.org_id, r.debit_limit);
      INSERT INTO budget_window (budget_id, start_time, end_time, account_id)
      VALUES (r.id, r.begins, r.ends, r.account);
    END LOOP;
  END LOOP;
END $$;

-- Brings a changed limit to the budget's windows; called in the transaction that changed it, whose
-- lock of the budget's row keeps others from making one. A window that ended just now is among them:
-- a hold may still be on its way into it. What was told of a threshold that is not reached any more
-- is forgotten.
CREATE FUNCTION budget_limit_changed(p_budget bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  ids bigint[];
BEGIN
  SELECT array_agg(v.account_id) INTO ids FROM budget_window v
   WHERE v.budget_id = p_budget AND v.end_time > clock_timestamp() - interval '5 minutes';
  PERFORM 1 FROM account a WHERE a.id = ANY (ids) ORDER BY a.id FOR NO KEY UPDATE;
  UPDATE account a SET debit_limit = CASE WHEN g.delete_time IS NULL THEN g.amount END
    FROM budget g WHERE g.id = p_budget AND a.id = ANY (ids);
  UPDATE budget_window v SET told_ppm = least(v.told_ppm, budget_reached_ppm(a))
    FROM account a WHERE v.account_id = ANY (ids) AND a.id = v.account_id AND v.told_ppm > 0;
END $$;

-- The highest threshold that a window's spending has reached, in millionths of its limit.
CREATE FUNCTION budget_reached_ppm(p_window account) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_window.debits_posted <= p_window.credits_posted THEN 0
              WHEN p_window.debits_posted - p_window.credits_posted >= p_window.debit_limit
              THEN 1000000
              WHEN (p_window.debits_posted - p_window.credits_posted)::numeric * 100
                   >= p_window.debit_limit::numeric * 80
              THEN 800000
              ELSE 0 END
$$;

-- What a budget is called.
CREATE FUNCTION budget_name(p_budget budget) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT 'orgs/' || o.slug || CASE p_budget.subject_kind
           WHEN 't' THEN (SELECT '/teams/' || t.slug FROM team t WHERE t.id = p_budget.subject_id)
           WHEN 'e' THEN (SELECT '/teams/' || t.slug || '/environments/' || e.slug
                            FROM environment e JOIN team t ON t.id = e.team_id
                           WHERE e.id = p_budget.subject_id)
           WHEN 'k' THEN (SELECT '/apiKeys/' || k.prefix FROM api_key k
                           WHERE k.id = p_budget.subject_id)
           ELSE '' END || '/budgets/' || p_budget.slug
    FROM org o WHERE o.id = p_budget.org_id
$$;
