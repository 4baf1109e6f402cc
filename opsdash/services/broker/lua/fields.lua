-- Some fields of each hash. In place of a value above a size: true (a number for Python). KEYS: hashes. ARGV: size,
-- fields. One list per hash; a key of another type is an empty one.
local found = {}
local fields = {}
for i = 2, #ARGV do fields[i - 1] = ARGV[i] end
for i, key in ipairs(KEYS) do
  local values = redis.pcall('HMGET', key, unpack(fields))
  if values.err then
    found[i] = {}
  else
    for j, value in ipairs(values) do
      if value and #value > tonumber(ARGV[1]) then values[j] = #value end
    end
    found[i] = values
  end
end
return found
