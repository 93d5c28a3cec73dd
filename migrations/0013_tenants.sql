-- Teams, their environments, users, and what keys are limited to. No foreign keys, as in 0001; what
-- one would keep is kept by the lock of the organisation's row, under which all of this is written.

ALTER TABLE org
  ADD COLUMN suspend_time        timestamptz,
  ADD COLUMN low_balance_nanousd bigint CHECK (low_balance_nanousd > 0),
  ADD COLUMN revision            bigint NOT NULL DEFAULT 1;     -- its etag

CREATE TABLE team (
  id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id       bigint NOT NULL,
  slug         text   NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{1,62}$'),
  display_name text   NOT NULL CHECK (char_length(display_name) <= 128),
  revision     bigint NOT NULL DEFAULT 1,
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (org_id, slug)
);

CREATE TABLE environment (
  id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id       bigint NOT NULL,
  team_id      bigint NOT NULL,
  slug         text   NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{1,62}$'),
  display_name text   NOT NULL CHECK (char_length(display_name) <= 128),
  revision     bigint NOT NULL DEFAULT 1,
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (team_id, slug)
);

-- A person or a wallet in an organisation. One that was taken out stays: the books name it for ever,
-- as -id in the place of a key's id.
CREATE TABLE org_user (
  id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id       bigint NOT NULL,
  code         text   NOT NULL UNIQUE CHECK (code ~ '^[0-9a-hjkmnp-tv-z]{12}$'), -- its public name
  issuer       text   NOT NULL CHECK (char_length(issuer) BETWEEN 1 AND 2048),
  subject      text   NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 255),
  email        text   NOT NULL DEFAULT '' CHECK (char_length(email) <= 254),
  display_name text   NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 128),
  role         text   NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
  revision     bigint NOT NULL DEFAULT 1,
  create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
  delete_time  timestamptz
);
CREATE UNIQUE INDEX org_user_subject ON org_user (issuer, subject, org_id) WHERE delete_time IS NULL;
CREATE INDEX org_user_taken_out ON org_user (issuer, subject, org_id) WHERE delete_time IS NOT NULL;
CREATE INDEX org_user_of_org ON org_user (org_id, id) WHERE delete_time IS NULL;

-- A key with a user is a session of that user: it lives shortly, has no scopes of its own, and may
-- do what its user's role lets it do at the moment.
ALTER TABLE api_key
  ADD COLUMN team_id        bigint,
  ADD COLUMN environment_id bigint,
  ADD COLUMN user_id        bigint,
  ADD COLUMN models         text[] NOT NULL DEFAULT '{}' CHECK (cardinality(models) <= 64),
  ADD COLUMN expire_time    timestamptz,
  ADD COLUMN replaced_by    bigint,      -- the key that a rotation made
  DROP CONSTRAINT api_key_scopes_check,
  ADD CONSTRAINT api_key_scopes CHECK (
    (user_id IS NOT NULL) = (cardinality(scopes) = 0)
    AND scopes <@ ARRAY['inference', 'billing', 'viewing', 'management', 'admin']
  );
CREATE INDEX api_key_of_user ON api_key (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_key_of_team ON api_key (team_id, id) WHERE team_id IS NOT NULL;
CREATE INDEX api_key_of_environment ON api_key (environment_id, id)
  WHERE environment_id IS NOT NULL;
-- A list of an organisation's keys must not walk over its users' sessions.
DROP INDEX api_key_of_org;
CREATE INDEX api_key_of_org ON api_key (org_id, id) WHERE user_id IS NULL;

-- A wallet's nonce is good once, in all servers.
CREATE TABLE wallet_nonce (
  nonce_hash  bytea PRIMARY KEY,
  expire_time timestamptz NOT NULL
);
CREATE INDEX wallet_nonce_expire ON wallet_nonce (expire_time);
