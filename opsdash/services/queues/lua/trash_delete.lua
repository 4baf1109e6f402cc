-- KEYS: info, trash index, kept lists. ARGV[1]: trash id. Returns what was done.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
local state = redis.call('HGET', KEYS[1], 'state')
if state then return string.sub(state, 1, 100) end
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 'deleted'
