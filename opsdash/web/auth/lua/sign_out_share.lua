-- Adds marks, also on a full Redis: it begins with a removal, which that lets through, and then all that follows. KEYS:
-- the sorted set. ARGV: seconds it lives, the scores between which members stay, then alternating score and member.
-- include ../../../model/lua/own_key.lua
own_key(KEYS[1], 'zset')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. ARGV[3], '+inf')
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
