-- KEYS: lease, info, trash index, restores, trash lists. ARGV[3]: trash id, seconds to keep, now, queue.
-- include lock_guard.lua
local keep, total = tonumber(ARGV[4]), tonumber(redis.call('HGET', KEYS[2], 'count'))
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, 5) == 'next:' then redis.call('HDEL', KEYS[2], field) end
end
redis.call('HDEL', KEYS[2], 'state')
redis.call('HINCRBY', KEYS[4], ARGV[6], 1)
if keep == 0 or total == 0 then
  for i = 5, #KEYS do redis.call('UNLINK', KEYS[i]) end
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[3])
  return total
end
redis.call('EXPIRE', KEYS[2], keep)
for i = 5, #KEYS do redis.call('EXPIRE', KEYS[i], keep) end
redis.call('HSET', KEYS[2], 'until', ARGV[5] + keep)
redis.call('ZADD', KEYS[3], ARGV[5] + keep, ARGV[3])
return total
