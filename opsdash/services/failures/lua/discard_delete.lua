-- A step of deleting discarded failures for good. KEYS: info, trash index, members. ARGV: trash id, how many. Returns
-- {deleted, left}, or why not.
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
if redis.call('HGET', KEYS[1], 'state') == 'restored' then return 'restored' end
local ids = redis.call('ZRANGE', KEYS[3], 0, ARGV[2] - 1)
for _, id in ipairs(ids) do
  redis.call('UNLINK', KEYS[3] .. ':' .. id)
  redis.call('ZREM', KEYS[3], id)
end
local left = redis.call('ZCOUNT', KEYS[3], '-inf', '+inf')
redis.call('HSET', KEYS[1], 'count', left)
if left == 0 then
  redis.call('DEL', KEYS[1], KEYS[3])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return {#ids, left}
