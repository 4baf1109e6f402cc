-- A longer one that is noted already stays. KEYS: suspended expiries. ARGV: ms, queue, its lists.
redis.call('PERSIST', KEYS[1]) -- changes nothing; a full Redis lets the rest through then
for i = 3, #ARGV do
  local noted = string.match(redis.call('HGET', KEYS[1], ARGV[i]) or '', '^(%d+):') or '0'
  if tonumber(noted) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[1] .. ':' .. ARGV[2]) end
end
