-- How requests are routed, by scope, and experiments: what AdminService and the commands set. A
-- policies file adds to it. Its readers hold all of it in memory and poll routing_state; every
-- write raises its version, under the lock of that one row, which also keeps what a foreign key
-- would keep.

CREATE TABLE routing_rule (
  kind        text   NOT NULL CHECK (kind IN ('policy', 'experiment')),
  scope       text   NOT NULL,          -- global, orgs/{org}, orgs/{org}/teams/{team}
  name        text   NOT NULL,
  content     jsonb  NOT NULL,          -- as docs/policies.md describes it
  revision    bigint NOT NULL,          -- the version of routing_state that wrote it: its etag
  create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  update_by   text   NOT NULL,          -- a key's prefix, or a tool's name
  PRIMARY KEY (kind, scope, name)
);

CREATE TABLE routing_state (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  version     bigint  NOT NULL,
  update_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO routing_state (version) VALUES (1);
