-- The last of a queue's removed tasks goes back next to one of its neighbours, and those with it that were taken from the
-- same place. KEYS: lease, list, info, trash index, messages, places, restores. ARGV[3]: trash id, queue, by, at, seconds to
-- remember it, then where: 'next' (to run), 'behind' or 'before' a neighbour, that neighbour's digest, where it was seen,
-- how many may have been pushed since, the place as it was read, up to how many messages from an end are moved to make
-- room, tasks of this step. Returns what was done, how many, and how
-- many waited there before.
-- include lock_guard.lua
if redis.call('EXISTS', KEYS[3]) == 0 then return {'gone', 0} end
local state = redis.call('HGET', KEYS[3], 'state')
if state then return {string.sub(state, 1, 100), 0} end
if redis.call('LINDEX', KEYS[6], -1) ~= ARGV[12] then return {'changed', 0} end
if redis.call('LLEN', KEYS[5]) ~= redis.call('LLEN', KEYS[6]) then return {'short', 0} end
local place, length, neighbour = nil, redis.call('LLEN', KEYS[2]), nil
if ARGV[8] == 'next' then
  place = length
else
  for i, one in ipairs(redis.call('LRANGE', KEYS[2], ARGV[10], ARGV[10] + ARGV[11])) do
    if redis.sha1hex(one) == ARGV[9] then
      neighbour, place = one, ARGV[10] + i - (ARGV[8] == 'behind' and 0 or 1)
      break
    end
  end
  if not place then return {'moved', 0} end
end
local room, most = tonumber(ARGV[13]), tonumber(ARGV[14])
local behind, ahead = length - place, place
if behind > room and ahead > room then most = 1 end
local same = string.match(ARGV[12], '^[^|]*|[^|]*|[^|]*|')
local back = {}
for _, one in ipairs(redis.call('LRANGE', KEYS[6], -most, -1)) do back[#back + 1] = one end
local number = 0
for i = #back, 1, -1 do
  if string.sub(back[i], 1, #same) ~= same then break end
  number = number + 1
end
local tasks = redis.call('RPOP', KEYS[5], number)
redis.call('RPOP', KEYS[6], number)
if behind <= room then
  local later = behind > 0 and redis.call('RPOP', KEYS[2], behind) or {}
  for i = #tasks, 1, -1 do redis.call('RPUSH', KEYS[2], tasks[i]) end
  for i = #later, 1, -1 do redis.call('RPUSH', KEYS[2], later[i]) end
elseif ahead <= room then
  local newer = ahead > 0 and redis.call('LPOP', KEYS[2], ahead) or {}
  for i = 1, #tasks do redis.call('LPUSH', KEYS[2], tasks[i]) end
  for i = #newer, 1, -1 do redis.call('LPUSH', KEYS[2], newer[i]) end
else
  redis.call('LINSERT', KEYS[2], ARGV[8] == 'behind' and 'AFTER' or 'BEFORE', neighbour, tasks[1])
end
redis.call('HINCRBY', KEYS[3], 'of:' .. ARGV[4], -number)
redis.call('HINCRBY', KEYS[7], ARGV[4], 1)
for _, i in ipairs({3, 5, 6}) do redis.call('EXPIRE', KEYS[i], ARGV[7]) end
if redis.call('HINCRBY', KEYS[3], 'count', -number) <= 0 then
  redis.call('HSET', KEYS[3], 'state', 'restored', 'restored_at', ARGV[6], 'restored_by', ARGV[5])
  redis.call('HSET', KEYS[3], 'count', redis.call('HGET', KEYS[3], 'total'))
  redis.call('ZREM', KEYS[4], ARGV[3])
end
return {'done', number, length}
