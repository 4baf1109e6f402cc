-- KEYS: lease, info, trash index. ARGV[3]: trash id, then alternating field and value of the info.
-- include lock_guard.lua
if redis.call('EXISTS', KEYS[2]) == 1 then return 'known' end
redis.call('ZADD', KEYS[3], '+inf', ARGV[3])
redis.call('HSET', KEYS[2], 'state', 'clearing', 'count', 0, unpack(ARGV, 4))
return 'begun'
