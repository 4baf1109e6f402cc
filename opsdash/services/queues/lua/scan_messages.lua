-- A window of a list: how many were there, their bytes, the list's length, and the messages. KEYS: it. ARGV: place of the
-- first one, how many, most bytes of all of them: what is beyond is left out. The bytes are -1 for a key that is no list.
-- include ../../broker/lua/named.lua
local window = redis.pcall('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
if window.err then return {0, -1, 0} end
local size, found, sent = 0, {#window, 0, redis.call('LLEN', KEYS[1])}, 0
for i, message in ipairs(window) do
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
