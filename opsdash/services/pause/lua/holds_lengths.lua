-- What lists of held tasks have. KEYS: lists. Returns for each its length, and of its oldest message when it was fetched
-- and set aside, where that is known.
local found = {}
for i, key in ipairs(KEYS) do
  local length, oldest = redis.pcall('LLEN', key), redis.pcall('LINDEX', key .. ':order', -1)
  found[i] = {type(length) == 'number' and length or 0, type(oldest) == 'string' and string.sub(oldest, 1, 60) or ''}
end
return found
