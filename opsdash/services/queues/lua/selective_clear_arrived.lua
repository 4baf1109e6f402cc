-- What came since the last step is newer than all that is kept aside: it goes before it. KEYS: lease, queue, kept aside,
-- info. ARGV[3]: the newest message that was not looked at yet (empty: all were), ARGV[4]: how many may have come, ARGV[5]:
-- step.
-- include lock_guard.lua
-- include ../../broker/lua/named.lua
local at
if ARGV[3] == '' then at = redis.call('LLEN', KEYS[2]) else at = place_of(KEYS[2], ARGV[3], tonumber(ARGV[4])) end
if not at then return 'gone' end
if at > 0 then
  local came = redis.call('LPOP', KEYS[2], at)
  for i = #came, 1, -1 do redis.call('LPUSH', KEYS[3], came[i]) end
end
