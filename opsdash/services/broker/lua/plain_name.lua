-- The name of a message's task, where it is as Celery writes it: directly among the headers, which are the first object in
-- it, and within a text its quotes would be escaped. So reading the JSON would say the same, if it is JSON and has no key twice. Nothing for others: they
-- must be read.
local function plain_name(message)
  local find = string.find
  local _, open = find(message, '"headers": {', 1, true)
  if not open or find(message, '{', 2, true) ~= open then return nil end
  local from, before = find(message, '"task": "', open, true)
  if not from or find(string.sub(message, open + 1, from - 1), '[{}%[%]\\]') then return nil end
  local after = find(message, '"', before + 1, true)
  local name = after and string.sub(message, before + 1, after - 1)
  if not name or name == '' or #name > LONGEST or find(name, '\\', 1, true) then return nil end
  return name
end
