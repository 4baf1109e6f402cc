-- A message is acknowledged as kombu does it, also where Redis is full: as a transaction Redis would refuse it.
-- KEYS: hash and index of what is unacknowledged. ARGV: the message's field.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
