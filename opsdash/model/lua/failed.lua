-- The store of failed tasks, for all who change it. FAILED is the name of its index; everything else is beside it.
local function failed_entry(id) return FAILED .. ':entry:' .. id end
local function failed_group(print) return FAILED .. ':group:' .. print end
-- A count of ours. Whatever else is in the field gives way. Not HINCRBY, which workers have no right to in deployments
-- that gave them theirs for an earlier opsdash.
local function add_to(key, field, number)
  local sum = redis.call('HGET', key, field) or ''
  sum = (string.match(sum, '^%-?%d+$') and #sum < 16 and tonumber(sum) or 0) + number
  redis.call('HSET', key, field, string.format('%.0f', sum))
  return sum
end
-- The same for whether a sorted set has more members than so many.
local function more_than(key, number)
  return #redis.call('ZRANGE', key, number, number) > 0
end
-- Takes a failure off the index and the counts, its entry stays. Returns its group, or nothing when there was none.
local function failed_unlist(id)
  local noted = redis.call('HGET', FAILED .. ':bytes', id)
  redis.call('ZREM', FAILED, id)
  if not noted then return nil end
  local size, print = string.match(noted, '^(%d+):(%x*)$')
  redis.call('HDEL', FAILED .. ':bytes', id)
  if not size then return nil end
  add_to(FAILED .. ':bytes', '*', -tonumber(size))
  redis.pcall('ZREM', failed_group(print) .. ':entries', id)
  return print
end
local function failed_drop(id)
  local print = failed_unlist(id)
  redis.call('DEL', failed_entry(id))
  return print
end
