-- KEYS: lease, info, trash index, kept lists. ARGV[3]: trash id.
-- include lock_guard.lua
if redis.call('EXISTS', KEYS[2]) == 0 then return 'gone' end
local state = redis.call('HGET', KEYS[2], 'state')
if state then return string.sub(state, 1, 100) end
for i = 4, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[3])
return 'deleted'
