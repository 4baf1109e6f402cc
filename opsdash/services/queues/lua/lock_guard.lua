-- Every step begins with this: who has lost the lease moves nothing. KEYS[1]: lease. ARGV[1]: its value, ARGV[2]: ms.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
