-- Where the catalog's facts come from and when they came.

-- What each source said last, so that what is believed of an offer can be found again from all of
-- them: when one falls silent, another's word counts.
CREATE TABLE catalog_source (
  name          text    PRIMARY KEY,        -- seed, models.dev, openrouter, ..., an operator's own
  location      text    NOT NULL,           -- a URL or a path; empty: this release's packages
  etag          text    NOT NULL,           -- of what was taken, and so the next line; or empty
  last_modified text    NOT NULL,
  digest        text    NOT NULL,           -- of the facts that were taken, and of their reader
  offer_count   integer NOT NULL,
  faults        text[]  NOT NULL,           -- models that could not be read, one line each
  failure       text    NOT NULL,           -- why it brought nothing last time; empty if it did
  read_time     timestamptz,                -- when it was last read whole; NULL: never
  check_time    timestamptz NOT NULL        -- when it was last asked
);

CREATE TABLE source_offer (
  source text NOT NULL,
  offer  text NOT NULL,                     -- provider/provider_model
  facts  text NOT NULL,                     -- JSON
  PRIMARY KEY (source, offer)
);

ALTER TABLE offer
  ADD COLUMN origins jsonb NOT NULL DEFAULT '{}',  -- field -> source, where that is not `source`
  -- What holds are made at where a believable source asks more; NULL: the price itself.
  ADD COLUMN hold_price_version bigint;

-- One worker of all replicas syncs when it is time; who holds the lease past its time has died.
CREATE TABLE catalog_schedule (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  holder     text        NOT NULL DEFAULT '',
  lease_time timestamptz NOT NULL DEFAULT '-infinity',  -- until when the holder has it
  due_time   timestamptz NOT NULL DEFAULT '-infinity'   -- when the next sync is due
);
INSERT INTO catalog_schedule DEFAULT VALUES;

-- A million images cost more than a million tokens: up to ten dollars each.
ALTER TABLE price_rate
  DROP CONSTRAINT price_rate_nanousd_per_mtok_check,
  ADD CONSTRAINT price_rate_nanousd_per_mtok_check CHECK (
    nanousd_per_mtok BETWEEN 0 AND
      CASE WHEN unit = 'image' THEN 10000000000000000 ELSE 10000000000000 END
  );
