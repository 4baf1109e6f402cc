-- KEYS: lease, info, trash index, restores. ARGV[3]: queue, at, trash id, seconds to remember it.
-- include lock_guard.lua
redis.call('HSET', KEYS[2], 'state', 'restored', 'restored_at', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('ZREM', KEYS[3], ARGV[5])
redis.call('HINCRBY', KEYS[4], ARGV[3], 1)
return 0
