-- Members of a sorted set, those with the highest scores first, or with the lowest. KEYS: it. ARGV: highest score
-- (``now`` and seconds: by Redis's clock) and lowest, most members, most bytes of one, ``rising`` or nothing. Returns
-- how many it has (-1: it is none), how many of those looked at were too long, then alternating members and scores.
local total = redis.pcall('ZCOUNT', KEYS[1], '-inf', '+inf')
if type(total) ~= 'number' then return {-1, 0} end
local ahead, high = string.match(ARGV[1], '^now(.+)$'), ARGV[1]
if ahead then high = redis.call('TIME')[1] + ahead end
local read
if ARGV[5] == 'rising' then
  read = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], high, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
else
  read = redis.call('ZREVRANGEBYSCORE', KEYS[1], high, ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
end
local found, long = {total, 0}, 0
for i = 1, #read, 2 do
  if #read[i] > tonumber(ARGV[4]) then
    long = long + 1
  else
    found[#found + 1], found[#found + 2] = read[i], read[i + 1]
  end
end
found[2] = long
return found
