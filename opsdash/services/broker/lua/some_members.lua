local cursor, found, looked_at = '0', {}, 0
repeat
  local read = redis.pcall('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for _, member in ipairs(read[2]) do
    looked_at = looked_at + 1
    if #member <= tonumber(ARGV[2]) then found[#found + 1] = member end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
