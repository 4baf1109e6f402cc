-- The message goes back, next to one of its neighbours. KEYS: lease, list, info, trash index, trash list, restores.
-- ARGV[3]: trash id, queue, by, at, seconds to remember it, then where: 'next' (to run), or 'behind' (a newer neighbour
-- is right before it) or 'before' (an older one is right behind it), that neighbour's digest, where it was seen, how many
-- may have been pushed since, and up to how many from the end are moved to make room. Returns what was done.
-- include lock_guard.lua
if redis.call('EXISTS', KEYS[3]) == 0 then return 'gone' end
local state = redis.call('HGET', KEYS[3], 'state')
if state then return string.sub(state, 1, 100) end
local message = redis.call('LINDEX', KEYS[5], 0)
if not message then return 'short' end
local place, length, neighbour = nil, redis.call('LLEN', KEYS[2]), nil
if ARGV[8] == 'next' then
  place = length
else
  for i, one in ipairs(redis.call('LRANGE', KEYS[2], ARGV[10], ARGV[10] + ARGV[11])) do
    if redis.sha1hex(one) == ARGV[9] then
      neighbour, place = one, ARGV[10] + i - (ARGV[8] == 'behind' and 0 or 1)
      break
    end
  end
  if not place then return 'moved' end
end
if place >= length then
  redis.call('RPUSH', KEYS[2], message)
elseif place == 0 then
  redis.call('LPUSH', KEYS[2], message)
elseif length - place <= tonumber(ARGV[12]) then
  local later = redis.call('RPOP', KEYS[2], length - place)
  redis.call('RPUSH', KEYS[2], message)
  for i = #later, 1, -1 do redis.call('RPUSH', KEYS[2], later[i]) end
else
  redis.call('LINSERT', KEYS[2], ARGV[8] == 'behind' and 'AFTER' or 'BEFORE', neighbour, message)
end
redis.call('UNLINK', KEYS[5])
redis.call('HSET', KEYS[3], 'state', 'restored', 'restored_at', ARGV[6], 'restored_by', ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[7])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('HINCRBY', KEYS[6], ARGV[4], 1)
return 'done'
