-- Channels that have a subscriber. ARGV: pattern, most of them, most bytes of one.
local found = {}
for _, name in ipairs(redis.call('PUBSUB', 'CHANNELS', ARGV[1])) do
  if #found >= tonumber(ARGV[2]) then break end
  if #name <= tonumber(ARGV[3]) then found[#found + 1] = name end
end
return found
