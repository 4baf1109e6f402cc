-- What a hold holds of one queue goes to the trash, in one step. KEYS: lease, holds, info, trash index, then in turn held list and
-- trash list. ARGV[3]: the hold, trash id, seconds to keep it (0: not at all), now, queue, by, at, then the step of each list.
-- Returns how many, and the places of held lists that are none, which stay; -2: the hold is being released.
-- include lock_guard.lua
if redis.call('EXISTS', KEYS[3]) == 1 then return {tonumber(redis.call('HGET', KEYS[3], 'count')) or 0} end
if redis.call('HEXISTS', KEYS[2], ARGV[3] .. '!') == 1 then return -2 end
local total, keep, counts, answer = 0, tonumber(ARGV[5]), {}, {0}
for i = 5, #KEYS, 2 do
  counts[i] = redis.pcall('LLEN', KEYS[i])
  if type(counts[i]) ~= 'number' then counts[i], answer[#answer + 1] = 0, (i - 5) / 2 end
  total = total + counts[i]
end
answer[1] = total
if total == 0 then return answer end
for i = 5, #KEYS, 2 do
  redis.call('UNLINK', KEYS[i] .. ':order')
  if counts[i] > 0 and keep > 0 then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    redis.call('EXPIRE', KEYS[i + 1], keep)
    redis.call('HSET', KEYS[3], 'step:' .. ARGV[10 + (i - 5) / 2], counts[i])
  elseif counts[i] > 0 then
    redis.call('UNLINK', KEYS[i])
  end
end
if keep > 0 then
  redis.call('HSET', KEYS[3], 'queue', ARGV[7], 'by', ARGV[8], 'at', ARGV[9], 'count', total, 'newer', 0, 'until', ARGV[6] + keep)
  redis.call('EXPIRE', KEYS[3], keep)
  redis.call('ZADD', KEYS[4], ARGV[6] + keep, ARGV[4])
end
return answer
