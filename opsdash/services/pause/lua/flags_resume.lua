-- KEYS as above. ARGV: field, channel, the only epoch that is meant (or nothing). Returns {flags deleted, epoch}.
-- include flags_ours.lua
if ARGV[3] ~= '' then
  local told = string.match(string.sub(redis.call('HGET', KEYS[2], ARGV[1]) or '', -40), '"epoch": (%d+)}$')
  if told ~= ARGV[3] then return {0, 0} end
end
local removed = redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
local epoch = redis.call('INCR', KEYS[3])
redis.pcall('PUBLISH', ARGV[2], cjson.encode({epoch = epoch, field = ARGV[1], paused = false}))
return {removed, epoch}
