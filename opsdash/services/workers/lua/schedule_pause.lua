-- KEYS: paused entries. ARGV: name, JSON, seconds that it is kept, most entries. Returns 1, or 0 where too many are paused.
-- A pause that has ended stays in the hash until a console has written its end down.
-- include ../../../model/lua/own_key.lua
own_key(KEYS[1], 'hash')
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
-- Taken away first: then a full Redis lets the script write, and what is broken can be stopped.
redis.call('HDEL', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if left < tonumber(ARGV[3]) * 1000 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1
