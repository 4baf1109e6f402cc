-- Some stories, nothing in place of a large one. KEYS: info hash. ARGV: most bytes, fields.
local found = {}
for i = 2, #ARGV do
  local story = redis.pcall('HGET', KEYS[1], ARGV[i])
  found[i - 1] = type(story) == 'string' and (#story <= tonumber(ARGV[1]) and story or '') or false
end
return found
