-- What is known and what is to be sent, in one step, by the console that has the lease. KEYS: lease, hash of what is
-- known, outbox. ARGV: who, ms that both are kept, how many fields of the first are set and how many of the second are
-- deleted; these fields with their values, those names, then names and values that are set in the outbox. Returns 0 if
-- another one has the lease. The lease's key is set again first, a write that a full Redis takes.
-- include ../../../model/lua/own_key.lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
own_key(KEYS[2], 'hash')
own_key(KEYS[3], 'hash')
local known, gone, at = tonumber(ARGV[3]), tonumber(ARGV[4]), 5
redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]))
for _ = 1, known do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, gone do
  redis.call('HDEL', KEYS[3], ARGV[at])
  at = at + 1
end
while at < #ARGV do
  redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
  at = at + 2
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
