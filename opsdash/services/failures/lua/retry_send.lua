-- Sends failed tasks to their queues: each is put where a producer would put it, and is off the store, in one step.
-- KEYS: the index, the act's hash, lists. ARGV: seconds to remember the act; then of each: id, version, place of its list
-- among the lists, queue, message. Returns for each: 1 sent, 0 not there or changed, -1 its queue is no list.
local FAILED = KEYS[1]
-- include ../../../model/lua/own_key.lua
-- include ../../../model/lua/failed.lua
-- include same_version.lua
-- Nothing may fail between the end of an entry and its push: what has another type is deleted before.
own_key(FAILED, 'zset')
own_key(FAILED .. ':bytes', 'hash')
own_key(KEYS[2], 'hash')
local found, sent = {}, false
for i = 2, #ARGV, 5 do
  local id, answer = ARGV[i], 0
  if same_version(id, ARGV[i + 1]) then
    local list = KEYS[2 + ARGV[i + 2]]
    local kind = redis.call('TYPE', list).ok
    answer = -1
    if kind == 'list' or kind == 'none' then
      failed_drop(id) -- first: a full Redis takes a push only after a write that needs no room
      redis.call('LPUSH', list, ARGV[i + 4])
      add_to(KEYS[2], ARGV[i + 3], 1)
      answer, sent = 1, true
    end
  end
  found[#found + 1] = answer
end
if sent then redis.call('EXPIRE', KEYS[2], ARGV[1]) end
return found
