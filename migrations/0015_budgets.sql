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
CREATE INDEX budget_window_open ON budget_window (end_time);
