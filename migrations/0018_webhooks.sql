-- Webhooks and their outbox: what happened is written in the transaction in which it happens, and
-- sent later, until it is taken or given up.

CREATE TABLE webhook (
  id            bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id        bigint  NOT NULL,
  slug          text    NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  url           text    NOT NULL CHECK (char_length(url) <= 2048),
  events        text[]  NOT NULL DEFAULT '{}' CHECK (cardinality(events) <= 64),
  active        boolean NOT NULL DEFAULT true,
  sealed_secret bytea   NOT NULL,
  revision      bigint  NOT NULL DEFAULT 1,
  create_time   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (org_id, slug)
);

CREATE TABLE webhook_delivery (
  id                uuid     PRIMARY KEY,     -- version 7, so that they sort by time
  webhook_id        bigint   NOT NULL,
  event             text     NOT NULL,
  body              text     NOT NULL,        -- as it is signed and sent, each time the same
  state             "char"   NOT NULL DEFAULT 'P' CHECK (state IN ('P', 'D', 'X')),
  -- pending, delivered, dead
  attempt_count     integer  NOT NULL DEFAULT 0,
  last_status       integer,
  last_error        text     NOT NULL DEFAULT '',
  next_attempt_time timestamptz,              -- while one is sent, when another sender may take it
  create_time       timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((state = 'P') = (next_attempt_time IS NOT NULL))
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, next_attempt_time)
  WHERE state = 'P';
CREATE INDEX webhook_delivery_next ON webhook_delivery (next_attempt_time) WHERE state = 'P';
CREATE INDEX webhook_delivery_of ON webhook_delivery (webhook_id, id);
CREATE INDEX webhook_delivery_dead ON webhook_delivery (webhook_id, id) WHERE state = 'X';

-- Tells an organisation's webhooks, each that wants it, and says how many. `p_data` is JSON.
CREATE FUNCTION webhook_enqueue(p_org bigint, p_event text, p_data text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  at   timestamptz := clock_timestamp();
  told integer;
BEGIN
  INSERT INTO webhook_delivery (id, webhook_id, event, body, next_attempt_time, create_time)
  SELECT encode(
           set_bit(set_bit(
             overlay(uuid_send(gen_random_uuid())
                     PLACING substring(int8send((extract(epoch FROM at) * 1000)::bigint) FROM 3)
                     FROM 1 FOR 6),
             52, 1), 53, 1), 'hex')::uuid,
         w.id, p_event,
         '{"type":"' || p_event || '","timestamp":"'
         || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         || '","data":' || p_data || '}',
         at, at
  FROM webhook w
  WHERE w.org_id = p_org AND w.active AND (w.events = '{}' OR p_event = ANY (w.events));
  GET DIAGNOSTICS told = ROW_COUNT;
  RETURN told;
END $$;

-- Whether a wallet's low balance was told since it was last above the line.
CREATE TABLE low_balance (
  org_id    bigint PRIMARY KEY,
  tell_time timestamptz NOT NULL
);

-- When somebody last looked for low balances: one of all workers does.
CREATE TABLE low_balance_look (
  one       boolean PRIMARY KEY DEFAULT true CHECK (one),
  look_time timestamptz NOT NULL
);
INSERT INTO low_balance_look VALUES (true, '-infinity');
