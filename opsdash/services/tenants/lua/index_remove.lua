-- KEYS: lease, index, then one key per tenant. ARGV[3…]: the tenants.
-- include ../../queues/lua/lock_guard.lua
local removed = 0
for i = 3, #KEYS do
  redis.call('HDEL', KEYS[2], ARGV[i])
  removed = removed + redis.call('DEL', KEYS[i])
end
return removed
