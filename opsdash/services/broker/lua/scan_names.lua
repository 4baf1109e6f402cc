-- Some names of a hash, and where to go on. KEYS: it. ARGV: cursor, about how many, most bytes of one.
local read, found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]), {}
for i = 1, #read[2], 2 do
  if #read[2][i] <= tonumber(ARGV[3]) then found[#found + 1] = read[2][i] end
end
return {read[1], found}
