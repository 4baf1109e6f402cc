-- Whole hashes: nothing of one with too many fields or too large ones, nor of those above a size of all. KEYS: hashes.
-- ARGV: most fields, most bytes of each hash, most of all. Returns for each alternating fields and values, or how large
-- it is.
local found, all = {}, 0
for i, key in ipairs(KEYS) do
  local number = redis.pcall('HLEN', key)
  if type(number) ~= 'number' then
    found[i] = -1
  elseif number > tonumber(ARGV[1]) then
    found[i] = number
  else
    local parts, size = redis.call('HGETALL', key), 0
    for _, part in ipairs(parts) do size = size + #part end
    if size > tonumber(ARGV[2]) or all + size > tonumber(ARGV[3]) then
      found[i] = size
    else
      found[i], all = parts, all + size
    end
  end
end
return found
