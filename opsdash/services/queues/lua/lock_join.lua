-- The messages of one list go in front of another's, that is to its tail, where workers take from. Few are put there at
-- once. Else the queue's own go behind them, oldest first, a step at a time, and the last step swaps the lists: whatever
-- is killed meanwhile, the list that is moved holds everything that the queue does not. A TTL that a producer has just
-- given the queue's list outlives the swap.
-- KEYS: lease, list, queue. ARGV[3]: messages per step. Returns how many are still to be moved.
-- include lock_guard.lua
-- include ../../../model/lua/move_some.lua
local waiting, moved, step = redis.call('LLEN', KEYS[3]), redis.call('LLEN', KEYS[2]), tonumber(ARGV[3])
if moved == 0 then return 0 end
redis.call('PERSIST', KEYS[2])
if moved <= step and waiting > 0 then
  move_some('LPOP', KEYS[2], 'RPUSH', KEYS[3], moved)
  return 0
end
local ttl = redis.call('PTTL', KEYS[3])
move_some('RPOP', KEYS[3], 'LPUSH', KEYS[2], math.min(waiting, step))
if waiting > step then return waiting - step end
redis.call('RENAME', KEYS[2], KEYS[3])
if ttl > 0 then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', ttl)) end
return 0
