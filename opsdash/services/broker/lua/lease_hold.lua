-- A lease is taken, or renewed, unless another one has it. KEYS: lease. ARGV: who, milliseconds. A key without an end,
-- with one that is too far away, or of another type is nobody's. It begins with a deletion, so that a full Redis lets it
-- through. Returns 0: another one has it; 1: renewed; 2: taken.
local held = redis.call('TYPE', KEYS[1])['ok'] == 'string' and redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if held and held ~= ARGV[1] and left >= 0 and left <= 10 * tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return held == ARGV[1] and 1 or 2
