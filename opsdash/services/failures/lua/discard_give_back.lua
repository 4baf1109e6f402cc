-- A step of a restore: failures of a trash are failures again, the oldest first. One that has failed again since is there
-- already: that one stays, and has failed so much more often.
-- KEYS: the index, info, trash index, members. ARGV: trash id, how many, at, by, seconds to remember it, ms that a failure
-- lasts at least. Returns {restored, had failed again, were gone, left}, or why not.
local FAILED = KEYS[1]
-- include ../../../model/lua/own_key.lua
-- include ../../../model/lua/failed.lua
if redis.call('EXISTS', KEYS[2]) == 0 then return 'gone' end
if redis.call('HGET', KEYS[2], 'state') == 'restored' then return 'restored' end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function number(text)
  return text and #text < 16 and string.match(text, '^%d+%.?%d*$') and tonumber(text) or 0
end
local function lasting(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, string.format('%.0f', ms)) end
end
local function list(id, noted, score, ms)
  local entry = failed_entry(id)
  local size, print = string.match(noted or '', '^(%d+):(%x+)$')
  if not size or #size > 12 then
    size, print = '0', string.match(redis.call('HGET', entry, 'fingerprint') or '', '^%x+$')
  end
  redis.call('ZADD', FAILED, score, id)
  redis.call('HSET', FAILED .. ':bytes', id, size .. ':' .. (print or ''))
  add_to(FAILED .. ':bytes', '*', tonumber(size))
  lasting(FAILED, ms)
  lasting(FAILED .. ':bytes', ms)
  if not print or #print > 64 then return end
  local group, members = failed_group(print), failed_group(print) .. ':entries'
  own_key(group, 'hash')
  own_key(members, 'zset')
  own_key(FAILED .. ':groups', 'zset')
  if redis.call('EXISTS', group) == 0 then
    local read = redis.call('HMGET', entry, 'kind', 'task', 'error', 'place', 'message_text', 'first_at', 'at')
    for i, name in ipairs({'kind', 'task', 'error', 'place', 'message_text', 'first_at', 'last_at'}) do
      if read[i] then redis.call('HSET', group, name, read[i]) end
    end
    redis.call('HSET', group, 'restored', 1) -- the counts of these failures have ended: they are counted again
    redis.call('ZADD', FAILED .. ':groups', score, print)
  end
  if redis.call('HEXISTS', group, 'restored') == 1 then add_to(group, 'count', 1) end
  redis.call('ZADD', members, score, id)
  for _, key in ipairs({group, members, FAILED .. ':groups'}) do lasting(key, ms) end
end
own_key(FAILED, 'zset')
own_key(FAILED .. ':bytes', 'hash')
own_key(KEYS[4], 'zset')
local restored, newer, gone = 0, 0, 0
local ids = redis.call('ZRANGE', KEYS[4], 0, ARGV[2] - 1, 'WITHSCORES')
for i = 1, #ids, 2 do
  local id, kept = ids[i], KEYS[4] .. ':' .. ids[i]
  local read = redis.pcall('HMGET', kept, 'noted', 'lasts_until', 'times', 'version')
  redis.call('ZREM', KEYS[4], id)
  if read.err or not read[4] then
    gone = gone + 1
  elseif redis.pcall('HEXISTS', failed_entry(id), 'version') == 1 then
    add_to(failed_entry(id), 'times', number(read[3]))
    redis.call('DEL', kept)
    newer = newer + 1
  else
    local ms = math.max((number(read[2]) - now) * 1000, tonumber(ARGV[6]))
    redis.call('RENAME', kept, failed_entry(id))
    redis.call('HDEL', failed_entry(id), 'noted', 'lasts_until')
    redis.call('PEXPIRE', failed_entry(id), string.format('%.0f', ms))
    list(id, read[1], ids[i + 1], ms)
    restored = restored + 1
  end
end
local left = redis.call('ZCOUNT', KEYS[4], '-inf', '+inf')
redis.call('HSET', KEYS[2], 'count', left)
if left == 0 then
  redis.call('DEL', KEYS[4])
  redis.call('HSET', KEYS[2], 'state', 'restored', 'restored_at', ARGV[3], 'restored_by', ARGV[4])
  redis.call('EXPIRE', KEYS[2], ARGV[5])
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return {restored, newer, gone, left}
