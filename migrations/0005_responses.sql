-- Responses that callers asked to keep, for the hours that the operator gives. Sealed: the database
-- knows whose they are, what they continue and when they end, and nothing that was said.

CREATE TABLE stored_response (
  id          uuid   PRIMARY KEY,  -- its call's
  account_id  bigint NOT NULL,
  previous_id uuid,                -- the response that it continues
  expire_time timestamptz NOT NULL,
  sealed      bytea  NOT NULL
);
ALTER TABLE stored_response ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- nothing to compress
CREATE INDEX stored_response_by_expiry ON stored_response (expire_time);
