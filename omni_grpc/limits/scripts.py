"""What Redis runs: each script is one step that nothing comes between, by Redis' own clock.

A window is a hash of counts by bucket; calls at once are a sorted set of leases by the time at
which they end. Every key expires by itself.
"""

from typing import Final

KINDS: Final = {"requests": "r", "tokens": "t", "concurrent": "c"}
"""How keys end, and what the scripts call the kinds."""

TAKE: Final = """
-- KEYS: one a claim. ARGV: ms of a bucket, buckets of a window, ms of a lease, the lease's name;
-- then of each claim its kind, limit and amount. Nothing is counted unless all have room.
-- Returns 1 or 0, the bucket; then of each claim what was used before, ms until all of it is free,
-- and ms until there is room, -1 if there is.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local width, span, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = math.floor(now / width)
local oldest = bucket - span
local reply = {1, bucket}
for place, key in ipairs(KEYS) do
  local at = 2 + 3 * place
  local limit, amount = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local used, reset, wait = 0, 0, -1
  if ARGV[at] == 'c' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    used = redis.call('ZCARD', key)
    if used + amount > limit then wait = 0 end
  else
    local found = redis.call('HGETALL', key)
    local live, gone, newest = {}, {}, nil
    for i = 1, #found, 2 do
      local one, count = tonumber(found[i]), tonumber(found[i + 1])
      if one < oldest then
        gone[#gone + 1] = found[i]
      else
        used = used + count
        live[#live + 1] = {one, count}
        if not newest or one > newest then newest = one end
      end
    end
    if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
    if newest then reset = (newest + 1 + span) * width - now end
    if used + amount > limit then
      table.sort(live, function(a, b) return a[1] < b[1] end)
      local left = used
      for _, one in ipairs(live) do
        left = left - one[2]
        wait = (one[1] + 1 + span) * width - now
        if left + amount <= limit then break end
      end
    end
  end
  if wait >= 0 then reply[1] = 0 end
  reply[#reply + 1] = used
  reply[#reply + 1] = reset
  reply[#reply + 1] = wait
end
if reply[1] == 1 then
  for place, key in ipairs(KEYS) do
    local at = 2 + 3 * place
    if ARGV[at] == 'c' then
      redis.call('ZADD', key, now + lease, ARGV[4])
      redis.call('PEXPIRE', key, lease)
    else
      redis.call('HINCRBY', key, bucket, ARGV[at + 2])
      redis.call('PEXPIRE', key, (span + 2) * width)
    end
  end
end
return reply
"""

GIVE_BACK: Final = """
-- KEYS: one a claim. ARGV: of each claim its kind, its bucket or lease, and what changes there.
-- A bucket that is gone stays so, and none ever has less than nothing.
for place, key in ipairs(KEYS) do
  local at = 3 * place - 2
  if ARGV[at] == 'c' then
    redis.call('ZREM', key, ARGV[at + 1])
  elseif redis.call('HEXISTS', key, ARGV[at + 1]) == 1 then
    if redis.call('HINCRBY', key, ARGV[at + 1], ARGV[at + 2]) <= 0 then
      redis.call('HDEL', key, ARGV[at + 1])
    end
  end
end
return 1
"""

RENEW: Final = """
-- KEYS: one a limit of calls at once. ARGV: ms of a lease; then of each key how many leases, and
-- their names. A lease that is over, or was lost, is there again: its call still runs.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = 2
for _, key in ipairs(KEYS) do
  for i = at + 1, at + tonumber(ARGV[at]) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[i])
  end
  at = at + 1 + tonumber(ARGV[at])
  redis.call('PEXPIRE', key, ARGV[1])
end
return 1
"""
