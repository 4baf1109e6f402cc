-- The names of a window's tasks, so that their messages need not be sent. KEYS: list. ARGV: place of the first one, how many,
-- most bytes of all messages that are sent. Returns how many were looked at, their bytes, how many names, then each name
-- and its number, and after them the last message and those whose name needs a closer look. The bytes are -1 for a key that
-- is no list.
-- include ../../broker/lua/named.lua
-- include ../../broker/lua/plain_name.lua
local window = redis.pcall('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
if window.err then return {0, -1, 0} end
local size, sent, numbers, found, closer = 0, 0, {}, {#window, 0, 0}, {}
for i, message in ipairs(window) do
  local name = #message <= LARGE and plain_name(message)
  if name then
    numbers[name] = (numbers[name] or 0) + 1
  else
    sent = sent + math.min(#message, LARGE)
    if sent > tonumber(ARGV[3]) and i > 1 then
      found[1] = i - 1
      break
    end
    closer[#closer + 1] = named(message)
  end
  size = size + #message
end
found[2] = size
for name, number in pairs(numbers) do
  found[#found + 1], found[#found + 2], found[3] = name, number, found[3] + 1
end
found[#found + 1] = window[found[1]] and named(window[found[1]]) or ''
for _, message in ipairs(closer) do found[#found + 1] = message end
return found
