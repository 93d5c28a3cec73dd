-- What operators say of models, and how good models are. An operator's word lies over what was
-- synced and is never written into it, so that taking it back brings the synced fact back.

ALTER TABLE offer
  DROP COLUMN enabled,                      -- an operator's word from now on, as the others
  ADD COLUMN regions          text[] NOT NULL DEFAULT '{}',  -- where it is served; {}: not known
  ADD COLUMN deprecation_date date,         -- from when on it is deprecated, as its source says
  ADD COLUMN own_price_version bigint;      -- the operator's price; NULL: the source's holds

-- What was said, as it was said. The layer `file` is models.yaml as it was last applied; `call` is
-- what UpdateModel set, whose pattern is the offer's id. The file wins, for what it names.
CREATE TABLE operator_rule (
  layer       text    NOT NULL CHECK (layer IN ('call', 'file')),
  pattern     text    NOT NULL,             -- an offer's id, a model, or a glob of either
  ordinal     integer NOT NULL,             -- of two rules of a layer the later one wins
  words       json    NOT NULL,
  update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (layer, pattern)
);

-- What follows from it for each offer (and, for ratings, each model): one fact a row. It is
-- computed again whenever a rule or an offer changes, in the same transaction.
CREATE TABLE operator_word (
  subject     text  NOT NULL,               -- an offer's id, or a model for fields `rating.*`
  field       text  NOT NULL,
  value       json  NOT NULL,
  layer       text  NOT NULL,
  pattern     text  NOT NULL,
  PRIMARY KEY (subject, field)
);

-- An alias of the file stands before one that was set by a call, which comes back without it.
ALTER TABLE alias
  ADD COLUMN layer text NOT NULL DEFAULT 'call' CHECK (layer IN ('call', 'file')),
  DROP CONSTRAINT alias_pkey,
  ADD PRIMARY KEY (scope, name, layer);

-- What sources say of how well models do in benchmarks; ratings are derived from it at reading.
CREATE TABLE benchmark_score (
  model       text    NOT NULL,             -- the canonical id
  benchmark   text    NOT NULL,             -- as in the table of docs/models.md
  score       numeric NOT NULL,             -- in the benchmark's own unit
  source      text    NOT NULL,
  score_date  date,
  PRIMARY KEY (model, benchmark, source)
);
