-- Mean size of the first messages of each list, and its length. KEYS: lists. ARGV: how many messages.
local found = {}
for i, key in ipairs(KEYS) do
  local size, number = 0, 0
  for at = 0, ARGV[1] - 1 do
    local message = redis.pcall('LINDEX', key, at)
    if type(message) ~= 'string' then break end
    size, number = size + #message, number + 1
  end
  local length = redis.pcall('LLEN', key)
  found[i] = {number > 0 and math.floor(size / number) or 0, type(length) == 'number' and length or 0}
end
return found
