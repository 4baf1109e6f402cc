-- Takes away what is no lease: no string, or without an end within a day. KEYS: it.
local left = redis.call('PTTL', KEYS[1])
if redis.call('TYPE', KEYS[1])['ok'] == 'string' and left >= 0 and left <= 86400000 then return 0 end
return redis.call('DEL', KEYS[1])
