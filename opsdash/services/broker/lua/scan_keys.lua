-- Some of the server's keys by a pattern, and where to go on. ARGV: cursor, pattern, about how many, most bytes of one.
local read, found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3]), {}
for _, key in ipairs(read[2]) do
  if #key <= tonumber(ARGV[4]) then found[#found + 1] = key end
end
return {read[1], found}
