-- Saves a run, if it is still this process's: another one may have continued it or rolled it back meanwhile.
-- KEYS: the run. ARGV: this process's token, the run as JSON, ms until it is forgotten, ``take`` to take it over.
-- Answers 1 if it was saved. Anything else in its place than a hash is nobody's.
if redis.call('TYPE', KEYS[1])['ok'] ~= 'hash' then redis.call('DEL', KEYS[1]) end
if ARGV[4] ~= 'take' and redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'run', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
