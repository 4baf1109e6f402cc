-- KEYS: stream. ARGV: since when, until when, how many, most bytes of one.
local read, found = redis.pcall('XREVRANGE', KEYS[1], ARGV[2], ARGV[1], 'COUNT', ARGV[3] + 1000), {}
if read.err then return {} end
local size = 0
for _, entry in ipairs(read) do
  local name, point = entry[2][1], entry[2][2]
  if name == 'point' and point and #point <= tonumber(ARGV[4]) then
    size = size + #point
    if size > 16000000 then break end
    found[#found + 1] = {entry[1], point}
  end
end
return found
