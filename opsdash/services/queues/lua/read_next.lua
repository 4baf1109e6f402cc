-- The next message of each list, unless it is large. KEYS: lists. ARGV: size.
local found = {}
for i, key in ipairs(KEYS) do
  local message = redis.pcall('LINDEX', key, -1)
  if type(message) == 'string' and #message <= tonumber(ARGV[1]) then found[#found + 1] = message end
end
return found
