-- Steps from a place on: id, kind, entry and mac of each, the id alone of what is no step. KEYS: stream. ARGV: place,
-- how many, most bytes of one and of all.
local read, found, size = redis.pcall('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]), {}, 0
if read.err then return {} end
for i, step in ipairs(read) do
  local told, own = {}, 0
  for j = 1, #step[2], 2 do
    own = own + #step[2][j + 1]
    told[step[2][j]] = step[2][j + 1]
  end
  if own > tonumber(ARGV[3]) then own = 0 told = {} end
  if size + own > tonumber(ARGV[3]) and i > 1 then break end
  size = size + own
  local whole = told.kind and told.entry and told.mac
  found[i] = whole and {step[1], told.kind, told.entry, told.mac} or {step[1]}
end
return found
