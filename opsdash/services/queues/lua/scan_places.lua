-- Where messages are, by their SHA-1. KEYS: list. ARGV: place of the first one to look at, how many, then the digests.
-- Returns how many were there, their bytes, and digest and place of each that was found.
local wanted, found, size = {}, {}, 0
for i = 3, #ARGV do wanted[ARGV[i]] = true end
local window = redis.pcall('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
if window.err then return {0, 0} end
for i, message in ipairs(window) do
  size = size + #message
  local digest = redis.sha1hex(message)
  if wanted[digest] then found[#found + 1], found[#found + 2] = digest, ARGV[1] + i - 1 end
end
return {#window, size, unpack(found)}
