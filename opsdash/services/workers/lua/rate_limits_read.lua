-- KEYS: the hash of rate limits. ARGV: bytes of one, how many are read. Returns task, JSON …; what is larger is left out.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return {} end
local found = {}
for _, task in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #found >= 2 * tonumber(ARGV[2]) then break end
  if #task <= 1000 and redis.call('HSTRLEN', KEYS[1], task) <= tonumber(ARGV[1]) then
    found[#found + 1] = task
    found[#found + 1] = redis.call('HGET', KEYS[1], task)
  end
end
return found
