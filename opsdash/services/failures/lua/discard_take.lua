-- Moves failures into a trash, each in whole with its place in the index. What is killed between two steps leaves a trash
-- with what was moved by then: there is nothing to finish.
-- KEYS: the index, info, trash index, members. ARGV: seconds to keep (0: they are deleted), trash id, by, at; then id and
-- version of each. Returns for each: 1 taken, 0 not there or changed.
local FAILED = KEYS[1]
-- include ../../../model/lua/own_key.lua
-- include ../../../model/lua/failed.lua
-- include same_version.lua
local keep, found, size_all = tonumber(ARGV[1]), {}, 0
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local till, number = nil, 0
local function begin()
  if keep == 0 or till then return end
  redis.call('PERSIST', KEYS[2]) -- changes nothing; a full Redis lets the rest of this script through then
  if redis.call('HSETNX', KEYS[2], 'until', string.format('%.3f', now + keep)) == 1 then
    redis.call('HSET', KEYS[2], 'kind', 'failed', 'by', ARGV[3], 'at', ARGV[4])
  end
  till = tonumber(redis.call('HGET', KEYS[2], 'until')) or now + keep
end
own_key(FAILED, 'zset')
own_key(FAILED .. ':bytes', 'hash')
own_key(KEYS[4], 'zset')
for i = 5, #ARGV, 2 do
  local id = ARGV[i]
  local entry = failed_entry(id)
  found[#found + 1] = 0
  if same_version(id, ARGV[i + 1]) then
    begin()
    if keep == 0 then
      failed_drop(id)
    else
      local noted = redis.call('HGET', FAILED .. ':bytes', id) or ''
      local score = redis.call('ZSCORE', FAILED, id) or string.format('%.3f', now)
      local lasts, kept = redis.call('PTTL', entry), KEYS[4] .. ':' .. id
      failed_unlist(id)
      redis.call('RENAME', entry, kept)
      redis.call('HSET', kept, 'noted', noted, 'lasts_until', string.format('%.3f', now + math.max(lasts, 0) / 1000))
      redis.call('EXPIRE', kept, math.max(1, math.floor(till - now + 0.5)))
      redis.call('ZADD', KEYS[4], score, id)
      size_all = size_all + (tonumber(string.match(noted, '^(%d+):') or '') or 0)
    end
    number = number + 1
    found[#found] = 1
  end
end
if till and number > 0 then
  redis.call('HINCRBY', KEYS[2], 'count', number)
  redis.call('HINCRBY', KEYS[2], 'size_bytes', string.format('%.0f', size_all))
  local left = math.max(1, math.floor(till - now + 0.5))
  redis.call('EXPIRE', KEYS[2], left)
  redis.call('EXPIRE', KEYS[4], left)
  redis.call('ZADD', KEYS[3], till, ARGV[2])
end
return found
