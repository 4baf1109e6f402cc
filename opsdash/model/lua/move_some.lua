-- Moves messages from one end of a list to the other end of another one, in their order, as one LMOVE for each would: that
-- takes nearly twice as long. Both are lists, or not there: nothing may fail once messages are out of theirs. Where they are large
-- few are taken at a time, so that the script does not hold many of them.
local function move_some(pop, from, push, to, number)
  local some = 1
  while number > 0 do
    local messages = redis.call(pop, from, math.min(some, number))
    if not messages or #messages == 0 then return end
    redis.call(push, to, unpack(messages))
    local bytes = 0
    for _, message in ipairs(messages) do bytes = bytes + #message end
    number, some = number - #messages, math.max(1, math.min(100, some * 2, math.floor(100000 * #messages / (bytes + 1))))
  end
end
