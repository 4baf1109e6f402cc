-- Takes removed tasks out of the trash, wherever in its list they are: an empty text is left there until the end of the list
-- is reached. Who includes it has named the keys: info, tasks, places, restores; and queue, left (seconds to remember it), last (see
-- who uses it).
if redis.call('EXISTS', info) == 0 then return {'gone', 0} end
local state = redis.call('HGET', info, 'state')
if state then return {string.sub(state, 1, 100), 0} end
-- Nothing may fail once messages are out of their queue: what else has the names of the lists is seen before, and a count
-- that is none stays as it is.
if redis.pcall('LLEN', tasks) ~= redis.pcall('LLEN', places) then return {'short', 0} end
local number = 0
local function take(at)
  local task = redis.call('LINDEX', tasks, at)
  if not task or task == '' then return nil end
  redis.call('LSET', tasks, at, '')
  redis.call('LSET', places, at, '')
  number = number + 1
  return task
end
local function taken()
  for _ = 1, number + 100 do
    if redis.call('LINDEX', tasks, -1) ~= '' then break end
    redis.call('RPOP', tasks)
    redis.call('RPOP', places)
  end
  if last ~= '' then redis.call('HSET', info, 'last', last) end
  redis.pcall('HINCRBY', info, 'count', -number)
  if redis.call('HEXISTS', info, 'of:' .. queue) == 1 then redis.pcall('HINCRBY', info, 'of:' .. queue, -number) end
  redis.pcall('HINCRBY', restores, queue, 1)
  for _, key in ipairs({info, tasks, places}) do redis.call('EXPIRE', key, left) end
  return {'done', number}
end
