-- The newest messages that were not looked at go aside, and those that are meant to a trash. KEYS: lease, list, kept aside,
-- its info, then those of take_out_keep.lua. ARGV[3] to ARGV[5] as in put_back_aside.lua, ARGV[6]: messages of this step,
-- then as take_out_keep.lua: places count from the first one of this step, which is 0. Another message there (a worker gave
-- something back) stays.
-- include selective_clear_arrived.lua
-- include take_out_keep.lua
local meant, place, waiting = {}, 0, 0
for i = named_from, #ARGV, 2 do meant[ARGV[i] + 1] = ARGV[i + 1] end
for i = 1, ARGV[6] do
  local message = meant[i] and redis.call('LINDEX', KEYS[2], 0)
  if message and named(message) == meant[i] then
    redis.call('LPOP', KEYS[2])
    local aside, newer = redis.call('LRANGE', KEYS[3], -near, -1), {}
    for at = #aside, 1, -1 do newer[#newer + 1] = aside[at] end
    put(message, newer, redis.call('LRANGE', KEYS[2], 0, near - 1))
    place = redis.call('LLEN', KEYS[2]) + 1
    waiting = place + redis.call('LLEN', KEYS[3])
  elseif not redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') then
    break
  end
end
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
return done(place, waiting)
