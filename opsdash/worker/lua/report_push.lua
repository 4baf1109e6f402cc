-- KEYS: list of workers, the hostname's report. ARGV: hostname, instance, now, seconds to keep, forget before, ``1`` for
-- an instance's first report, an instance that is proven dead, one that was moved aside, seconds of silence, then fields
-- and values. Returns Redis's time, then the namesake there is: its instance, machine, pid and when that began.
-- include report_ours.lua
local function idle(key)
  local told = redis.call('HMGET', key, 'time', 'active', 'reserved', 'scheduled', 'unacked')
  if tonumber(ARGV[3]) - (tonumber(told[1]) or 0) < tonumber(ARGV[9]) then return false end
  for i = 2, 5 do
    if (tonumber(told[i]) or 0) > 0 then return false end
  end
  return true
end
local other, aside = instance_at(KEYS[2]), ARGV[8]
if other == ARGV[2] then other = '' end
if other ~= '' and (other == ARGV[7] or idle(KEYS[2])) then
  redis.call('DEL', KEYS[2])
  other = ''
end
if other ~= '' and ARGV[6] == '1' then
  aside = other
  redis.call('RENAME', KEYS[2], KEYS[2] .. ' #' .. aside)
  redis.call('ZADD', KEYS[1], redis.call('ZSCORE', KEYS[1], ARGV[1]) or ARGV[3], ARGV[1] .. ' #' .. aside)
  other = ''
elseif aside ~= '' then
  local key = KEYS[2] .. ' #' .. aside
  own_key(key, 'hash')
  if aside == ARGV[7] or aside == other or idle(key) then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[1], ARGV[1] .. ' #' .. aside)
  end
  if redis.call('EXISTS', key) == 0 then aside = '' end
end
local place, member = KEYS[2], ARGV[1]
redis.call('DEL', KEYS[2] .. mine)
if other == '' then
  redis.call('ZREM', KEYS[1], ARGV[1] .. mine)
else
  place, member = place .. mine, member .. mine
end
redis.call('DEL', place)
redis.call('HSET', place, unpack(ARGV, 10))
redis.call('EXPIRE', place, ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[3], member)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[5])
local rival = {false, false, false, false}
if other ~= '' then
  rival = redis.call('HMGET', KEYS[2], 'instance', 'machine', 'pid', 'pid_started')
  rival[1] = other
elseif aside ~= '' then
  rival = redis.call('HMGET', KEYS[2] .. ' #' .. aside, 'instance', 'machine', 'pid', 'pid_started')
  rival[1] = aside
end
local now = redis.call('TIME')
return {now[1], now[2], short(rival[1]), short(rival[2]), short(rival[3]), short(rival[4]), aside}
