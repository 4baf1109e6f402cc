-- A task that was held goes back among the held ones of its hold, by the time of its fetch, while that hold lasts. KEYS: lease, info,
-- tasks, places, restores, holds, lists of holds, held list, that of its times. ARGV[3]: queue, seconds to remember it, its place in
-- the trash's list, id of the hold, its field among the lists, its times. Returns what was done; ``over``: it is held no more, or
-- nobody knows where.
-- include lock_guard.lua
local info, tasks, places, restores, queue, left, last = KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[3], ARGV[4], ''
if redis.call('HEXISTS', KEYS[6], ARGV[6]) == 0 then return {'over', 0} end
local list = redis.pcall('HGET', KEYS[7], ARGV[7])
if type(list) ~= 'string' or string.sub(list, 1, 1) == '!' then return {'over', 0} end
local length = redis.pcall('LLEN', KEYS[8])
if type(length) ~= 'number' or redis.pcall('LLEN', KEYS[9]) ~= length then return {'over', 0} end
-- include put_back_take.lua
local function fetched_at(time) return tonumber(string.match(time, '^%S+') or '') or 0 end
local fetched, newer, upto = fetched_at(ARGV[8]), 0, length
while newer < upto do
  local middle = math.floor((newer + upto) / 2)
  if fetched_at(redis.call('LINDEX', KEYS[9], middle)) > fetched then newer = middle + 1 else upto = middle end
end
local message = redis.call('LINDEX', tasks, ARGV[5])
if message and message ~= '' then
  -- It is put there before it is taken away: a user without the right to LINSERT loses nothing, and it goes to its queue.
  for key, value in pairs({[KEYS[8]] = message, [KEYS[9]] = ARGV[8]}) do
    if newer == length then
      redis.call('RPUSH', key, value)
    else
      local inserted = redis.pcall('LINSERT', key, 'BEFORE', redis.call('LINDEX', key, newer), value)
      if type(inserted) ~= 'number' or inserted < 1 then return {'over', 0} end
    end
  end
  take(ARGV[5])
end
return taken()
