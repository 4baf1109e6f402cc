-- A hold begins to be released; until that ends it goes on holding. KEYS: holds. ARGV: id, who releases it.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 'gone' end
return redis.call('HSETNX', KEYS[1], ARGV[1] .. '!', ARGV[2]) == 1 and 'begun' or 'again'
