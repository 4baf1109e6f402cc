-- KEYS: lease, what is kept of buckets. ARGV[3…]: buckets and what is to be kept of each; nothing: no more.
-- include ../../queues/lua/lock_guard.lua
if redis.call('TYPE', KEYS[2])['ok'] ~= 'hash' then redis.call('DEL', KEYS[2]) end
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 0
