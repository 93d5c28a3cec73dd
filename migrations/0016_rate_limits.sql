-- Rate limits: what is read with a key's context. What was admitted stands in memory or in Redis.

CREATE TABLE rate_limit (
  id                  bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  org_id              bigint NOT NULL,
  subject_kind        "char" NOT NULL CHECK (subject_kind IN ('o', 't', 'e', 'k')),
  subject_id          bigint NOT NULL,
  slug                text   NOT NULL CHECK (slug ~ '^[a-z][a-z0-9-]{0,62}$'),
  models              text[] NOT NULL DEFAULT '{}' CHECK (cardinality(models) <= 64),
  requests_per_minute bigint CHECK (requests_per_minute BETWEEN 1 AND 1000000000),
  tokens_per_minute   bigint CHECK (tokens_per_minute BETWEEN 1 AND 1000000000000),
  concurrent          bigint CHECK (concurrent BETWEEN 1 AND 1000000),
  revision            bigint NOT NULL DEFAULT 1,
  create_time         timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (subject_kind, subject_id, slug)
);
CREATE INDEX rate_limit_of_org ON rate_limit (org_id, id);
