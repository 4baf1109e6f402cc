-- A window of a list: how many were there, their bytes, the list's length, and the messages. KEYS: it. ARGV: place of the
-- first one (below 0: from the end on), how many, most bytes of all of them: what is beyond is left out; and nothing, or
-- that the last one comes first. The bytes are -1 for a key that is no list.
-- include ../../broker/lua/named.lua
local window = redis.pcall('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
if window.err then return {0, -1, 0} end
local size, found, sent, back = 0, {#window, 0, redis.call('LLEN', KEYS[1])}, 0, ARGV[4] ~= ''
for i = 1, #window do
  local message = window[back and #window + 1 - i or i]
  sent = sent + math.min(#message, LARGE)
  if sent > tonumber(ARGV[3]) and i > 1 then
    found[1] = i - 1
    break
  end
  size = size + #message
  found[i + 3] = named(message)
end
found[2] = size
return found
