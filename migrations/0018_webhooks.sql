-- Webhooks and their outbox: what happened is written in the transaction in which it happens, and
-- sent later, until it is taken or given up.

CREATE TABLE webhook (
  id            bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id        bigint  NOT NULL,
  slug          text    NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  url           text    NOT NULL CHECK (char_length(url) <= 2048),
  events        text[]  NOT NULL DEFAULT '{}',
  active        boolean NOT NULL DEFAULT true,
  sealed_secret bytea   NOT NULL,
  revision      bigint  NOT NULL DEFAULT 1,
  create_time   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (org_id, slug)
);

CREATE TABLE webhook_delivery (
  id                uuid     PRIMARY KEY,
  webhook_id        bigint   NOT NULL,
  event             text     NOT NULL,
  body              text     NOT NULL,
  state             "char"   NOT NULL DEFAULT 'P' CHECK (state IN ('P', 'D', 'X')),
  -- pending, delivered, dead
  attempt_count     integer  NOT NULL DEFAULT 0,
  last_status       integer,
  last_error        text     NOT NULL DEFAULT '',
  next_attempt_time timestamptz,
  create_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((state = 'P') = (next_attempt_time IS NOT NULL))
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (next_attempt_time) WHERE state = 'P';
CREATE INDEX webhook_delivery_of ON webhook_delivery (webhook_id, id);

-- Whether a wallet's low balance was told since it was last above the line.
CREATE TABLE low_balance (
  org_id    bigint PRIMARY KEY,
  tell_time timestamptz NOT NULL
);
