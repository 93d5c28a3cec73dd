-- How many valid keys an organisation has is counted when it makes another: without walking over all
-- those that it revoked, or that ended, since.
CREATE INDEX api_key_valid ON api_key (org_id, coalesce(expire_time, 'infinity'))
  WHERE user_id IS NULL AND revoke_time IS NULL;

-- A payment that an operator names for a top-up whose fate nobody told is named for that one alone,
-- until `payment` (0006) has it for ever.
CREATE UNIQUE INDEX top_up_settled_by ON top_up (network, payment_id)
  WHERE state = 'P' AND payment_id <> '';

-- One worker of all replicas asks the card processor for the news of the last days; who holds the
-- lease past its time has died.
CREATE TABLE card_catch_up (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  holder     text        NOT NULL DEFAULT '',
  lease_time timestamptz NOT NULL DEFAULT '-infinity',  -- until when the holder has it
  due_time   timestamptz NOT NULL DEFAULT '-infinity'   -- when it is asked next
);
INSERT INTO card_catch_up DEFAULT VALUES;
