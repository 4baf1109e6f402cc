-- KEYS: the hash of rate limits. ARGV: task, its JSON up to the last field (empty: none any more), seconds it lasts, how
-- many there may be, the nudges' channel. Returns what there was, empty: nothing; or -1: there are too many.
-- include ../../../model/lua/own_key.lua
own_key(KEYS[1], 'hash')
-- A full Redis refuses HSET, unless the script has written already: a limit is set just then.
redis.call('HDEL', KEYS[1], '')
local now = tonumber(redis.call('TIME')[1])
local last, all = 0, redis.call('HGETALL', KEYS[1])
local before = ''
for i = 1, #all, 2 do
  local ends = tonumber(string.match(all[i + 1], '"until": (%d+)}$') or '')
  if not ends or ends <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] == ARGV[1] then
    before = all[i + 1]
  elseif ends > last then
    last = ends
  end
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  if before == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
  local ends = now + tonumber(ARGV[3])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ', "until": ' .. string.format('%d', ends) .. '}')
  if ends > last then last = ends end
end
if last > 0 then redis.call('EXPIRE', KEYS[1], last - now) end
redis.pcall('PUBLISH', ARGV[5], '{}')
return before
