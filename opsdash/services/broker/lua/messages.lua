-- Messages of a list until there are enough of them or of their bytes, at least two where there are. A large one counts as
-- so much, since whatever is done with it moves it. They are read some at a time: few where they are large, so that the
-- script does not hold many of them. KEYS: list. ARGV: place, number, step (1, or -1 from the other end), most bytes.
-- Returns whether the list ended, and the messages.
-- include named.lua
local at, left, back, most = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '-1', tonumber(ARGV[4])
local some, size, found = 1, 0, {0}
while left > 0 do
  local number, bytes = math.min(some, left), 0
  local window = redis.call('LRANGE', KEYS[1], back and at - number + 1 or at, back and at or at + number - 1)
  for i = 1, #window do
    local message = window[back and #window + 1 - i or i]
    bytes, size = bytes + #message, size + math.min(#message, LARGE)
    if size > most and #found > 2 then return found end
    found[#found + 1] = named(message)
  end
  if #window < number then
    found[1] = 1
    break
  end
  at, left = at + (back and -number or number), left - number
  some = math.max(1, math.min(100, some * 2, math.floor(100000 * number / (bytes + 1))))
end
return found
