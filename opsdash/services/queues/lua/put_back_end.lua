-- All tasks are back. KEYS: info, trash index, then tasks and places of each queue. ARGV: trash id, by, at, seconds to
-- remember it. Returns what was done.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
local state = redis.call('HGET', KEYS[1], 'state')
if state then return string.sub(state, 1, 100) end
if (tonumber(redis.call('HGET', KEYS[1], 'count')) or 0) > 0 then return 'short' end
redis.call('EXPIRE', KEYS[1], ARGV[4]) -- first: a full Redis takes the rest only after a write that needs no room
redis.call('HSET', KEYS[1], 'state', 'restored', 'restored_at', ARGV[3], 'restored_by', ARGV[2])
redis.call('HSET', KEYS[1], 'count', redis.call('HGET', KEYS[1], 'total') or 1)
redis.call('ZREM', KEYS[2], ARGV[1])
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 'done'
