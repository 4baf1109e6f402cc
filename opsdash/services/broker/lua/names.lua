-- The names of a hash that has not too many; those that are too long are left out. KEYS: it. ARGV: most of them, most
-- bytes of one. Nothing of a key of another type.
local number = redis.pcall('HLEN', KEYS[1])
if type(number) ~= 'number' or number > tonumber(ARGV[1]) then return {} end
local found = {}
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #name <= tonumber(ARGV[2]) then found[#found + 1] = name end
end
return found
