-- Which messages of a window have one of these texts as their id, or as its beginning. KEYS: the list, then all lists of
-- its queue. ARGV: place of the first one, how many, then the texts as JSON has them. Returns how many were there, their
-- bytes, the lengths of the queue's lists at this moment, and then place and message of each that has one: at most MOST.
-- The bytes are -1 for a key that is no list.
-- include ../../broker/lua/named.lua
-- include scan_is_id.lua
local from, size, found, find = tonumber(ARGV[1]), 0, {}, string.find
local first, more = ARGV[3], #ARGV > 3
local window, lengths = redis.pcall('LRANGE', KEYS[1], from, from + ARGV[2] - 1), {}
for i = 2, #KEYS do
  local length = redis.pcall('LLEN', KEYS[i])
  lengths[i - 1] = type(length) == 'number' and length or 0
end
if window.err then return {0, -1, lengths} end
for i, message in ipairs(window) do
  size = size + #message
  if (more or find(message, first, 1, true)) and has_id(message, 3) and #found < MOST * 2 then
    found[#found + 1], found[#found + 2] = from + i - 1, named(message)
  end
end
return {#window, size, lengths, unpack(found)}
