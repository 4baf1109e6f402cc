-- What is sent again, of failures: version, list and message of each, in which too large ones are left out. KEYS:
-- entries. ARGV: most bytes of a message, most of all. Stops before the first that would be too much, but one at least.
local found, all = {}, 0
for i, key in ipairs(KEYS) do
  local read = redis.pcall('HMGET', key, 'version', 'list', 'message')
  if read.err then read = {false, false, false} end
  for j, most in ipairs({100, 2000, tonumber(ARGV[1])}) do
    if read[j] and #read[j] > most then read[j] = false end
    all = all + (read[j] and #read[j] or 0)
  end
  if i > 1 and all > tonumber(ARGV[2]) then break end
  found[i] = {read[1] or '', read[2] or '', read[3] or ''}
end
return found
