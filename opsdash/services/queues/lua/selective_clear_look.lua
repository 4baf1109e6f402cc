-- The next messages of a list, without those whose tasks' names are not meant. Read some at a time: few where they are large.
-- KEYS: list. ARGV: how many, most bytes of all of them (a large one counts as so much, since whatever is done with it moves
-- it), nothing or the first one, looked for among so many, then names that are not meant; at least two are looked at where
-- there are two. Returns how many were looked at, whether the list ends with them, the first one and the one after them, how
-- many names there were besides, those, and then place (from 1) and message of each. Nothing where the first one is not.
-- include ../../broker/lua/named.lua
-- include ../../broker/lua/plain_name.lua
local at, left, most, not_meant, known = 0, ARGV[1] + 1, tonumber(ARGV[2]), {}, {}
if ARGV[3] ~= '' then at = place_of(KEYS[1], ARGV[3], tonumber(ARGV[4])) end
if not at then return {} end
for i = 5, #ARGV do not_meant[ARGV[i]] = true end
local some, size, number, first, after, found, names = 1, 0, 0, '', '', {}, {}
while left > 0 and after == '' do
  local wanted, bytes = math.min(some, left), 0
  local window = redis.call('LRANGE', KEYS[1], at, at + wanted - 1)
  for _, message in ipairs(window) do
    bytes, size = bytes + #message, size + math.min(#message, LARGE)
    if number == tonumber(ARGV[1]) or (size > most and number > 1) then
      after = named(message)
      break
    end
    number = number + 1
    if number == 1 then first = named(message) end
    local name = #ARGV > 3 and #message <= LARGE and plain_name(message)
    if not name or not not_meant[name] then
      found[#found + 1], found[#found + 2] = number, named(message)
      if name and not known[name] then known[name], names[#names + 1] = true, name end
    end
  end
  if #window < wanted then break end
  at, left = at + wanted, left - wanted
  some = math.max(1, math.min(100, some * 2, math.floor(100000 * wanted / (bytes + 1))))
end
local answer = {number, after == '' and 1 or 0, first, after, #names}
for _, name in ipairs(names) do answer[#answer + 1] = name end
for _, part in ipairs(found) do answer[#answer + 1] = part end
return answer
