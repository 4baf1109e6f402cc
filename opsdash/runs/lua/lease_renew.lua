-- Renews a lease, also one that a restart of Redis has lost. KEYS: the lease. ARGV: its value, ms.
-- Answers 0 where another one has it.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
