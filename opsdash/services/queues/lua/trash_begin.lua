-- KEYS: lease, info, trash index, restores, the kept lists. ARGV[3]: queue, by, trash id.
-- include lock_guard.lua
local state = redis.call('HGET', KEYS[2], 'state')
if redis.call('EXISTS', KEYS[2]) == 0 then return 'gone' end
if state == 'restored' then return state end
state = state and string.sub(state, 1, 100)
local found = 0
for i = 5, #KEYS do
  found = found + redis.call('LLEN', KEYS[i])
  redis.call('PERSIST', KEYS[i])
end
if not state and found ~= tonumber(redis.call('HGET', KEYS[2], 'count')) then return 'short' end
redis.call('PERSIST', KEYS[2])
redis.call('ZADD', KEYS[3], '+inf', ARGV[5])
redis.call('HSET', KEYS[2], 'state', 'restoring', 'restored_by', ARGV[4])
redis.call('HINCRBY', KEYS[4], ARGV[3], 1)
return state or 'kept'
