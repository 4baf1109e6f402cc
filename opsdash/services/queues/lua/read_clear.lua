-- Counts and moves in one step, so the number reported is the number moved. Measured: 0.34 ms for 1,000,000 messages.
-- KEYS: info hash, trash index, lease, restores, suspended expiries, then in turn queue and trash list, then the
-- lists of other queues, which are counted. ARGV: kept
-- seconds, queue, by, at, trash id, now, restores as reviewed (or nothing), most messages moved one by one, how far the
-- watermark may have moved; then for each priority step: the step, the watermark's position, message. A trash id that
-- exists already is answered from its info: sent twice is done once. What stays keeps the list's TTL, which RENAME takes
-- along, and the trash remembers it. Returns {answer, newer messages left alone, moved per step ...}; and where it moved
-- them now: the lengths of the queue's and the others' lists before, and the same after.
-- include ../../broker/lua/named.lua
local steps = (#ARGV - 9) / 3
local function lengths_now()
  local found = {}
  for i = 1, steps do found[i] = redis.call('LLEN', KEYS[4 + i * 2]) end
  for i = 6 + steps * 2, #KEYS do
    local length = redis.pcall('LLEN', KEYS[i])
    found[#found + 1] = type(length) == 'number' and length or -1
  end
  return found
end
local function of(i) return KEYS[4 + i * 2], KEYS[5 + i * 2], ARGV[7 + i * 3] end
if redis.call('EXISTS', KEYS[1]) == 1 then
  local again = {'done', tonumber(redis.call('HGET', KEYS[1], 'newer') or 0)}
  for i = 1, steps do
    again[i + 2] = tonumber(redis.call('HGET', KEYS[1], 'step:' .. ARGV[7 + i * 3]) or 0)
  end
  return again
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  local holder = redis.pcall('GETRANGE', KEYS[3], 0, 999)
  return {'busy', type(holder) == 'string' and holder or ''}
end
if ARGV[7] ~= '' and (redis.call('HGET', KEYS[4], ARGV[2]) or '0') ~= ARGV[7] then return {'restored'} end
redis.call('DEL', KEYS[1]) -- it is not there; after this write a full Redis lets the rest through
local keep, few, slack, total, newer = tonumber(ARGV[1]), tonumber(ARGV[8]), tonumber(ARGV[9]), 0, 0
local lengths, later = {}, {}
for i = 1, steps do
  local source, _, _ = of(i)
  local n, at, message = redis.call('LLEN', source), tonumber(ARGV[8 + i * 3]), ARGV[9 + i * 3]
  local k = nil
  if at == -1 then
    k = 0
  elseif at == -2 then
    k = n
  else
    for j = at, at + slack do
      local found = redis.call('LINDEX', source, j)
      if not found then break end
      if named(found) == message then k = j break end
    end
    if not k then return {'moved'} end
  end
  if k > few and n - k > few then return {'many'} end
  lengths[i], later[i], newer, total = n, k, newer + k, total + n - k
end
local answer, expires, before = {'done', newer}, 0, lengths_now()
for i = 1, steps do
  local source, trash, _ = of(i)
  local k, m, ttl = later[i], lengths[i] - later[i], redis.call('PTTL', source)
  local noted = redis.pcall('HGET', KEYS[5], source)
  noted = type(noted) == 'string' and string.match(noted, '^(%d+):') or ''
  expires = math.max(expires, ttl < 1e13 and ttl or 0, #noted <= 13 and tonumber(noted) or 0)
  answer[i + 2] = m
  if m > 0 and m < k then
    for _ = 1, m do redis.call('LMOVE', source, trash, 'RIGHT', 'LEFT') end
  elseif m > 0 then
    redis.call('RENAME', source, trash)
    for _ = 1, k do redis.call('LMOVE', trash, source, 'LEFT', 'RIGHT') end
    if k > 0 and ttl > 0 then redis.call('PEXPIRE', source, string.format('%.0f', ttl)) end
  end
  if m > 0 and keep > 0 then redis.call('EXPIRE', trash, keep) end
  if m > 0 and keep == 0 then redis.call('UNLINK', trash) end
end
if keep > 0 and total > 0 then
  redis.call('HSET', KEYS[1], 'queue', ARGV[2], 'by', ARGV[3], 'at', ARGV[4], 'count', total, 'newer', newer,
    'until', ARGV[6] + keep)
  for i = 1, steps do redis.call('HSET', KEYS[1], 'step:' .. ARGV[7 + i * 3], answer[i + 2]) end
  if expires > 0 then redis.call('HSET', KEYS[1], 'expires_ms', string.format('%.0f', expires)) end
  redis.call('EXPIRE', KEYS[1], keep)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[6])
  redis.call('ZADD', KEYS[2], ARGV[6] + keep, ARGV[5])
end
for _, counted in ipairs({before, lengths_now()}) do
  for _, length in ipairs(counted) do answer[#answer + 1] = length end
end
return answer
