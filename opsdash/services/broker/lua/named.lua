-- How a script calls a message: itself, or its mark: size, beginning and end, which has kombu's delivery tag. A message
-- that looks like a mark has one too, so that what looks like a mark is one.
local function named(message)
  if not message or (#message <= LARGE and string.sub(message, 1, #MARK) ~= MARK) then return message end
  return MARK .. #message .. ':' .. string.sub(message, 1, 500) .. string.sub(message, -1500)
end
local function place_of(key, name, most)
  if string.sub(name, 1, #MARK) ~= MARK then return redis.call('LPOS', key, name, 'MAXLEN', most) end
  for at = 0, most - 1 do
    local message = redis.call('LINDEX', key, at)
    if not message then return false end
    if named(message) == name then return at end
  end
  return false
end
