-- Members of a set, or about as many of a larger one. KEYS: it. ARGV: how many, most bytes of one, and a separator or
-- nothing. What is too long is left out; with a separator its size and the start of its last of three parts come in its
-- place, as a list.
local cursor, found, looked_at, separator = '0', {}, 0, ARGV[3] or ''
repeat
  local read = redis.pcall('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if read.err then return {} end
  cursor = read[1]
  for _, member in ipairs(read[2]) do
    looked_at = looked_at + 1
    if #member <= tonumber(ARGV[2]) then
      found[#found + 1] = member
    elseif separator ~= '' then
      local _, first = string.find(member, separator, 1, true)
      local _, second = string.find(member, separator, (first or #member) + 1, true)
      local from = (second or 0) + 1
      found[#found + 1] = {#member - from + 1, string.sub(member, from, from + 99)}
    end
  end
until cursor == '0' or looked_at >= tonumber(ARGV[1])
return found
