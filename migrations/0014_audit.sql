-- The audit log: one chain an organisation, only ever added to. docs/audit.md says what a hash is
-- made of, and what a chain shows and does not.

CREATE TABLE audit_entry (
  org_id      bigint      NOT NULL,
  position    bigint      NOT NULL,      -- from 1, without gaps
  create_time timestamptz NOT NULL,
  actor       text        NOT NULL,
  peer        text        NOT NULL,
  action      text        NOT NULL,
  resource    text        NOT NULL,
  old_json    text,                      -- as written: jsonb would not keep the text that is hashed
  new_json    text,
  call_id     text        NOT NULL,
  hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (org_id, position)
);

-- What lists are filtered by; the key itself serves whole logs and times.
CREATE INDEX audit_entry_actor ON audit_entry (org_id, actor, position);
CREATE INDEX audit_entry_action ON audit_entry (org_id, action, position);
CREATE INDEX audit_entry_resource ON audit_entry (org_id, resource COLLATE "C", position);

-- The end of each chain, which its writers lock.
CREATE TABLE audit_head (
  org_id   bigint PRIMARY KEY,
  position bigint NOT NULL,
  hash     bytea  NOT NULL
);

CREATE FUNCTION audit_field(field text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN field IS NULL THEN '-'::bytea
              ELSE convert_to(octet_length(field) || ':' || field, 'UTF8') END
$$;

CREATE FUNCTION audit_append(
  p_org bigint, p_actor text, p_peer text, p_action text, p_resource text, p_old text, p_new text,
  p_call text
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  head audit_head;
  at   timestamptz;
BEGIN
  INSERT INTO audit_head VALUES (p_org, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
  SELECT * INTO head FROM audit_head WHERE org_id = p_org FOR UPDATE;
  at := clock_timestamp();
  head.position := head.position + 1;
  head.hash := sha256(
    head.hash || audit_field(p_org::text) || audit_field(head.position::text)
    || audit_field((extract(epoch FROM at) * 1000000)::bigint::text)
    || audit_field(p_actor) || audit_field(p_peer) || audit_field(p_action)
    || audit_field(p_resource) || audit_field(p_old) || audit_field(p_new) || audit_field(p_call));
  INSERT INTO audit_entry
  VALUES (p_org, head.position, at, p_actor, p_peer, p_action, p_resource, p_old, p_new, p_call,
          head.hash);
  UPDATE audit_head SET position = head.position, hash = head.hash WHERE org_id = p_org;
  RETURN head.position;
END $$;
