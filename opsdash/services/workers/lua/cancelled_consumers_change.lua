-- Changes fields, unless others have changed one of them or the number of all since they were read. It begins with a
-- removal of nothing, which a full Redis lets through, and then all that follows. KEYS: the records. ARGV: how many
-- fields there were, how long a text may be that is read, then in turn field, its text before and after; empty: none.
-- include ../../../model/lua/own_key.lua
own_key(KEYS[1], 'hash')
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV, 3 do
  local text = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if #text > tonumber(ARGV[2]) then text = '' end
  if text ~= ARGV[i + 1] then return 0 end
end
redis.call('HDEL', KEYS[1], '\0')
for i = 3, #ARGV, 3 do
  if ARGV[i + 2] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
return 1
