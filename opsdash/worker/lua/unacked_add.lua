-- A fetched message is written down as kombu does it, also where Redis is full: the first command changes nothing and needs no
-- room, and lets the others through. The message's place in its list was freed by the fetch.
-- KEYS: hash and index of what is unacknowledged. ARGV: the message's field, what kombu keeps of it, the time.
redis.call('HDEL', KEYS[1], '')
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
