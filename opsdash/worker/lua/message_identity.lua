-- What kombu keeps when it gives a message back. A tag alone may be that of all messages of a sender.
local function identity(message)
  local tag = string.match(message, '"delivery_tag"%s*:%s*"?([^",}%s]+)') or ''
  local id = string.match(message, '"id"%s*:%s*"([^"]*)"') or ''
  local body = string.match(message, '"body"%s*:%s*"([%w+/=]*)"') or ''
  return tag .. ' ' .. id .. ' ' .. redis.sha1hex(body)
end
-- Which messages are in a part of a list; read once.
local looked = {}
local function seen_in(list, from, to)
  if not looked[list] then
    local found, part = {}, redis.pcall('LRANGE', list, from, to)
    for _, other in ipairs(part.err and {} or part) do found[identity(other)] = true end
    looked[list] = found
  end
  return looked[list]
end
