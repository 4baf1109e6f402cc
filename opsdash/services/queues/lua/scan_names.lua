-- The names of a window's tasks, so that their messages need not be sent. KEYS: list. ARGV: place of the first one, how many,
-- most bytes of all messages that are sent because their name needs a closer look, and of those that are last. Returns how
-- many were looked at, their bytes, how many names, how many last messages, then each name and its number, the last messages
-- (the very last one, and that of each name while there is room), and those that need a closer look. The bytes are -1 for a
-- key that is no list.
-- include ../../broker/lua/named.lua
-- include ../../broker/lua/plain_name.lua
local window = redis.pcall('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
if window.err then return {0, -1, 0, 0} end
local size, sent, numbers, places, closer, number = 0, 0, {}, {}, {}, #window
for i, message in ipairs(window) do
  -- Its last object ends with it, as Celery writes it. One that was cut off is no JSON, and needs a closer look.
  local name = #message <= LARGE and string.sub(message, -2) == '}}' and plain_name(message)
  if name then
    numbers[name], places[name] = (numbers[name] or 0) + 1, i
  else
    sent = sent + math.min(#message, LARGE)
    if sent > tonumber(ARGV[3]) and i > 1 then
      number = i - 1
      break
    end
    closer[#closer + 1] = named(message)
  end
  size = size + #message
end
local found, room, last = {number, size, 0, 0}, tonumber(ARGV[4]), {window[number] and named(window[number])}
for name, times in pairs(numbers) do
  found[#found + 1], found[#found + 2], found[3] = name, times, found[3] + 1
  local message = window[places[name]]
  if places[name] ~= number and #message <= room then room, last[#last + 1] = room - #message, message end
end
found[4] = #last
for _, message in ipairs(last) do found[#found + 1] = message end
for _, message in ipairs(closer) do found[#found + 1] = message end
return found
