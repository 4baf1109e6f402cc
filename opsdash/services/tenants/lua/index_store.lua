-- KEYS: lease, hash. ARGV[3…]: fields and values; those that are there stay when ARGV[3] is 'nx'.
-- include ../../queues/lua/lock_guard.lua
for i = 4, #ARGV, 2 do redis.call(ARGV[3] == 'nx' and 'HSETNX' or 'HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 0
