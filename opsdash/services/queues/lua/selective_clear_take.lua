-- ARGV[6]: messages of this step, then for each that matches its place among them and its text: another message there
-- (a worker gave something back) stays. KEYS[5]: trash list.
-- include selective_clear_arrived.lua
local matches, moved = {}, 0
for i = 7, #ARGV, 2 do matches[tonumber(ARGV[i])] = ARGV[i + 1] end
local taken = redis.call('LPOP', KEYS[2], ARGV[6]) or {}
for i, message in ipairs(taken) do
  if matches[i] == message then
    redis.call('RPUSH', KEYS[5], message)
    moved = moved + 1
  else
    redis.call('RPUSH', KEYS[3], message)
  end
end
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
redis.call('HINCRBY', KEYS[4], 'count', moved)
redis.call('HINCRBY', KEYS[4], 'step:' .. ARGV[5], moved)
return {moved, #taken}
