-- A hold is over, if all its lists have gone back. KEYS: holds, lists of holds, those that ended by themselves. ARGV: id, channel of
-- the nudge, field of the story, the story (empty: none). Returns 1, or 0 where there is another list.
local mine = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then
    if string.sub(redis.call('HGET', KEYS[2], field), 1, 1) ~= '!' then return 0 end
    mine[#mine + 1] = field
  end
end
for _, field in ipairs(mine) do redis.call('HDEL', KEYS[2], field) end
redis.call('HDEL', KEYS[1], ARGV[1] .. '!')
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], ARGV[4]) end
  redis.call('PUBLISH', ARGV[2], '{"hold": false}')
end
return 1
