-- KEYS: the index, requests. ARGV: their ids. One that has come back meanwhile stays.
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('ZREM', KEYS[1], id) end
end
return 1
