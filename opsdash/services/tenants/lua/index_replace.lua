-- KEYS: lease, hash. ARGV[3…]: fields and values, all there will be.
-- include ../../queues/lua/lock_guard.lua
redis.call('DEL', KEYS[2]) redis.call('HSET', KEYS[2], unpack(ARGV, 3)) return 0
