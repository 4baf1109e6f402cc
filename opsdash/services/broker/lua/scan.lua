-- Some values of a hash, the empty text in place of a large one. KEYS: hash. ARGV: cursor, about how many, most bytes of
-- one and of all.
local read = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, size = {}, 0
for i = 2, #read[2], 2 do
  local value = read[2][i]
  size = size + #value
  local fits = #value <= tonumber(ARGV[3]) and size <= tonumber(ARGV[4])
  found[#found + 1] = fits and value or ''
end
return {read[1], found}
