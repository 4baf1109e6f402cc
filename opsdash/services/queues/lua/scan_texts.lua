-- Messages of a window that hold one of these texts anywhere. KEYS: list. ARGV: place of the first one, how many, most
-- bytes of all that are returned: what is beyond is left to the next step; nothing or a message from which the place
-- counts, looked for among so many; then the texts. Returns how many were looked at, their bytes, the list's length, and
-- then place and message of each. The bytes are -1 for a key that is no list; nothing is looked at where that message is not.
-- include ../../broker/lua/named.lua
local first = ARGV[4] == '' and 0 or place_of(KEYS[1], ARGV[4], tonumber(ARGV[5]))
if not first then return {0, 0, 0} end
first = first + ARGV[1]
local window = redis.pcall('LRANGE', KEYS[1], first, first + ARGV[2] - 1)
if window.err then return {0, -1, 0} end
local size, sent, found = 0, 0, {#window, 0, redis.call('LLEN', KEYS[1])}
for i, message in ipairs(window) do
  for text = 6, #ARGV do
    if string.find(message, ARGV[text], 1, true) then
      sent = sent + math.min(#message, LARGE)
      if sent > tonumber(ARGV[3]) and #found > 3 then
        found[1], found[2] = i - 1, size
        return found
      end
      found[#found + 1], found[#found + 2] = ARGV[1] + i - 1, named(message)
      break
    end
  end
  size = size + #message
end
found[2] = size
return found
