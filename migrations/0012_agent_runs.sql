-- Agents' runs: which calls were steps of which run, so that a run's total can be told. What each
-- step cost stands in the ledger; here it is repeated for the sum.
CREATE TABLE agent_step (
  org_id        bigint NOT NULL,
  run_id        text   NOT NULL,
  call_id       uuid   NOT NULL,
  cost_nanousd  bigint NOT NULL CHECK (cost_nanousd >= 0),
  saved_nanousd bigint,
  create_time   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, run_id, call_id)
);
CREATE INDEX agent_step_age ON agent_step (create_time);
