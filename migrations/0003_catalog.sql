-- The catalog: what is offered, at which price, under which other names, and what changed when.
-- Its readers hold all of it in memory and poll catalog_state; every write raises its version.
--
-- There is no trigger and no foreign key here: the code that writes, under the lock of the one row
-- of catalog_state, keeps what they would keep.

CREATE TABLE offer (
  id                 text    PRIMARY KEY,   -- provider/provider_model
  provider           text    NOT NULL,
  model              text    NOT NULL,      -- the canonical id, the same for all who sell it
  provider_model     text    NOT NULL,      -- the name that the provider is called with
  display_name       text    NOT NULL,
  mode               text    NOT NULL,      -- chat, embedding, rerank, image, speech, ...
  context_tokens_max integer CHECK (context_tokens_max > 0),  -- NULL: not known, as below
  prompt_tokens_max  integer CHECK (prompt_tokens_max > 0),
  output_tokens_max  integer CHECK (output_tokens_max > 0),
  input_modalities   text[]  NOT NULL,
  output_modalities  text[]  NOT NULL,
  tools              boolean NOT NULL,
  structured_output  boolean,
  reasoning          boolean NOT NULL,
  temperature        boolean,
  free               boolean NOT NULL,      -- prompt and completion both cost zero
  deprecated         boolean NOT NULL,
  by_name_only       boolean NOT NULL,      -- never chosen for those who did not name it
  release_date       date,
  price_version      bigint,                -- the current one; NULL: unpriced, never free
  unpriced_reason    text    NOT NULL,
  enabled            boolean NOT NULL DEFAULT true,  -- the operator's switch; no source writes it
  source             text    NOT NULL,      -- which source may change it
  delist_time        timestamptz,           -- since when its source has not listed it
  create_time        timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time        timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (id = provider || '/' || provider_model),
  CHECK ((price_version IS NULL) = (unpriced_reason <> '')),
  CHECK (NOT free OR price_version IS NOT NULL)
);

-- Rows of the two price tables are never changed and never deleted: holds and usage records name
-- a version, and every charge can be computed again from it. Versions are unique over all offers.
CREATE SEQUENCE price_version_id;

CREATE TABLE price_version (
  id          bigint PRIMARY KEY,
  offer       text   NOT NULL,
  source      text   NOT NULL,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX price_version_offer ON price_version (offer, id);

CREATE TABLE price_rate (
  price_version     bigint  NOT NULL,
  unit              text    NOT NULL,       -- prompt, completion, cached_read, ...
  prompt_tokens_min integer NOT NULL CHECK (prompt_tokens_min >= 0),  -- holds from this prompt on
  nanousd_per_mtok  bigint  NOT NULL CHECK (nanousd_per_mtok BETWEEN 0 AND 10000000000000),
  PRIMARY KEY (price_version, unit, prompt_tokens_min)
);

CREATE TABLE alias (
  scope       text   NOT NULL,              -- global
  name        text   NOT NULL,
  targets     text[] NOT NULL CHECK (cardinality(targets) > 0),  -- tried in this order
  update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (scope, name)
);

-- One row for every changed fact. A NULL on one side: it was added, or taken away.
CREATE TABLE model_change (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subject     text   NOT NULL,              -- an offer's id or an alias's name
  field       text   NOT NULL,
  old_value   text,
  new_value   text,
  source      text   NOT NULL,
  actor       text   NOT NULL,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX model_change_subject ON model_change (subject, id);

CREATE TABLE catalog_state (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  version     bigint  NOT NULL,
  update_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO catalog_state (version) VALUES (0);
