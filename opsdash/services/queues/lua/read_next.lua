-- The next message of each list; empty where there is none, and the size of one that is too large to be looked at.
-- KEYS: lists. ARGV: size.
local found = {}
for i, key in ipairs(KEYS) do
  local message = redis.pcall('LINDEX', key, -1)
  if type(message) ~= 'string' then
    found[i] = ''
  elseif #message > tonumber(ARGV[1]) then
    found[i] = string.format('(%.0f bytes)', #message)
  else
    found[i] = message
  end
end
return found
