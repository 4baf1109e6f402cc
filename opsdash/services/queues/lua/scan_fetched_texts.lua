-- Values of a hash that hold one of these texts anywhere. KEYS: hash. ARGV: cursor, about how many, most bytes of one, then
-- the texts. Returns as scan_fetched.lua.
local read = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if read.err then return {'0', 0, 1} end
local found, large = {}, 0
for i = 2, #read[2], 2 do
  local value = read[2][i]
  for text = 4, #ARGV do
    if string.find(value, ARGV[text], 1, true) then
      if #value <= tonumber(ARGV[3]) then found[#found + 1] = value else large = large + 1 end
      break
    end
  end
end
return {read[1], #read[2] / 2, large, unpack(found)}
