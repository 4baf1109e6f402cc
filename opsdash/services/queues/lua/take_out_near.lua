-- Some messages near an end of a list go to a trash in one step. KEYS: lease, list, of a list of held ones that of their times,
-- then those of take_out_keep.lua.
-- ARGV[3]: place of the first of them, how many may have been pushed since, step, how far the last one is from the
-- first one, then as take_out_keep.lua: their places count from the first one. A task goes back from the last one on, so its
-- newer neighbours are those that stay, its older ones all. What is elsewhere by now stays.
-- include lock_guard.lua
-- include ../../broker/lua/named.lua
-- include take_out_keep.lua
local start, slack = tonumber(ARGV[3]), tonumber(ARGV[4])
local low = math.max(0, start - near)
local window = redis.call('LRANGE', KEYS[2], low, start + ARGV[6] + slack + near)
local base, shift = start - low + 1, nil
for i = 0, slack do
  if named(window[base + i]) == ARGV[named_from + 1] then shift = i break end
end
if not shift then return {'moved', 0} end
local meant, taken, stays, behind = {}, {}, {}, {}
for i = named_from, #ARGV, 2 do
  local at = base + ARGV[i] + shift
  if window[at] and named(window[at]) == ARGV[i + 1] then
    meant[at] = true
    taken[#taken + 1] = at
  end
end
for i = 1, #window do
  behind[i] = #stays
  if not meant[i] then stays[#stays + 1] = window[i] end
end
local length, gone = redis.call('LLEN', KEYS[2]), 'opsdash:removed:' .. ARGV[10]
local times = #KEYS > 7 and redis.pcall('LLEN', KEYS[3]) == length and KEYS[3]
local hold = times and string.match(times, ':(%w+):%d+:order$')
for _, at in ipairs(taken) do
  local newer, older = {}, {}
  for i = behind[at], math.max(1, behind[at] - near + 1), -1 do newer[#newer + 1] = stays[i] end
  for i = at + 1, math.min(#window, at + near) do older[#older + 1] = window[i] end
  local time = times and redis.call('LINDEX', times, low + at - 1)
  put(window[at], newer, older, time and string.match(time, '^[%d.]+ [%d.]+$') and hold .. ' ' .. time)
  redis.call('LSET', KEYS[2], low + at - 1, gone)
  if times then redis.call('LSET', times, low + at - 1, gone) end
end
local last = low + taken[#taken] - 1
local way = (low + taken[1]) * 2 < length and #taken or -#taken
redis.call('LREM', KEYS[2], way, gone)
if times then redis.call('LREM', times, way, gone) end
return done(length - last, length)
