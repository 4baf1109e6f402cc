-- The holds: at most MOST fields, without values above LONGEST bytes. KEYS: the hash. Returns Redis's time in seconds, how many
-- fields the hash has, and then fields and values.
local now, number = redis.call('TIME'), redis.pcall('HLEN', KEYS[1])
local found = {now[1] .. '.' .. string.format('%06d', now[2]), 0}
if type(number) ~= 'number' or number == 0 then return found end
found[2] = number
local parts = number <= MOST and redis.call('HGETALL', KEYS[1]) or redis.call('HSCAN', KEYS[1], 0, 'COUNT', MOST)[2]
for i = 1, #parts, 2 do
  if #parts[i] <= LONGEST and #parts[i + 1] <= LONGEST then
    found[#found + 1] = parts[i]
    found[#found + 1] = parts[i + 1]
  end
end
return found
