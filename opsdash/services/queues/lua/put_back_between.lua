-- What was kept aside goes back, oldest first, and removed tasks between. KEYS: lease, list, kept aside, its info, then info,
-- tasks, places, restores of the trash. ARGV[3] to ARGV[5] as in put_back_aside.lua, [6]: queue, [7]: seconds to remember it,
-- [8]: the one that goes back last, [9]: how many go back after the last task; then for each task how many go back
-- before it, and its place in the trash's list.
-- include selective_clear_arrived.lua
local info, tasks, places, restores, queue, left, last = KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[6], ARGV[7], ARGV[8]
-- include put_back_take.lua
local function back(upto)
  for _ = 1, upto do
    if not redis.call('LMOVE', KEYS[3], KEYS[2], 'RIGHT', 'LEFT') then break end
  end
end
for i = 10, #ARGV, 2 do
  back(ARGV[i])
  local task = take(ARGV[i + 1])
  if task then redis.call('LPUSH', KEYS[2], task) end
end
back(ARGV[9])
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
return taken()
