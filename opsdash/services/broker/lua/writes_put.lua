-- A full Redis refuses a script's first command that needs memory. What follows a write that needs none it lets through,
-- since a script can't stop midway: whatever must work on a full Redis begins with one, and so does this.
-- KEYS: what is set. ARGV: the value, ms, ``new`` where only a key that is not there is set. Ours is a string that ends
-- within a day: anything else is nobody's, and would be in the way for ever.
if ARGV[3] == 'new' and redis.call('TYPE', KEYS[1])['ok'] == 'string' then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= 86400000 then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
