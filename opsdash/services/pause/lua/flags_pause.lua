-- KEYS: flag, info hash, epoch counter. ARGV: ttl or nothing, field, JSON without its closing brace, channel, value, ``new`` for
-- one that replaces none. Returns the epoch, 0 when there was a pause already.
-- include flags_ours.lua
if ARGV[6] == 'new' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local epoch = redis.call('INCR', KEYS[3])
if ARGV[1] == '' then
  redis.call('SET', KEYS[1], ARGV[5])
else
  redis.call('SET', KEYS[1], ARGV[5], 'EX', ARGV[1])
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ', "epoch": ' .. epoch .. '}')
redis.pcall('PUBLISH', ARGV[4], cjson.encode({epoch = epoch, field = ARGV[2], paused = true}))
return epoch
