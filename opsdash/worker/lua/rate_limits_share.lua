-- KEYS: the hash of rate limits, the list of workers. ARGV: this worker, seconds after which a worker is silent, seconds
-- that a worker counts after it has met such a task, how many limits are read, then the tasks that this worker has met.
-- Returns Redis's time, how many workers report; then of each limit: task, JSON, workers that count, '1': this one does.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then return {} end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function since(key, seconds)
  if redis.call('TYPE', key).ok ~= 'zset' then return {} end
  return redis.call('ZRANGEBYSCORE', key, string.format('%.3f', now - seconds), '+inf')
end
local reporting = since(KEYS[2], tonumber(ARGV[2]))
local met = {}
for i = 5, #ARGV do met[ARGV[i]] = true end
local answer, all = {string.format('%.3f', now), #reporting}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if #all[i] <= 1000 and #all[i + 1] <= 4096 then
    local key = KEYS[1] .. ':' .. all[i]
    if met[all[i]] and (redis.call('TYPE', key).ok == 'none' or redis.call('TYPE', key).ok == 'zset') then
      redis.call('ZADD', key, string.format('%.3f', now), ARGV[1])
      redis.call('EXPIRE', key, ARGV[3])
    end
    local living, counted, mine = {}, 0, ''
    for _, name in ipairs(reporting) do living[name] = true end
    for _, name in ipairs(since(key, tonumber(ARGV[3]))) do
      if name == ARGV[1] then mine = '1' end
      if living[name] or name == ARGV[1] then counted = counted + 1 end
    end
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = all[i + 1]
    answer[#answer + 1] = counted
    answer[#answer + 1] = mine
  end
end
return answer
