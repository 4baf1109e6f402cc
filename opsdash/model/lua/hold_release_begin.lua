-- A hold begins to be released; until that ends it goes on holding. KEYS: holds. ARGV: id, who releases it, ``1`` from who has
-- begun and goes on. Returns what was done.
redis.call('HDEL', KEYS[1], '') -- after a write that needs no room a full Redis lets the rest through
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 'gone' end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], ARGV[1] .. '!', ARGV[2])
  return 'again'
end
return redis.call('HSETNX', KEYS[1], ARGV[1] .. '!', ARGV[2]) == 1 and 'begun' or 'again'
