-- How fast offers answer, as all workers measured together: a row for each offer that answered
-- lately. Each pair is a sum of milliseconds and how many calls it stands for; both fade with time,
-- and have faded up to update_time.
CREATE TABLE offer_speed (
  offer        text PRIMARY KEY CHECK (octet_length(offer) <= 2048),
  -- To the first token.
  first_ms     double precision NOT NULL CHECK (first_ms >= 0 AND first_ms < 'Infinity'),
  first_weight double precision NOT NULL CHECK (first_weight >= 0 AND first_weight < 'Infinity'),
  -- For each further token.
  token_ms     double precision NOT NULL CHECK (token_ms >= 0 AND token_ms < 'Infinity'),
  token_weight double precision NOT NULL CHECK (token_weight >= 0 AND token_weight < 'Infinity'),
  update_time  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX offer_speed_age ON offer_speed (update_time);
