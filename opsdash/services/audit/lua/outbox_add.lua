-- The first command changes nothing; after it a full Redis lets the other through. KEYS: the stream.
redis.call('XDEL', KEYS[1], '0-1')
redis.call('XADD', KEYS[1], '*', 'kind', ARGV[1], 'entry', ARGV[2], 'mac', ARGV[3])
