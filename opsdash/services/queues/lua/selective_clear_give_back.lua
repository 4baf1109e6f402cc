-- The other way round, when it ends before all was looked at: what was kept aside goes back behind what was not looked
-- at, oldest first. ARGV[6]: messages of this step, fewer where they weigh more than MOST bytes. Returns how many are left.
-- include selective_clear_arrived.lua
local size = 0
for _ = 1, math.min(tonumber(ARGV[6]), redis.call('LLEN', KEYS[3])) do
  size = size + #redis.call('LMOVE', KEYS[3], KEYS[2], 'RIGHT', 'LEFT')
  if size > MOST then break end
end
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
return redis.call('LLEN', KEYS[3])
