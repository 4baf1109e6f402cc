-- Values of a hash that have one of these texts as their id, or all of them where there is no text. KEYS: hash. ARGV:
-- cursor, about how many, most bytes of one, then the texts. Returns where to go on, how many there were, and the values; a
-- large one is left out, and counted in the third place.
-- include scan_is_id.lua
local read = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if read.err then return {'0', 0, 1} end
local found, large = {}, 0
for i = 2, #read[2], 2 do
  local value = read[2][i]
  if #ARGV == 3 or has_id(value, 4) then
    if #value <= tonumber(ARGV[3]) then found[#found + 1] = value else large = large + 1 end
  end
end
return {read[1], #read[2] / 2, large, unpack(found)}
