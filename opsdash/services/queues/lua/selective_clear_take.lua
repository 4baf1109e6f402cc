-- ARGV[6]: messages of this step, then for each that matches its place among them and its text: another message there
-- (a worker gave something back) stays. KEYS[5]: trash list.
-- include selective_clear_arrived.lua
local matches, meant, stays = {}, {}, {}
for i = 7, #ARGV, 2 do matches[tonumber(ARGV[i])] = ARGV[i + 1] end
local taken = redis.call('LPOP', KEYS[2], ARGV[6]) or {}
for i, message in ipairs(taken) do
  local of = matches[i] == message and meant or stays
  of[#of + 1] = message
end
for key, messages in pairs({[KEYS[3]] = stays, [KEYS[5]] = meant}) do
  for at = 1, #messages, 500 do redis.call('RPUSH', key, unpack(messages, at, math.min(#messages, at + 499))) end
end
local moved = #meant
redis.call('HSET', KEYS[4], 'next:' .. ARGV[5], named(redis.call('LINDEX', KEYS[2], 0)) or '')
redis.call('HINCRBY', KEYS[4], 'count', moved)
redis.call('HINCRBY', KEYS[4], 'step:' .. ARGV[5], moved)
return {moved, #taken}
