-- Messages of a list, one by one, until there are enough of them or of their bytes, at least two where there are. A
-- large one counts as so much, since whatever is done with it moves it. KEYS: list. ARGV: place, number, step (1, or -1
-- from the other end), most bytes, and nothing or a message from which the place counts, looked for among so many.
-- Returns whether the list ended, and the messages; nothing when that message is not there.
-- include named.lua
local at, size, found = tonumber(ARGV[1]), 0, {0}
if ARGV[5] ~= '' then
  local from = place_of(KEYS[1], ARGV[5], tonumber(ARGV[6]))
  if not from then return {} end
  at = at + from
end
for i = 1, tonumber(ARGV[2]) do
  local message = redis.call('LINDEX', KEYS[1], at)
  if not message then
    found[1] = 1
    break
  end
  size = size + math.min(#message, LARGE)
  if size > tonumber(ARGV[4]) and i > 2 then break end
  found[i + 1] = named(message)
  at = at + tonumber(ARGV[3])
end
return found
