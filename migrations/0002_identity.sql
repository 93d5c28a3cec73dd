-- Who may call: organisations and their API keys. docs/keys.md says what a key is and what the
-- hash is worth. Nothing here is written when a call is served. No foreign keys, as in 0001.

CREATE TABLE org (
  id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  slug         text   NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{1,62}$'),
  display_name text   NOT NULL CHECK (char_length(display_name) <= 128),
  account_id   bigint NOT NULL UNIQUE,  -- its wallet, opened in the same transaction
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A key is revoked, never deleted: the books name it for ever.
CREATE TABLE api_key (
  id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id       bigint NOT NULL,
  prefix       text   NOT NULL UNIQUE CHECK (prefix ~ '^[0-9a-hjkmnp-tv-z]{12}$'),
  secret_hash  bytea  NOT NULL CHECK (octet_length(secret_hash) = 32), -- keyed; of the whole key
  display_name text   NOT NULL CHECK (char_length(display_name) <= 128),
  scopes       text[] NOT NULL CHECK (
    cardinality(scopes) > 0 AND scopes <@ ARRAY['inference', 'billing', 'admin']
  ),
  create_by    text   NOT NULL CHECK (char_length(create_by) <= 256),  -- a key's name, or a tool's
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoke_time  timestamptz
);
CREATE INDEX api_key_of_org ON api_key (org_id, id);
