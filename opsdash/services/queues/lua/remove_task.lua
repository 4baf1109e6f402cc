-- One message goes from its queue to its own trash entry, with the digests of its neighbours, so that it can go back
-- between them. KEYS: lease, list, info, trash index, trash list, suspended expiries, places. ARGV[3]: the message, where it was
-- seen, how many may have been pushed since, neighbours to remember, seconds to keep it (0: not at all), now, trash id,
-- step, then alternating field and value of the info. A trash id that is there already is answered: sent twice is done
-- once. Returns what was done, and for 'removed' the places from both ends.
-- include lock_guard.lua
-- include ../../broker/lua/named.lua
if redis.call('EXISTS', KEYS[3]) == 1 then return {'known'} end
local hint, slack, near, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local low = math.max(0, hint - near)
local window, at = redis.call('LRANGE', KEYS[2], low, hint + slack + near), nil
for i = hint - low + 1, math.min(#window, hint - low + 1 + slack) do
  if named(window[i]) == ARGV[3] then at = i break end
end
if not at then return {'moved'} end
local newer, older = {}, {}
for i = 1, near do
  if window[at - i] then newer[i] = redis.sha1hex(window[at - i]) end
  if window[at + i] then older[i] = redis.sha1hex(window[at + i]) end
end
local message, place, length = window[at], low + at - 1, redis.call('LLEN', KEYS[2])
local ttl = redis.call('PTTL', KEYS[2])
local noted = redis.pcall('HGET', KEYS[6], KEYS[2])
noted = type(noted) == 'string' and string.match(noted, '^(%d+):') or ''
local expires = math.max(ttl < 1e13 and ttl or 0, #noted <= 13 and tonumber(noted) or 0)
if redis.call('LREM', KEYS[2], place * 2 < length and 1 or -1, message) ~= 1 then return {'moved'} end
if keep > 0 then
  redis.call('RPUSH', KEYS[5], message)
  redis.call('RPUSH', KEYS[7], table.concat({ARGV[10], table.concat(newer, ' '), table.concat(older, ' ')}, '|'))
  redis.call('HSET', KEYS[3], 'count', 1, 'newer', 0, 'step:' .. ARGV[10], 1, 'until', ARGV[8] + keep, unpack(ARGV, 11))
  if expires > 0 then redis.call('HSET', KEYS[3], 'expires_ms', string.format('%.0f', expires)) end
  for _, i in ipairs({3, 5, 7}) do redis.call('EXPIRE', KEYS[i], keep) end
  redis.call('ZADD', KEYS[4], ARGV[8] + keep, ARGV[9])
end
return {'removed', place, length}
