-- Providers' credentials of tenants. A secret is sealed with a key of its own, which is sealed with
-- a master key that the database never sees; docs/credentials.md.

CREATE SEQUENCE provider_credential_id;   -- known before the row is written, since it is sealed to it

CREATE TABLE provider_credential (
  id             bigint PRIMARY KEY,
  org_id         bigint   NOT NULL,
  subject_kind   "char"   NOT NULL CHECK (subject_kind IN ('o', 't', 'e')),
  subject_id     bigint   NOT NULL,
  slug           text     NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  provider       text     NOT NULL,
  sealed         bytea    NOT NULL,      -- the secret and the variables, under the data key
  sealed_key     bytea    NOT NULL,      -- the data key, under the master key
  master_key_id  text     NOT NULL,      -- which master key
  weight         integer  NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000),
  fee_ppm        integer  CHECK (fee_ppm BETWEEN 0 AND 1000000),
  active         boolean  NOT NULL DEFAULT true,
  hint           text     NOT NULL DEFAULT '' CHECK (char_length(hint) <= 4),
  revision       bigint   NOT NULL DEFAULT 1,
  create_time    timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (subject_kind, subject_id, slug)
);
CREATE INDEX provider_credential_of_org ON provider_credential (org_id, id);

-- Whose credential an attempt was sent with, where it was not the service's own: what is billed at
-- its owner's account there stands in no invoice to the service. A hold ends; this stays.
CREATE TABLE own_attempt (
  hold_id    uuid PRIMARY KEY,
  credential text NOT NULL               -- its name at that time
);

CREATE FUNCTION own_attempt_noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO own_attempt (hold_id, credential) VALUES (NEW.id, NEW.credential)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER own_attempt_noted AFTER INSERT ON hold FOR EACH ROW
  WHEN (NEW.credential <> 'house') EXECUTE FUNCTION own_attempt_noted();
