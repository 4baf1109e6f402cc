-- A worker's lease of a concurrency limit's slots is renewed, made smaller or larger. What others have leased is theirs until
-- they give it back or are silent.
-- KEYS: the leases, then lists of tasks that wait for a slot. ARGV: instance, slots it keeps at least, slots it asks for, slots
-- it needs, slots there are, seconds of a lease, most workers, time (empty: Redis's). Returns the time, the slots it has now,
-- how many tasks wait; then of each other worker its instance, slots and need.
-- include ../../model/lua/own_key.lua
own_key(KEYS[1], 'hash')
redis.call('HDEL', KEYS[1], '') -- after a write that needs no room a full Redis lets the rest through
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[7]) then redis.call('UNLINK', KEYS[1]) end
local now = tonumber(ARGV[8])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local longest = now + tonumber(ARGV[6])
local taken, answer, all = 0, {string.format('%.3f', now), 0, 0}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local slots, needed, ends = string.match(all[i + 1], '^(%d+) (%d+) (%d+%.?%d*)$')
  if not slots or #slots > 5 or #needed > 5 or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    if tonumber(ends) > longest + 0.001 then -- Redis's clock was set back: who has it may be gone, and would keep it
      redis.call('HSET', KEYS[1], all[i], slots .. ' ' .. needed .. ' ' .. string.format('%.3f', longest))
    end
    taken = taken + tonumber(slots)
    answer[#answer + 1] = string.sub(all[i], 1, 200)
    answer[#answer + 1] = tonumber(slots)
    answer[#answer + 1] = tonumber(needed)
  end
end
local slots = math.max(tonumber(ARGV[2]), math.min(tonumber(ARGV[3]), tonumber(ARGV[5]) - taken))
if slots == 0 and ARGV[4] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', slots) .. ' ' .. ARGV[4] .. ' ' .. string.format('%.3f', longest))
  redis.call('EXPIRE', KEYS[1], ARGV[6])
end
local waiting = 0
for i = 2, #KEYS do
  local length = redis.pcall('LLEN', KEYS[i])
  if type(length) == 'number' then waiting = waiting + length end
end
answer[2], answer[3] = slots, waiting
return answer
