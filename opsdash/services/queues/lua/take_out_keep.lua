-- Messages go to a trash, each with the digests of its neighbours, so that it can go back between them. The last five KEYS:
-- info, trash index, tasks, places, suspended expiries. ARGV[5]: step, ARGV[7]: neighbours to remember, seconds to keep them
-- (0: not at all), when that ends, trash id, run, field that counts them too, field of the expiry, how many of the next are
-- fields and values of the info; then pairs of a message's place and the message, the newest first.
-- Who includes it calls put for each message that it has taken out, with the hold and the times of a held one, and returns what done returns: what was done, how
-- many, and of the last one its place (1 is the next to run) and how many waited.
local info, index, tasks, places, noted = unpack(KEYS, #KEYS - 4)
local near, keep, named_from = tonumber(ARGV[7]), tonumber(ARGV[8]), 15 + ARGV[14]
local state = redis.call('HGET', info, 'state')
if state then return {string.sub(state, 1, 100), 0} end
-- Nothing may fail once messages are out of their queue: what else has the names of the lists is seen before.
local before = redis.pcall('LLEN', tasks)
if type(before) ~= 'number' or redis.pcall('LLEN', places) ~= before then return {'short', 0} end
local ttl = redis.call('PTTL', KEYS[2])
noted = redis.pcall('HGET', noted, KEYS[2])
noted = type(noted) == 'string' and string.match(noted, '^(%d+):') or ''
local expires = math.max(ttl < 1e13 and ttl or 0, #noted <= 13 and tonumber(noted) or 0)
local number, bytes, digests = 0, 0, {}
local function digest(message)
  digests[message] = digests[message] or redis.sha1hex(message)
  return digests[message]
end
local function put(message, newer, older, held)
  number, bytes = number + 1, bytes + #message
  if keep == 0 then return end
  for _, side in ipairs({newer, older}) do
    for i, one in ipairs(side) do side[i] = digest(one) end
  end
  redis.call('RPUSH', tasks, message)
  redis.call('RPUSH', places, table.concat({ARGV[5], table.concat(newer, ' '), table.concat(older, ' '), ARGV[11], held or nil}, '|'))
end
local function done(place, waiting)
  if keep > 0 and number > 0 then
    redis.call('HSET', info, 'until', ARGV[9], unpack(ARGV, 15, named_from - 1))
    for field, more in pairs({count = number, total = number, size_bytes = bytes, [ARGV[12]] = number}) do
      redis.pcall('HINCRBY', info, field, more)
    end
    if expires > 0 then redis.call('HSET', info, ARGV[13], string.format('%.0f', expires)) end
    for _, key in ipairs({info, tasks, places}) do redis.call('EXPIRE', key, keep) end
    redis.call('ZADD', index, ARGV[9], ARGV[10])
  end
  return {'removed', number, place, waiting}
end
