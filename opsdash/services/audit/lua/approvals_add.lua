-- Both begin with a write that needs no memory: a full Redis lets through what follows in a script, and to free it may
-- need a second person. KEYS: the request, the index. ARGV: what is asked, its digest, ms, its id, when it expires.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'asked', ARGV[1], 'mac', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
return 1
