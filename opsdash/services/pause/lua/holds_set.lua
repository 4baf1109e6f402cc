-- A hold begins, or is changed. KEYS: holds. ARGV: id, the hold, most of them, channel of the nudge. Returns what was done.
redis.call('HDEL', KEYS[1], '') -- after a write that needs no room a full Redis lets the rest through
if redis.call('HEXISTS', KEYS[1], ARGV[1] .. '!') == 1 then return 'releasing' end
local known = redis.call('HEXISTS', KEYS[1], ARGV[1])
if known == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 'many' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], '{"hold": true}')
return known == 1 and 'changed' or 'set'
