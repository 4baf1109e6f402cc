-- KEYS: the request, the index. ARGV: by whom, ms, its id, or nothing where it stays in the index.
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'asked') == 0 then return 0 end
if redis.call('HSETNX', KEYS[1], 'taken', ARGV[1]) == 0 then return 0 end
if ARGV[3] ~= '' then redis.call('ZREM', KEYS[2], ARGV[3]) end
return 1
