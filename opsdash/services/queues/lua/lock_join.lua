-- The messages of one list go in front of another's, that is to its tail, where workers take from. Few are put there at
-- once. Else the queue's own go behind them, oldest first, a step at a time, and the last step swaps the lists: whatever
-- is killed meanwhile, the list that is moved holds everything that the queue does not. A TTL that a producer has just
-- given the queue's list outlives the swap.
-- KEYS: lease, list, queue. ARGV[3]: messages per step. Returns how many are still to be moved.
-- include lock_guard.lua
local waiting, moved, step = redis.call('LLEN', KEYS[3]), redis.call('LLEN', KEYS[2]), tonumber(ARGV[3])
if moved == 0 then return 0 end
redis.call('PERSIST', KEYS[2])
if moved <= step and waiting > 0 then
  for _ = 1, moved do redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT') end
  return 0
end
local ttl = redis.call('PTTL', KEYS[3])
for _ = 1, math.min(waiting, step) do redis.call('LMOVE', KEYS[3], KEYS[2], 'RIGHT', 'LEFT') end
if waiting > step then return waiting - step end
redis.call('RENAME', KEYS[2], KEYS[3])
if ttl > 0 then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', ttl)) end
return 0
