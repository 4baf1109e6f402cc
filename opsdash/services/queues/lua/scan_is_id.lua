-- Whether a message has one of the texts from ARGV[first] on as its id: in its headers, in the body of Celery's first
-- protocol, or as the id that its answer is to carry. Others may name it as their root or parent, or in their arguments. A
-- message that repeats it without end may be one: who asked has to look.
local function has_id(message, first)
  for i = first, #ARGV do
    local at = 0
    for turn = 1, 200 do
      at = string.find(message, ARGV[i], at + 1, true)
      if not at then break end
      local before = string.sub(message, at > 40 and at - 40 or 1, at - 1)
      if turn == 200 or string.find(before, '"id\\?"%s*:%s*\\?"$')
        or string.find(before, '"correlation_id\\?"%s*:%s*\\?"$') then
        return true
      end
    end
  end
  return false
end
