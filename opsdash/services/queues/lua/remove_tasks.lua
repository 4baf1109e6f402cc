-- Several messages of one list go to a trash entry of several queues, each with the digests of its neighbours. A task goes
-- back from the last one on, so its newer neighbours are those that stay, its older ones all. KEYS: lease, list, info, trash
-- index, messages, places, suspended expiries. ARGV[3]: place of the window's first message, how many may have been pushed
-- since, neighbours to remember, seconds to keep it (0: not at all), when that ends, trash id, queue, step, run, root, by, at;
-- from ARGV[15] on pairs of a message's place in the window and the message, the newest first. What is elsewhere by now
-- stays. Returns what was done, and how many.
-- include lock_guard.lua
-- include ../../broker/lua/named.lua
local start, slack, near, keep = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local state = redis.call('HGET', KEYS[3], 'state')
if state then return {string.sub(state, 1, 100), 0} end
local low = math.max(0, start - near)
local window = redis.call('LRANGE', KEYS[2], low, start + ARGV[#ARGV - 1] + slack + near)
local base, shift = start - low + 1, nil
for i = 0, slack do
  if named(window[base + ARGV[15] + i]) == ARGV[16] then shift = i break end
end
if not shift then return {'moved', 0} end
local meant, taken, stays, before = {}, {}, {}, {}
for i = 15, #ARGV, 2 do
  local at = base + ARGV[i] + shift
  if window[at] and named(window[at]) == ARGV[i + 1] then
    meant[at] = true
    taken[#taken + 1] = at
  end
end
for i = 1, #window do
  before[i] = #stays
  if not meant[i] then stays[#stays + 1] = i end
end
local known = {}
local function digest(i)
  known[i] = known[i] or redis.sha1hex(window[i])
  return known[i]
end
local length, ttl, bytes = redis.call('LLEN', KEYS[2]), redis.call('PTTL', KEYS[2]), 0
local noted = redis.pcall('HGET', KEYS[7], KEYS[2])
noted = type(noted) == 'string' and string.match(noted, '^(%d+):') or ''
local expires = math.max(ttl < 1e13 and ttl or 0, #noted <= 13 and tonumber(noted) or 0)
local gone = 'opsdash:removed:' .. ARGV[8]
for _, at in ipairs(taken) do
  if keep > 0 then
    local newer, older = {}, {}
    for i = before[at], math.max(1, before[at] - near + 1), -1 do newer[#newer + 1] = digest(stays[i]) end
    for i = at + 1, math.min(#window, at + near) do older[#older + 1] = digest(i) end
    redis.call('RPUSH', KEYS[5], window[at])
    redis.call('RPUSH', KEYS[6], table.concat({ARGV[10], table.concat(newer, ' '), table.concat(older, ' '), ARGV[11]}, '|'))
  end
  bytes = bytes + #window[at]
end
for _, at in ipairs(taken) do redis.call('LSET', KEYS[2], low + at - 1, gone) end
redis.call('LREM', KEYS[2], (low + taken[1]) * 2 < length and #taken or -#taken, gone)
if keep > 0 then
  redis.call('HSET', KEYS[3], 'kind', 'workflow', 'root', ARGV[12], 'by', ARGV[13], 'at', ARGV[14], 'until', ARGV[7])
  redis.call('HINCRBY', KEYS[3], 'count', #taken)
  redis.call('HINCRBY', KEYS[3], 'total', #taken)
  redis.call('HINCRBY', KEYS[3], 'size_bytes', bytes)
  redis.call('HINCRBY', KEYS[3], 'of:' .. ARGV[9], #taken)
  if expires > 0 then redis.call('HSET', KEYS[3], 'expires_ms:' .. ARGV[9], string.format('%.0f', expires)) end
  for _, i in ipairs({3, 5, 6}) do redis.call('EXPIRE', KEYS[i], keep) end
  redis.call('ZADD', KEYS[4], ARGV[7], ARGV[8])
end
return {'removed', #taken}
