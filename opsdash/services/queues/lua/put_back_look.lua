-- The digests of a window of a list, the newest message first. KEYS: lease, list. ARGV[3]: place of the first one, how many.
-- Returns their bytes before them.
-- include lock_guard.lua
local window, found = redis.call('LRANGE', KEYS[2], ARGV[3], ARGV[3] + ARGV[4] - 1), {0}
for i, message in ipairs(window) do
  found[i + 1], found[1] = redis.sha1hex(message), found[1] + #message
end
return found
