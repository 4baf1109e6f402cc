redis.call('HDEL', KEYS[1], '')
local waiting = {}
-- What kombu keeps when it gives a message back. A tag alone may be that of all messages of a sender.
local function identity(message)
  local tag = string.match(message, '"delivery_tag"%s*:%s*"?([^",}%s]+)') or ''
  local id = string.match(message, '"id"%s*:%s*"([^"]*)"') or ''
  local body = string.match(message, '"body"%s*:%s*"([%w+/=]*)"') or ''
  return tag .. ' ' .. id .. ' ' .. redis.sha1hex(body)
end
local function is_waiting(list, message)
  if not waiting[list] then
    local found = {}
    for _, other in ipairs(redis.call('LRANGE', list, -tonumber(ARGV[1]), -1)) do
      found[identity(other)] = true
    end
    waiting[list] = found
  end
  return waiting[list][identity(message)]
end
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
  elseif is_waiting(KEYS[i], message) then
    answer = 'waiting'
  elseif current == '1' then
    redis.call('RPUSH', KEYS[i], message)
    answer = 'copied'
  else
    answer = 'gone'
  end
  if waiting[KEYS[i]] then waiting[KEYS[i]][identity(message)] = true end
  answers[#answers + 1] = answer
end
return answers
