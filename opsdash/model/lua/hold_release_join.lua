-- One step of the way back: held messages go in front of their queue's, that is to its tail, where workers take from. Few go
-- there at once. Else the queue's own go behind them, oldest first, a step at a time, and the last step swaps the lists.
-- Until then the hold goes on: what workers set aside meanwhile was next in the queue, so it goes behind them as well.
-- KEYS: lease, held list, the queue's list, the lists of holds, restores. ARGV: value of the lease, its ms, field of the list,
-- messages of this step, queue. Returns how many are still to be moved; -1: the lease is another one's.
-- include move_some.lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local list = redis.call('HGET', KEYS[4], ARGV[3])
if not list or string.sub(list, 1, 1) == '!' then return 0 end
local waiting, moved, step = redis.call('LLEN', KEYS[3]), redis.pcall('LLEN', KEYS[2]), tonumber(ARGV[4])
if type(moved) ~= 'number' then moved, step = 0, math.huge end -- a foreign value in its place: nothing is held there
redis.call('UNLINK', KEYS[2] .. ':order')
if moved > step or (waiting == 0 and moved > 0) then
  local ttl = redis.call('PTTL', KEYS[3])
  move_some('RPOP', KEYS[3], 'LPUSH', KEYS[2], math.min(waiting, step))
  if waiting > step then return waiting - step end
  if moved > 0 then
    redis.call('RENAME', KEYS[2], KEYS[3])
    if ttl > 0 then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', ttl)) end
  end
else
  move_some('LPOP', KEYS[2], 'RPUSH', KEYS[3], moved)
end
redis.call('HSET', KEYS[4], ARGV[3], '!' .. list)
if moved > 0 then redis.pcall('HINCRBY', KEYS[5], ARGV[5], 1) end
return 0
