-- KEYS: the writer's lease, then one stream per series. ARGV: who writes, the lease's milliseconds, then step, points
-- and payload of each series, in turn. Returns each series' current bucket, written or not.
-- A lease without an end, a key of another type and a point far in the future are foreign and would block the history.
-- redis.replicate_commands: before Redis 7 a script that has read the clock could not write without it.
-- include ../../../model/lua/own_key.lua
if redis.replicate_commands then redis.replicate_commands() end
local time, buckets = redis.call('TIME'), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = redis.call('PTTL', KEYS[1])
local leased = left >= 0 and left <= 10 * tonumber(ARGV[2]) and redis.call('TYPE', KEYS[1])['ok'] == 'string'
local ours = not leased or redis.call('GET', KEYS[1]) == ARGV[1]
if ours then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
for i = 1, #KEYS - 1 do
  local key, step, points, payload = KEYS[i + 1], tonumber(ARGV[i * 3]), ARGV[i * 3 + 1], ARGV[i * 3 + 2]
  local bucket = now - now % step
  if ours then own_key(key, 'stream') end
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  if ours and last and tonumber(string.match(last[1], '^%d+')) > bucket + 10 * step then
    redis.call('DEL', key)
    last = nil
  end
  if ours and (not last or tonumber(string.match(last[1], '^%d+')) < bucket) then
    redis.call('XADD', key, 'MAXLEN', points, string.format('%.0f-0', bucket), 'point', payload)
    redis.call('PEXPIRE', key, step * points)
  end
  buckets[i] = bucket
end
return buckets
