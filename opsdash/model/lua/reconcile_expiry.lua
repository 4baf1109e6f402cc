-- One idempotent script, so that it does not matter who runs it, how often, and who ends the pause. What is held is
-- decided inside it: there is a flag for everything or for the queue, or an operation moves the queue's messages.
-- KEYS: suspended expiries, declared expiries, flag of everything, kombu's binding deadlines.
-- ARGV: the prefix of a queue's name in its flag, in its lease, in its lists; number of list suffixes and these
-- (one per priority step); then, alternating, queue and its known declared expiry: ms, 0 for none, or nothing.
-- Returns {lists whose expiry is suspended, the shortest expiry of what is held in ms or 0}.
-- include own_key.lua
local suspended, declared, everything, deadlines = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function is(key, kind)
  local found = redis.pcall('TYPE', key)
  return found.ok == kind
end
local function number(text)
  return text and string.match(text, '^%d+$') and #text <= 13 and tonumber(text) or nil
end
for _, key in ipairs({suspended, declared}) do
  own_key(key, 'hash')
  redis.call('PERSIST', key) -- changes nothing; a full Redis lets the rest of this script through then
end
local suffixes, queues = {}, {}
for i = 5, 4 + ARGV[4] do suffixes[#suffixes + 1] = ARGV[i] end
for i = 5 + ARGV[4], #ARGV, 2 do
  local queue, told = ARGV[i], ARGV[i + 1]
  queues[queue] = true
  if told ~= '' then
    local known = redis.call('HGET', declared, queue)
    if told == '0' then
      if known then redis.call('HDEL', declared, queue) end
    elseif known ~= told then
      redis.call('HSET', declared, queue, told)
    end
  end
end
-- With more of them than there can be queues, only the requested queues are updated.
local few = redis.call('HLEN', declared) <= MOST and redis.call('HLEN', suspended) <= MOST
if few then
  for _, queue in ipairs(redis.call('HKEYS', declared)) do queues[queue] = true end
end
local all, asked = redis.call('EXISTS', everything) == 1, {}
local function held(queue)
  if asked[queue] == nil then
    asked[queue] = all or redis.call('EXISTS', ARGV[1] .. queue, ARGV[2] .. queue) > 0
  end
  return asked[queue]
end
local count, shortest, any = 0, 0, false
local function note(ms)
  if ms and (shortest == 0 or ms < shortest) then shortest = ms end
end
for queue in pairs(queues) do
  if held(queue) then
    any = true
    note(number(redis.call('HGET', declared, queue)))
    for _, suffix in ipairs(suffixes) do
      local list = ARGV[3] .. queue .. suffix
      local left = is(list, 'list') and redis.call('PTTL', list) or -1
      if left >= 0 and left < 1e13 then
        local before = string.match(redis.call('HGET', suspended, list) or '', '^(%d+):')
        redis.call('PERSIST', list)
        redis.call('HSET', suspended, list, string.format('%.0f:', math.max(left, number(before) or 0)) .. queue)
      end
    end
  end
end
local noted = {}
if few then
  noted = redis.call('HGETALL', suspended)
else
  for queue in pairs(queues) do
    for _, suffix in ipairs(suffixes) do
      local list = ARGV[3] .. queue .. suffix
      local one = redis.call('HGET', suspended, list)
      if one then noted[#noted + 1], noted[#noted + 2] = list, one end
    end
  end
end
for i = 1, #noted, 2 do
  local list, ms, queue = noted[i], string.match(noted[i + 1], '^(%d+):(.*)$')
  ms = number(ms)
  if not ms or string.sub(list, 1, #ARGV[3] + #queue) ~= ARGV[3] .. queue then
    redis.call('HDEL', suspended, list)
  elseif held(queue) then
    any, count = true, count + 1
    note(number(redis.call('HGET', declared, queue)) or ms)
  else
    if is(list, 'list') and redis.call('PTTL', list) == -1 then
      local back = number(redis.call('HGET', declared, queue)) or math.max(ms, UNDECLARED)
      redis.call('PEXPIRE', list, string.format('%.0f', back))
    end
    redis.call('HDEL', suspended, list)
  end
end
if any and is(deadlines, 'zset') then
  -- While no consumer renews them, kombu's sweep would take the bindings, and producers' messages go nowhere.
  local now, hour = redis.call('TIME')[1] * 1000, 3600000
  local near = redis.pcall('ZRANGEBYSCORE', deadlines, '-inf', string.format('%.0f', now + hour / 2), 'LIMIT', 0, 100)
  for _, exchange in ipairs(near) do
    redis.pcall('ZADD', deadlines, 'XX', string.format('%.0f', now + hour), exchange)
  end
end
return {count, shortest}
