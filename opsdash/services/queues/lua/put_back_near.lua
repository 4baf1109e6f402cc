-- The digests of a list's last messages, the oldest first. KEYS: list. ARGV: how many, most bytes. Returns the list's length
-- before them.
local found, size = {redis.call('LLEN', KEYS[1])}, 0
for at = -1, -ARGV[1], -1 do
  local message = size < tonumber(ARGV[2]) and redis.call('LINDEX', KEYS[1], at)
  if not message then break end
  found[#found + 1], size = redis.sha1hex(message), size + #message
end
return found
