-- KEYS: lease, index, then one key per tenant. ARGV[3…]: tenant, configuration and digest of each.
-- include ../../queues/lua/lock_guard.lua
local texts, digests = {}, {}
for i = 3, #KEYS do
  local at = 3 + (i - 3) * 3
  texts[#texts + 1], texts[#texts + 2] = KEYS[i], ARGV[at + 1]
  digests[#digests + 1], digests[#digests + 2] = ARGV[at], ARGV[at + 2]
end
redis.call('MSET', unpack(texts))
redis.call('HSET', KEYS[2], unpack(digests))
return #KEYS - 2
