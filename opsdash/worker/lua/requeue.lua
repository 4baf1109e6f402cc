redis.call('HDEL', KEYS[1], '')
-- include message_identity.lua
local function waiting(list) return seen_in(list, -tonumber(ARGV[1]), -1) end
local answers = {}
for i = 3, #KEYS do
  local at = (i - 3) * 3 + 1
  local field, message, current = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local answer
  if redis.call('HEXISTS', KEYS[1], field) == 1 then
    redis.call('RPUSH', KEYS[i], message)
    redis.call('HDEL', KEYS[1], field)
    redis.call('ZREM', KEYS[2], field)
    answer = 'moved'
  elseif waiting(KEYS[i])[identity(message)] then
    answer = 'waiting'
  elseif current == '1' then
    redis.call('RPUSH', KEYS[i], message)
    answer = 'copied'
  else
    answer = 'gone'
  end
  if looked[KEYS[i]] then looked[KEYS[i]][identity(message)] = true end
  answers[#answers + 1] = answer
end
return answers
