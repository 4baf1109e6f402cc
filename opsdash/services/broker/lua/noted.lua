-- Strings, each with what a hash notes of it. KEYS: the hash, then the strings. ARGV: most bytes of all of them, of one,
-- then for each its field, and how many bytes it should have, or nothing where that is not known: what has just as many
-- is not read. Returns alternating note and string: in place of one that is too large its size, and -1 where
-- there was no room for it any more.
local most, long, found, all = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, 0
for i = 2, #KEYS do
  local at = i * 2 - 1
  local note, text = redis.pcall('HGET', KEYS[1], ARGV[at]), redis.pcall('GET', KEYS[i])
  note = type(note) ~= 'string' and '' or #note > 100 and '?' or note -- what is too long is none of ours
  if type(text) ~= 'string' then
    text = false
  elseif #text ~= tonumber(ARGV[at + 1]) then
    if #text > long then
      text = #text
    elseif all + #text > most then
      text = -1
    else
      all = all + #text
    end
  end
  found[#found + 1], found[#found + 2] = note, text
end
return found
