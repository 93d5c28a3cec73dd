-- How many valid keys an organisation has is counted when it makes another: without walking over all
-- those that it revoked, or that ended, since.
CREATE INDEX api_key_valid ON api_key (org_id, coalesce(expire_time, 'infinity'))
  WHERE user_id IS NULL AND revoke_time IS NULL;
