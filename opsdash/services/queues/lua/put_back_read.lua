-- Where removed tasks were, those from the end of the lists first. KEYS: tasks, places. ARGV: how many to pass over, how many
-- at most, most bytes of a place (what is longer says nothing), and of all tasks. Returns how many tasks and places there
-- are, and then place, digest and bytes of each.
local tasks, places = redis.pcall('LLEN', KEYS[1]), redis.pcall('LLEN', KEYS[2])
if type(tasks) ~= 'number' or type(places) ~= 'number' then return {0, -1} end
local found, size = {tasks, places}, 0
for at = -1 - ARGV[1], -ARGV[1] - ARGV[2], -1 do
  local place = redis.call('LINDEX', KEYS[2], at)
  if not place then break end
  found[#found + 1] = #place <= tonumber(ARGV[3]) and place or '|'
  local task = redis.call('LINDEX', KEYS[1], at) or ''
  found[#found + 1], found[#found + 2], size = redis.sha1hex(task), #task, size + #task
  if size > tonumber(ARGV[4]) then break end
end
return found
