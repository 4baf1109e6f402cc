-- KEYS: lease, what is kept of buckets. ARGV[3…]: buckets and what is to be kept of each; nothing: no more.
-- include ../../../model/lua/own_key.lua
-- include ../../queues/lua/lock_guard.lua
own_key(KEYS[2], 'hash')
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 0
