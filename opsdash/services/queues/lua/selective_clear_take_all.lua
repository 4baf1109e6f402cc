-- All that was not looked at matches: one step, whatever it is. KEYS[5]: trash list, which is not there yet.
-- include selective_clear_arrived.lua
local moved = redis.call('LLEN', KEYS[2])
redis.call('RENAME', KEYS[2], KEYS[5])
redis.call('PERSIST', KEYS[5])
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], '')
redis.call('HINCRBY', KEYS[4], 'count', moved)
redis.call('HINCRBY', KEYS[4], 'step:' .. ARGV[5], moved)
return {moved, moved}
