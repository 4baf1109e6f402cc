-- A value of another type must not cost a worker its report.
-- include ../../model/lua/own_key.lua
local function short(text) return text and string.sub(text, 1, 200) or '' end
local function instance_at(key)
  if redis.call('EXISTS', key) == 0 then return '' end
  return short(redis.call('HGET', key, 'instance') or 'pid-' .. (redis.call('HGET', key, 'pid') or ''))
end
own_key(KEYS[1], 'zset')
own_key(KEYS[2], 'hash')
local mine = ' #' .. ARGV[2]
