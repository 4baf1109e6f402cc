-- As much of a hash, or of a set, as is asked for: all of it where it has no more. KEYS: it. ARGV: most fields or
-- members, most bytes of one. A key of another type is an empty one.
local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for i = 1, #read[2], 2 do
    looked_at = looked_at + 1
    if #read[2][i] <= 1000 and #read[2][i + 1] <= tonumber(ARGV[2]) then
      found[#found + 1], found[#found + 2] = read[2][i], read[2][i + 1]
    end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
