-- Lengths of lists, all at one moment; -1 for what is no list. KEYS: them.
local found = {}
for i, key in ipairs(KEYS) do
  local length = redis.pcall('LLEN', key)
  found[i] = type(length) == 'number' and length or -1
end
return found
