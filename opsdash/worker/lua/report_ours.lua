-- These keys are opsdash's own: a value of another type must not prevent a worker's report.
local function short(text) return text and string.sub(text, 1, 200) or '' end
local function ours(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local function instance_at(key)
  if redis.call('EXISTS', key) == 0 then return '' end
  return short(redis.call('HGET', key, 'instance') or 'pid-' .. (redis.call('HGET', key, 'pid') or ''))
end
ours(KEYS[1], 'zset')
ours(KEYS[2], 'hash')
local mine = ' #' .. ARGV[2]
