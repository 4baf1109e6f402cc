-- Removed tasks go back among a list's last messages, the next to run, in one step. KEYS: lease, list, info, tasks, places,
-- restores. ARGV[3]: queue, seconds to remember it, the one that goes back last, digest of the message behind which
-- all of it happens, that one included (empty: none), how many there were from it on, how many may have been taken or given
-- back since; then for each task how many messages are between it and the one before, and its place in the trash's list.
-- include lock_guard.lua
local info, tasks, places, restores, queue, left, last = KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[3], ARGV[4], ARGV[5]
-- include put_back_take.lua
local from, later, at = ARGV[6] == '' and 0 or nil, {}, 1
for shift = 0, from and -1 or ARGV[8] do
  for _, place in ipairs({ARGV[7] - shift, ARGV[7] + shift}) do
    local message = not from and place > 0 and redis.call('LINDEX', KEYS[2], -place)
    if message and redis.sha1hex(message) == ARGV[6] then from = place end
  end
end
if not from then return {'moved', 0} end
if from > 0 then later = redis.call('RPOP', KEYS[2], from) end
local function back(upto)
  while at <= math.min(upto, #later) do
    redis.call('RPUSH', KEYS[2], later[#later - at + 1])
    at = at + 1
  end
end
for i = 9, #ARGV, 2 do
  back(at - 1 + ARGV[i])
  local task = take(ARGV[i + 1])
  if task then redis.call('RPUSH', KEYS[2], task) end
end
back(#later)
return taken()
